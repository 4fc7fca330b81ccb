"""The fast path of the text tower: the prefix that all prompts share is run once, and suffixes are packed."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch.autograd.function import once_differentiable

from dbpt.clip.prompt_tokens import PromptLayout
from dbpt.clip.text_tower import TextTower, context_at, text_module


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


class _PackedAttention(torch.autograd.Function):
    """The attention (Q, d) of Q queries over the keys and values of T tokens: softmax(q kᵀ / √e) v.

    ``hidden_QK`` are the rows of `Packing.hidden` for the queries; ``num_heads`` divide d.
    """

    @staticmethod
    def forward(
        ctx: Any, q_Qd: torch.Tensor, kv_T2d: torch.Tensor, hidden_QK: torch.Tensor, packing: Packing, num_heads: int
    ) -> torch.Tensor:
        ctx.pairs = pairs = _Pairs(packing, num_heads, hidden_QK.shape, only_ends=len(q_Qd) < len(kv_T2d))
        ctx.scale = (q_Qd.shape[1] // num_heads) ** -0.5
        k_Td, v_Td = kv_T2d.chunk(2, dim=1)
        # In place where autograd would keep copies: the scores are the largest tensors of a pass.
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
        # The derivative of softmax: w * (g - sum(w * g)).
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


_EVERY = slice(None)


def why_no_shared_prefix(model: torch.nn.Module) -> str | None:
    """Return the reason why this path is not exact for a tower, or None if it is."""
    text = text_module(model)
    if not (hasattr(text, "token_embedding") and hasattr(text, "positional_embedding")):
        return "a Hugging Face text model"
    if getattr(text, "cls_emb", None) is not None:
        return "read at a class token behind the padding, padding masked by token id"
    if getattr(text, "attn_mask", None) is None:
        return "not causal"
    if _pool_type(model) not in ("argmax", "eos"):
        return "not read at the end token"
    if getattr(text, "output_tokens", False):
        return "gives tokens as well"
    plain = all(
        type(block) is ResidualAttentionBlock
        and type(block.attn) is torch.nn.MultiheadAttention
        and block.attn.in_proj_weight is not None
        and block.attn.bias_k is None
        for block in text.transformer.resblocks
    )
    return None if plain else "blocks other than open_clip's plain ones"


class SharedPrefixTower(TextTower):
    """Run the packed tokens of all prompts, block by block; T tokens, V of them context vectors, P prompts."""

    tokens_Td: torch.Tensor
    q_Td: torch.Tensor
    kv_T2d: torch.Tensor
    hidden_TK: torch.Tensor
    context_V: torch.Tensor
    context_rows_V: torch.Tensor
    positional_Vd: torch.Tensor
    ends_P: torch.Tensor
    unsort_P: torch.Tensor

    def __init__(self, model: torch.nn.Module, layout: PromptLayout) -> None:
        super().__init__(text_module(model), layout)
        eos_P = _eos_positions(model, layout.ids)
        differs_L = ((layout.ids != layout.ids[:1]) | (layout.context_rows != layout.context_rows[:1])).any(dim=0)
        self.shared_positions = shared = int(differs_L[: int(eos_P.min())].long().cummax(dim=0).values.eq(0).sum())
        self.own_positions = lengths = (eos_P + 1 - shared).tolist()
        self.packing = Packing(shared, tuple((lengths.count(length), length) for length in sorted(set(lengths))))
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        cells = [(0, position) for position in range(shared)]
        cells += [(row, shared + i) for row in order for i in range(lengths[row])]
        rows, positions_T = torch.tensor(cells).T
        context_rows_T = layout.context_rows[rows, positions_T]
        context_V = (context_rows_T >= 0).nonzero().flatten()
        device = self.frozen.positional_embedding.device
        with torch.no_grad():  # constants, with placeholders in the rows of the context
            embedded_Td = self.frozen.token_embedding(layout.ids[rows, positions_T].to(device))
            positional_Td = self.frozen.positional_embedding[positions_T.to(device)].to(embedded_Td.dtype)
            tokens_Td = embedded_Td + positional_Td
            q_Td, kv_T2d = _queries_keys_values(self.frozen.transformer.resblocks[0], tokens_Td)
        self._keep(tokens_Td=tokens_Td, q_Td=q_Td, kv_T2d=kv_T2d, hidden_TK=self.packing.hidden(), context_V=context_V)
        self._keep(context_rows_V=context_rows_T[context_V], positional_Vd=positional_Td[context_V.to(device)])
        self._keep(ends_P=self.packing.ends(), unsort_P=torch.tensor(order).argsort())

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        blocks = self.frozen.transformer.resblocks
        x_Vd = context_at(self.context_rows_V, context).to(self.positional_Vd.dtype) + self.positional_Vd
        x_Td = self.tokens_Td.index_copy(0, self.context_V, x_Vd)
        for number, block in enumerate(blocks):
            # Only the end tokens are read after the last block.
            asking = self.ends_P if number == len(blocks) - 1 else _EVERY
            if number == 0:
                # Before the first block only the context vectors differ from step to step.
                q_Vd, kv_V2d = _queries_keys_values(block, x_Vd)
                q_Qd = self.q_Td.index_copy(0, self.context_V, q_Vd)[asking]
                kv_T2d = self.kv_T2d.index_copy(0, self.context_V, kv_V2d)
            else:
                q_Qd, kv_T2d = _queries_keys_values(block, x_Td, asking)
            hidden_QK, num_heads = self.hidden_TK[asking], block.attn.num_heads
            found_Qd = _PackedAttention.apply(q_Qd, kv_T2d, hidden_QK, self.packing, num_heads)
            x_Qd = x_Td[asking] + block.ls_1(block.attn.out_proj(found_Qd))
            x_Td = x_Qd + block.ls_2(block.mlp(block.ln_2(x_Qd).to(block.mlp.c_fc.weight.dtype)))
        features = self.frozen.ln_final(x_Td[self.unsort_P])
        projection = self.frozen.text_projection
        if isinstance(projection, torch.nn.Linear):
            features = projection(features.to(projection.weight.dtype))
        elif projection is not None:
            features = features.to(projection.dtype) @ projection
        return F.normalize(features.float(), dim=-1)


def _queries_keys_values(
    block: ResidualAttentionBlock, x_Td: torch.Tensor, asking: torch.Tensor | slice = _EVERY
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return queries (Q, d) of all tokens, or of those at ``asking``, and keys with values (T, 2d)."""
    weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, x_Td.shape[1]
    normed = block.ln_1(x_Td).to(weight.dtype)
    kv_T2d = F.linear(normed, weight[width:], bias[width:])
    return F.linear(normed[asking], weight[:width], bias[:width]), kv_T2d


def _pool_type(model: torch.nn.Module) -> str | None:
    pool = getattr(model, "text_pool_type", None) or getattr(text_module(model), "pool_type", None)
    return pool if isinstance(pool, str) else None


def _eos_positions(model: torch.nn.Module, ids_PL: torch.Tensor) -> torch.Tensor:
    """Return the positions (P,) that `open_clip.transformer.text_global_pool` reads."""
    if _pool_type(model) == "argmax":
        return ids_PL.argmax(dim=1)
    eos_id: int | None = getattr(model, "text_eos_id", None)
    eos_id = text_module(model).eos_id if eos_id is None else eos_id
    return torch.eq(ids_PL, eos_id).int().argmax(dim=1)
