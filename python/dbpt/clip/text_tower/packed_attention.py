"""Causal attention of packed prompts to the prefix that they share and to their own tokens, and its gradient.

The gradient is written out, because autograd's, over so many slices, copies more than it computes.

Shapes: T packed tokens, Q those that ask (all T, or the last of each prompt), S prefix length, K = S + the longest
suffix, H heads, e width of a head, d = H e; n prompts in a bucket, m tokens of each.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from dbpt.clip.text_tower.packing import Bucket, Packing


def packed_attention(
    q_Qd: torch.Tensor, kv_T2d: torch.Tensor, hidden_QK: torch.Tensor, packing: Packing, num_heads: int
) -> torch.Tensor:
    """What the queries (Q, d) find among keys and values (T, 2d), (Q, d); ``hidden_QK`` as `Packing.hidden`."""
    attended: torch.Tensor = _PackedAttention.apply(q_Qd, kv_T2d, hidden_QK, packing, num_heads)
    return attended


class _PackedAttention(torch.autograd.Function):
    """softmax(q kᵀ / √e) v."""

    @staticmethod
    def forward(
        ctx: Any, q_Qd: torch.Tensor, kv_T2d: torch.Tensor, hidden_QK: torch.Tensor, packing: Packing, num_heads: int
    ) -> torch.Tensor:
        ctx.pairs = pairs = _Pairs(packing, num_heads, hidden_QK.shape, only_ends=len(q_Qd) < len(kv_T2d))
        ctx.scale = (q_Qd.shape[1] // num_heads) ** -0.5
        k_Td, v_Td = kv_T2d.chunk(2, dim=1)
        scores = pairs.products(q_Qd, k_Td).mul_(ctx.scale)
        weights = scores.masked_fill_(hidden_QK, float("-inf")).softmax(dim=-1)
        ctx.save_for_backward(q_Qd, kv_T2d, weights)
        return pairs.sums_over_keys(weights, v_Td)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_Qd: torch.Tensor) -> Any:
        pairs: _Pairs = ctx.pairs
        q_Qd, kv_T2d, weights = ctx.saved_tensors
        k_Td, v_Td = kv_T2d.chunk(2, dim=1)
        grad_scores = pairs.products(grad_Qd, v_Td).mul_(weights)
        grad_scores.sub_(weights * grad_scores.sum(dim=-1, keepdim=True)).mul_(ctx.scale)
        grad_kv_T2d = torch.empty_like(kv_T2d)
        grad_k_Td, grad_v_Td = grad_kv_T2d.chunk(2, dim=1)
        pairs.sums_over_queries(grad_scores, q_Qd, out=grad_k_Td)
        pairs.sums_over_queries(weights, grad_Qd, out=grad_v_Td)
        return pairs.sums_over_keys(grad_scores, k_Td), grad_kv_T2d, None, None, None


class _Pairs:
    """Pairs of a query and a key of the prefix or of the query's own prompt, in all heads: ``pairs`` (H, Q, K)."""

    def __init__(self, packing: Packing, num_heads: int, shape: torch.Size, *, only_ends: bool) -> None:
        self.num_heads, self.shape = num_heads, (num_heads, *shape)
        self.prefix, self.buckets = slice(packing.prefix), list(packing.spans(only_ends=only_ends))

    def products(self, a_Qd: torch.Tensor, b_Td: torch.Tensor) -> torch.Tensor:
        """The query's a times the key's b; 0 where a prompt has no such key."""
        a, b = self._heads(a_Qd), self._heads(b_Td)
        pairs = a.new_zeros(self.shape)
        pairs[..., self.prefix] = a @ b[:, self.prefix].mT
        for bucket in self.buckets:
            own_a, own_b = _prompts(a[:, bucket.queries], bucket), _prompts(b[:, bucket.keys], bucket)
            _prompts(pairs[:, bucket.queries, bucket.own], bucket)[:] = own_a @ own_b.contiguous().mT
        return pairs

    def sums_over_keys(self, pairs: torch.Tensor, b_Td: torch.Tensor) -> torch.Tensor:
        """``pairs`` times the key's b, summed over the keys of each query: (Q, d)."""
        sums_Qd = b_Td.new_empty(pairs.shape[1], b_Td.shape[1])
        sums, b = self._heads(sums_Qd), self._heads(b_Td)
        sums[:] = pairs[..., self.prefix] @ b[:, self.prefix]
        for bucket in self.buckets:
            own = _prompts(pairs[:, bucket.queries, bucket.own], bucket)
            _prompts(sums[:, bucket.queries], bucket).add_(own @ _prompts(b[:, bucket.keys], bucket))
        return sums_Qd

    def sums_over_queries(self, pairs: torch.Tensor, a_Qd: torch.Tensor, out: torch.Tensor) -> None:
        """``pairs`` times the query's a, summed over the queries of each key, into ``out`` (T, d)."""
        sums, a = self._heads(out), self._heads(a_Qd)
        sums[:, self.prefix] = pairs[..., self.prefix].mT @ a
        for bucket in self.buckets:
            own = _prompts(pairs[:, bucket.queries, bucket.own], bucket).contiguous()
            _prompts(sums[:, bucket.keys], bucket)[:] = own.mT @ _prompts(a[:, bucket.queries], bucket)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """A view of (rows, d) as (H, rows, e)."""
        return x.view(len(x), self.num_heads, -1).transpose(0, 1)


def _prompts(x: torch.Tensor, bucket: Bucket) -> torch.Tensor:
    """A view of a bucket's rows (H, n m, ...) as (n, H, m, ...)."""
    return x.view(len(x), bucket.count, -1, x.shape[2]).transpose(0, 1)
