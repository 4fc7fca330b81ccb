"""A pre-norm block on prompts of many lengths at once: packed tokens for the weights, buckets for the attention.

Shapes: T packed tokens (the prefix, then the suffixes, bucket by bucket, prompt by prompt), S prefix length, n prompts
of l suffix tokens in a bucket, P prompts, H heads, e width of a head, d width.
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

    def split(self, x_Td: torch.Tensor) -> list[torch.Tensor]:
        """The prefix (1, S, d), then each bucket's suffixes (n, l, d)."""
        shapes = [(1, self.prefix), *self.buckets]
        parts = torch.split(x_Td, [count * length for count, length in shapes])
        return [part.view(*shape, x_Td.shape[-1]) for part, shape in zip(parts, shapes, strict=True)]


def packed_block(
    block: ResidualAttentionBlock, x_Td: torch.Tensor, packing: Packing, *, only_last: bool = False
) -> torch.Tensor:
    """Return the block's output (T, d), or with ``only_last`` that of the last token of each prompt alone, (P, d)."""
    attention = block.attn
    normed = block.ln_1(x_Td).to(attention.in_proj_weight.dtype)
    qkv = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    attended = _attend(packing.split(qkv), attention.num_heads, only_last)
    if only_last:
        x_Td = torch.cat([bucket[:, -1] for bucket in packing.split(x_Td)[1:]])
    x_Td = x_Td + block.ls_1(attention.out_proj(attended))
    normed = block.ln_2(x_Td).to(block.mlp.c_fc.weight.dtype)
    mlp: torch.Tensor = block.ls_2(block.mlp(normed))
    return x_Td + mlp


def _attend(qkv: list[torch.Tensor], num_heads: int, only_last: bool) -> torch.Tensor:
    """Causal attention of all tokens, (T, d), or of each prompt's last one, (P, d)."""
    prefix, *buckets = (_heads(part, num_heads) for part in qkv)
    k_prefix, v_prefix = prefix[1, :, 0], prefix[2, :, 0]  # (H, S, e)
    outputs = [] if only_last or not k_prefix.shape[1] else [_attend_prefix(prefix)]
    for q, k, v in buckets:
        q_last = q[:, :, -1:] if only_last else q
        outputs.append(_attend_bucket(q_last, k, v, k_prefix, v_prefix))
    return torch.cat([output.permute(1, 2, 0, 3).flatten(0, 1).flatten(1) for output in outputs])


def _heads(qkv: torch.Tensor, num_heads: int) -> torch.Tensor:
    """(n, l, 3d) as (3, H, n, l, e), copied: every product of the attention is then over views of this one tensor."""
    return qkv.view(*qkv.shape[:2], 3, num_heads, qkv.shape[2] // (3 * num_heads)).permute(2, 3, 0, 1, 4).contiguous()


def _attend_prefix(qkv: torch.Tensor) -> torch.Tensor:
    """Causal attention among the prefix's own tokens, (H, 1, S, e)."""
    q, k, v = qkv.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1)


def _attend_bucket(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, k_prefix: torch.Tensor, v_prefix: torch.Tensor
) -> torch.Tensor:
    """Attention of queries (H, n, m, e), the last m of l tokens, to the prefix (H, S, e) and their prompt's tokens."""
    heads, count, queries, width = q.shape
    size, length = k_prefix.shape[1], k.shape[2]
    to_prefix = (q.reshape(heads, count * queries, width) @ k_prefix.transpose(1, 2)).view(heads, count, queries, size)
    to_own = q @ k.transpose(2, 3)
    ahead = torch.ones(queries, length, dtype=torch.bool, device=q.device).triu(1 + length - queries)
    scores = torch.cat([to_prefix, to_own.masked_fill(ahead, float("-inf"))], dim=-1)
    weights = (scores * width**-0.5).softmax(dim=-1)
    from_prefix = (weights[..., :size].reshape(heads, count * queries, size) @ v_prefix).view_as(q)
    from_own: torch.Tensor = weights[..., size:] @ v
    attended: torch.Tensor = from_prefix + from_own
    return attended
