"""The frozen text tower as a function of the context vectors: (n_ctx, d) or (C, n_ctx, d) in, text features (P, D) out.

A CoOp-style prompt is ``[SOS][ctx x n_ctx][class tokens][.][EOS]`` (Zhou et al., 2022). `prompt_token_ids` lays it out
with placeholder tokens where the context goes; `build_text_tower` picks the fastest path that is exact for the model:

- ``shared-prefix``: a causal open_clip tower with plain attention blocks. Positions after EOS are dropped, and what all
  prompts have in common at their start runs once (`dbpt.clip.text_tower.shared_prefix`).
- ``truncated``: a causal open_clip tower with other blocks. Positions after the longest prompt are dropped.
- ``general``: everything else (not causal, masked by token id, Hugging Face): the model's own ``encode_text`` with the
  context written over the placeholders' embeddings (`dbpt.clip.text_tower.general`).

More prompts than memory holds go through it in chunks (`dbpt.clip.text_tower.chunks`).
"""

from typing import Literal

import torch
from torch import nn

from dbpt.clip.text_tower.chunks import within_memory
from dbpt.clip.text_tower.general import GeneralTower
from dbpt.clip.text_tower.layout import ClassPosition, PromptLayout, context_token_ids, prompt_token_ids
from dbpt.clip.text_tower.native import why_no_shared_prefix, why_not_causal
from dbpt.clip.text_tower.precision import hold_text
from dbpt.clip.text_tower.shared_prefix import SharedPrefixTower
from dbpt.clip.text_tower.tower import TextTower
from dbpt.clip.text_tower.truncated import TruncatedTower

__all__ = [
    "ClassPosition",
    "PromptLayout",
    "TextPath",
    "TextTower",
    "build_text_tower",
    "context_token_ids",
    "fit_text_tower",
    "prompt_token_ids",
    "text_path",
]

MB = 1_000_000

TextPath = Literal["shared-prefix", "truncated", "general"]


def text_path(model: nn.Module) -> TextPath:
    """Name the fastest exact path for an open_clip ``model``."""
    if why_not_causal(model) is not None:
        return "general"
    return "shared-prefix" if why_no_shared_prefix(model) is None else "truncated"


def build_text_tower(model: nn.Module, layout: PromptLayout, path: TextPath | None = None) -> TextTower:
    """Return a module that maps a context to L2-normalised text features (P, D), differentiably.

    The context is (n_ctx, d), or (C, n_ctx, d) for a layout with ``owners``. ``path`` overrides the choice of
    `text_path`, for comparisons. The model's own weights are not registered as the module's parameters and never
    receive a gradient.
    """
    towers: dict[TextPath, type[TextTower]] = {
        "shared-prefix": SharedPrefixTower,
        "truncated": TruncatedTower,
        "general": GeneralTower,
    }
    device = next(model.parameters()).device
    tower = towers[path or text_path(model)](model, layout)
    return tower.to(device) if isinstance(device, torch.device) else tower


def fit_text_tower(
    model: nn.Module, layout: PromptLayout, context: torch.Tensor, *, precision: str = "float32", memory_mb: float
) -> TextTower:
    """`build_text_tower` with the text tower held in ``precision``, in chunks if ``memory_mb`` asks for them.

    ``context`` is any of the shape that will be used. ``memory_mb`` is for what a forward pass keeps for the gradient.
    """
    held = hold_text(model, precision, mixed=text_path(model) == "shared-prefix")
    return within_memory(lambda part: build_text_tower(held, part), layout, context, memory_mb * MB)
