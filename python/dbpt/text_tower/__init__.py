"""The frozen text tower as a function of the context vectors: (n_ctx, d) in, (P, D) text features out.

A CoOp-style prompt is ``[SOS][ctx x n_ctx][class tokens][.][EOS]`` (Zhou et al., 2022). `prompt_token_ids` lays it out
with placeholder tokens where the context goes; `build_text_tower` picks the fastest path that is exact for the model:

- ``shared-prefix``: a causal open_clip tower with plain attention blocks. Positions after EOS are dropped, and what all
  prompts have in common at their start runs once (`dbpt.text_tower.causal`).
- ``truncated``: a causal open_clip tower with other blocks. Positions after the longest prompt are dropped.
- ``general``: everything else (not causal, masked by token id, Hugging Face): the model's own ``encode_text`` with the
  context written over the placeholders' embeddings (`dbpt.text_tower.general`).
"""

from typing import Literal

import torch
from torch import nn

from dbpt.text_tower.causal import SharedPrefixTower, TruncatedTower, is_causal, shares_prefix
from dbpt.text_tower.general import GeneralTower
from dbpt.text_tower.layout import PromptLayout, prompt_token_ids

__all__ = ["PromptLayout", "TextPath", "TextTower", "build_text_tower", "prompt_token_ids", "text_path"]

TextPath = Literal["shared-prefix", "truncated", "general"]
TextTower = SharedPrefixTower | TruncatedTower | GeneralTower


def text_path(model: nn.Module) -> TextPath:
    """Name the fastest exact path for an open_clip ``model``."""
    if not is_causal(model):
        return "general"
    return "shared-prefix" if shares_prefix(model) else "truncated"


def build_text_tower(model: nn.Module, layout: PromptLayout, path: TextPath | None = None) -> TextTower:
    """Return a module that maps a context (n_ctx, d) to L2-normalised text features (P, D), differentiably.

    ``path`` overrides the choice of `text_path`, for comparisons. The model's own weights are not registered as the
    module's parameters and never receive a gradient.
    """
    towers: dict[TextPath, type[TextTower]] = {
        "shared-prefix": SharedPrefixTower,
        "truncated": TruncatedTower,
        "general": GeneralTower,
    }
    device = next(model.parameters()).device
    tower = towers[path or text_path(model)](model, layout)
    return tower.to(device) if isinstance(device, torch.device) else tower
