"""A pre-norm block on packed prompts: every weight is multiplied with all tokens at once.

Shapes: T packed tokens, Q of them that attend, d width.
"""

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock

EVERY = slice(None)


def project(
    block: ResidualAttentionBlock, x_Td: torch.Tensor, asking: torch.Tensor | slice = EVERY
) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries (Q, d) of all tokens, or of those at the places ``asking``, and keys with values (T, 2d)."""
    weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, x_Td.shape[1]
    normed = block.ln_1(x_Td).to(weight.dtype)
    kv_T2d = F.linear(normed, weight[width:], bias[width:])
    return F.linear(normed[asking], weight[:width], bias[:width]), kv_T2d


def transform(block: ResidualAttentionBlock, x_Qd: torch.Tensor, attended_Qd: torch.Tensor) -> torch.Tensor:
    """The block's output (Q, d) for its input and what its attention found."""
    x_Qd = x_Qd + block.ls_1(block.attn.out_proj(attended_Qd))
    normed = block.ln_2(x_Qd).to(block.mlp.c_fc.weight.dtype)
    mlp: torch.Tensor = block.ls_2(block.mlp(normed))
    return x_Qd + mlp
