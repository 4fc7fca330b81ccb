"""A text tower held in bfloat16: half the memory, and faster where the processor multiplies such matrices.

The weights are converted once. (Autocast converts them at every step, which is slower than float32 on a CPU.)
float16 is not offered: its small gradients become 0, while bfloat16 has float32's range.
"""

import copy
from typing import Any

import torch
from torch import nn

from dbpt.clip.text_tower.embedding import token_embedding

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def hold_text(model: nn.Module, precision: str, *, mixed: bool) -> nn.Module:
    """Return ``model``, or for another precision than float32 a copy of it without image tower, its text tower in it.

    ``mixed`` converts only the matrices of the blocks, and leaves the sum that runs from block to block, its norms and
    the embedding (which the copy shares with ``model``) in float32: for paths that know how to feed such blocks.
    """
    dtype = PRECISIONS[precision]
    if dtype == torch.float32:
        return model
    kept: dict[int, Any] = {
        id(getattr(model, name)): nn.Identity() for name in ("visual", "text_decoder") if hasattr(model, name)
    }
    if mixed:
        kept[id(token_embedding(model))] = token_embedding(model)
    held = copy.deepcopy(model, kept)
    if not mixed:
        return held.to(dtype)
    for module in held.modules():
        if isinstance(module, nn.Linear | nn.MultiheadAttention):
            module.to(dtype)
    return held
