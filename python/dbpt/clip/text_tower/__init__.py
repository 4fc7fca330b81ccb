"""The frozen text tower as a function of the context vectors: (n_ctx, d) or (C, n_ctx, d) in, text features (P, D) out.

A CoOp-style prompt is ``[SOS][ctx x n_ctx][class tokens][.][EOS]`` (Zhou et al., 2022):

1. `layout` says where the context stands: token ids with placeholders where it goes.
2. `text_path` picks the fastest path that is exact for the model. ``shared-prefix`` (in `shared_prefix`) takes causal
   open_clip towers of plain attention blocks: positions after EOS are dropped, and what all prompts have in common at
   their start runs once. ``general`` (in `tower`) takes everything else: the model's own ``encode_text`` with the
   context written over the placeholders' embeddings.
3. `memory` holds the weights in bfloat16, and sends more prompts than memory holds through the tower in chunks.
"""

from typing import Literal

import torch
from torch import nn

from dbpt.clip.text_tower.layout import ClassPosition, PromptLayout, context_token_ids, prompt_token_ids
from dbpt.clip.text_tower.memory import hold_text, within_memory
from dbpt.clip.text_tower.shared_prefix import SharedPrefixTower, why_no_shared_prefix
from dbpt.clip.text_tower.tower import GeneralTower, TextTower, token_embedding

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
    "token_embedding",
]

MB = 1_000_000

TextPath = Literal["shared-prefix", "general"]


def text_path(model: nn.Module) -> TextPath:
    """Name the fastest exact path for an open_clip ``model``."""
    return "general" if why_no_shared_prefix(model) else "shared-prefix"


def build_text_tower(model: nn.Module, layout: PromptLayout, path: TextPath | None = None) -> TextTower:
    """Return a module that maps a context to L2-normalised text features (P, D), differentiably.

    The context is (n_ctx, d), or (C, n_ctx, d) for a layout with ``owners``. ``path`` overrides the choice of
    `text_path`, for comparisons. The model's own weights are not registered as the module's parameters and never
    receive a gradient.
    """
    general = (path or text_path(model)) == "general"
    tower = GeneralTower(model, layout) if general else SharedPrefixTower(model, layout)
    return tower.to(token_embedding(model).weight.device)


def fit_text_tower(
    model: nn.Module, layout: PromptLayout, context: torch.Tensor, *, precision: str = "float32", memory_mb: float
) -> TextTower:
    """`build_text_tower` with the text tower held in ``precision``, in chunks if ``memory_mb`` asks for them.

    ``context`` is any of the shape that will be used. ``memory_mb`` is for what a forward pass keeps for the gradient.
    """
    held = hold_text(model, precision, mixed=text_path(model) == "shared-prefix")
    return within_memory(lambda part: build_text_tower(held, part), layout, context, memory_mb * MB)
