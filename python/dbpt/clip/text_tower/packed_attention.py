"""Prompts of many lengths packed into one row of tokens, and causal attention on them with its gradient.

The row has the prefix that all prompts share, then their suffixes, sorted by length. Suffixes of equal length form a
bucket, so there is no padding. Each token attends to the prefix and to its own prompt. The gradient is written by hand,
because autograd would copy more than it computes for so many slices.

Shapes: T packed tokens, Q queries (all T, or the last of each prompt), S prefix length, K = S + the longest suffix, P
prompts, H heads, e width of a head, d = H e; n prompts in a bucket, m tokens of each.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Packing:
    """``prefix`` tokens that all prompts share, then the suffixes in ``buckets`` of (number of prompts, length)."""

    prefix: int
    buckets: tuple[tuple[int, int], ...]

    def ends(self) -> torch.Tensor:
        """Return the position (P,) of each prompt's last token."""
        lengths = torch.tensor([length for count, length in self.buckets for _ in range(count)])
        return self.prefix + lengths.cumsum(0) - 1

    def hidden(self) -> torch.Tensor:
        """Return (T, K) bool, False where a token sees that token of the prefix or of its own suffix."""
        width = self.prefix + max(length for _, length in self.buckets)
        prefix = torch.ones(self.prefix, width, dtype=torch.bool).triu(1)
        suffixes = [
            torch.ones(length, width, dtype=torch.bool).triu(self.prefix + 1).repeat(count, 1)
            for count, length in self.buckets
        ]
        return torch.cat([prefix, *suffixes])


def packed_attention(
    q_Qd: torch.Tensor, kv_T2d: torch.Tensor, hidden_QK: torch.Tensor, packing: Packing, num_heads: int
) -> torch.Tensor:
    """Return the attention (Q, d) of queries (Q, d) over keys and values (T, 2d); ``hidden_QK`` is `Packing.hidden`."""
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


@dataclass(frozen=True)
class _Bucket:
    """``count`` prompts of one length: the positions of their queries and keys, and of own keys among K."""

    count: int
    queries: slice
    keys: slice
    own: slice

    def prompts(self, x: torch.Tensor) -> torch.Tensor:
        """View the bucket's rows (H, n m, ...) as (n, H, m, ...)."""
        return x.view(len(x), self.count, -1, x.shape[2]).transpose(0, 1)


class _Pairs:
    """Pairs of a query and a key, of the prefix or of its own prompt, in all heads: ``pairs`` (H, Q, K).

    The queries are all tokens, or with ``only_ends`` the last token of each prompt.
    """

    def __init__(self, packing: Packing, num_heads: int, shape: torch.Size, *, only_ends: bool) -> None:
        self.num_heads, self.shape = num_heads, (num_heads, *shape)
        self.prefix, self.buckets = slice(packing.prefix), []
        query, key = 0 if only_ends else packing.prefix, packing.prefix
        for count, length in packing.buckets:
            queries, keys = count if only_ends else count * length, count * length
            own = slice(packing.prefix, packing.prefix + length)
            self.buckets.append(_Bucket(count, slice(query, query + queries), slice(key, key + keys), own))
            query, key = query + queries, key + keys

    def products(self, a_Qd: torch.Tensor, b_Td: torch.Tensor) -> torch.Tensor:
        """Multiply a of the query by b of the key; 0 if a prompt has no such key."""
        a, b = self._heads(a_Qd), self._heads(b_Td)
        pairs = a.new_zeros(self.shape)
        pairs[..., self.prefix] = a @ b[:, self.prefix].mT
        for bucket in self.buckets:
            own_a, own_b = bucket.prompts(a[:, bucket.queries]), bucket.prompts(b[:, bucket.keys])
            bucket.prompts(pairs[:, bucket.queries, bucket.own])[:] = own_a @ own_b.contiguous().mT
        return pairs

    def sums_over_keys(self, pairs: torch.Tensor, b_Td: torch.Tensor) -> torch.Tensor:
        """Return the sum of ``pairs`` times b over the keys of each query, (Q, d)."""
        sums_Qd = b_Td.new_empty(pairs.shape[1], b_Td.shape[1])
        sums, b = self._heads(sums_Qd), self._heads(b_Td)
        sums[:] = pairs[..., self.prefix] @ b[:, self.prefix]
        for bucket in self.buckets:
            own = bucket.prompts(pairs[:, bucket.queries, bucket.own])
            bucket.prompts(sums[:, bucket.queries]).add_(own @ bucket.prompts(b[:, bucket.keys]))
        return sums_Qd

    def sums_over_queries(self, pairs: torch.Tensor, a_Qd: torch.Tensor, out: torch.Tensor) -> None:
        """Sum ``pairs`` times a over the queries of each key, into ``out`` (T, d)."""
        sums, a = self._heads(out), self._heads(a_Qd)
        sums[:, self.prefix] = pairs[..., self.prefix].mT @ a
        for bucket in self.buckets:
            own = bucket.prompts(pairs[:, bucket.queries, bucket.own]).contiguous()
            bucket.prompts(sums[:, bucket.keys])[:] = own.mT @ bucket.prompts(a[:, bucket.queries])

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """View (rows, d) as (H, rows, e)."""
        return x.view(len(x), self.num_heads, -1).transpose(0, 1)
