"""A pre-norm block on prompts of many lengths at once: packed tokens for the weights, buckets for the attention.

Shapes: T packed tokens (the prefix, then the suffixes, bucket by bucket, prompt by prompt), S prefix length, U = T - S
suffix tokens, n prompts of l suffix tokens in a bucket, P prompts, H heads, e width of a head, d width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock


@dataclass(frozen=True)
class Packing:
    """``prefix`` tokens that all prompts share, then the suffixes of ``buckets``: (number of prompts, their length)."""

    prefix: int
    buckets: tuple[tuple[int, int], ...]


def packed_block(
    block: ResidualAttentionBlock, x_Td: torch.Tensor, packing: Packing, *, only_last: bool = False
) -> torch.Tensor:
    """Return the block's output (T, d), or with ``only_last`` that of the last token of each prompt alone, (P, d)."""
    attention = block.attn
    normed = block.ln_1(x_Td).to(attention.in_proj_weight.dtype)
    qkv = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(len(x_Td), 3, attention.num_heads, -1).permute(1, 2, 0, 3).unbind(0)  # (H, T, e)
    attended = _attend(q, k, v, packing, only_last)
    if only_last:
        x_Td = torch.cat([part[:, :, -1] for part in _by_bucket(x_Td[packing.prefix :].unsqueeze(0), packing)], dim=1)[0]
    x_Td = x_Td + block.ls_1(attention.out_proj(attended))
    normed = block.ln_2(x_Td).to(block.mlp.c_fc.weight.dtype)
    mlp: torch.Tensor = block.ls_2(block.mlp(normed))
    return x_Td + mlp


def _by_bucket(x_HUe: torch.Tensor, packing: Packing) -> list[torch.Tensor]:
    """Each bucket's suffix tokens, (H, n, l, e)."""
    sizes = [count * length for count, length in packing.buckets]
    parts = x_HUe.split(sizes, dim=1)
    return [part.unflatten(1, bucket) for part, bucket in zip(parts, packing.buckets, strict=True)]


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packing: Packing, only_last: bool
) -> torch.Tensor:
    """Causal attention of all tokens, (T, d), or of each prompt's last one, (P, d); q, k, v (H, T, e)."""
    size = packing.prefix
    k_prefix, v_prefix = k[:, :size], v[:, :size]
    outputs = []
    if size and not only_last:
        outputs.append(F.scaled_dot_product_attention(q[:, :size], k_prefix, v_prefix, is_causal=True))
    q = q * q.shape[-1] ** -0.5
    suffixes = (_by_bucket(x[:, size:], packing) for x in (q, k, v))
    for q_bucket, k_own, v_own in zip(*suffixes, strict=True):
        q_Hnle = q_bucket[:, :, -1:] if only_last else q_bucket
        heads, count, length, width = q_Hnle.shape
        to_prefix = q_Hnle.reshape(heads, -1, width) @ k_prefix.transpose(1, 2)
        to_own = q_Hnle @ k_own.transpose(2, 3)
        if not only_last:
            ahead = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
            to_own = to_own.masked_fill(ahead, float("-inf"))
        scores = torch.cat([to_prefix.view(heads, count, length, size), to_own], dim=-1).softmax(dim=-1)
        from_prefix = scores[..., :size].reshape(heads, -1, size) @ v_prefix
        from_own = scores[..., size:] @ v_own
        outputs.append(from_prefix + from_own.reshape(heads, -1, width))
    return torch.cat(outputs, dim=1).transpose(0, 1).flatten(1)
