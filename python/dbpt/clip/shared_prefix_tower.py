"""The fast path of the text tower, and which models take it: the prefix of all prompts is run once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock

from dbpt.clip.prompt_tokens import PromptLayout
from dbpt.clip.text_tower import GeneralTower, TextTower, context_at, text_module, token_embedding


@dataclass(frozen=True)
class Packing:
    """``prefix`` tokens that all prompts share, then the suffixes in ``buckets`` of (number of prompts, length)."""

    prefix: int
    buckets: tuple[tuple[int, int], ...]

    def ends(self) -> torch.Tensor:
        """Return the position (P,) of each prompt's last token."""
        lengths = torch.tensor([length for count, length in self.buckets for _ in range(count)])
        return self.prefix + lengths.cumsum(0) - 1


def attention(q_Qd: torch.Tensor, kv_T2d: torch.Tensor, packing: Packing, num_heads: int) -> torch.Tensor:
    """Return the attention (Q, d) of Q queries over the keys and values of T tokens: softmax(q kᵀ / √e) v.

    A token sees those of the prefix and of its own prompt up to itself. The queries are all tokens, or the last one of
    each prompt.
    """
    counts, lengths = zip((1, packing.prefix), *packing.buckets, strict=True)
    keys = [count * length for count, length in zip(counts, lengths, strict=True)]
    queries = keys if len(q_Qd) == len(kv_T2d) else [0, *counts[1:]]
    width = q_Qd.shape[1] // num_heads

    def heads(x_Rd: torch.Tensor, sizes: list[int]) -> Iterator[torch.Tensor]:
        """Yield the rows of the prefix, then those of each bucket, as (H, n, m, e)."""
        for rows, count in zip(torch.split(x_Rd, sizes), counts, strict=True):
            # Contiguous, so that products need no copies of their own, which autograd would keep.
            yield rows.view(count, len(rows) // count, num_heads, width).permute(2, 0, 1, 3).contiguous()

    k_Td, v_Td = kv_T2d.chunk(2, dim=1)
    found, shared_k = list[torch.Tensor](), q_Qd.new_empty(num_heads, 0, width)
    shared_v = shared_k  # the prefix itself has none before it
    for q, k, v in zip(heads(q_Qd, queries), heads(k_Td, keys), heads(v_Td, keys), strict=True):
        # One product with the prefix for all prompts, which would else be repeated for each.
        to_shared = (q.flatten(1, 2) @ shared_k.mT).view(*q.shape[:3], shared_k.shape[1])
        later = torch.ones(k.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1)
        own = (q @ k.mT).masked_fill(later[len(later) - q.shape[2] :], float("-inf"))
        weights = (torch.cat([to_shared, own], dim=-1) * width**-0.5).softmax(dim=-1)
        of_shared, of_own = torch.split(weights, [shared_k.shape[1], len(later)], dim=-1)
        found.append((of_shared.flatten(1, 2) @ shared_v).view(q.shape) + of_own @ v)
        if len(found) == 1:
            shared_k, shared_v = k[:, 0], v[:, 0]
    return torch.cat([part.flatten(1, 2) for part in found], dim=1).transpose(0, 1).flatten(1)


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
        self._keep(tokens_Td=tokens_Td, q_Td=q_Td, kv_T2d=kv_T2d, context_V=context_V)
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
            found_Qd = attention(q_Qd, kv_T2d, self.packing, block.attn.num_heads)
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


TextPath = Literal["shared-prefix", "general"]


def text_path(model: torch.nn.Module) -> TextPath:
    """Return the fastest exact path for an open_clip ``model``."""
    return "general" if why_no_shared_prefix(model) else "shared-prefix"


def build_text_tower(model: torch.nn.Module, layout: PromptLayout, path: TextPath | None = None) -> TextTower:
    """Return a module that maps a context to L2-normalised text features (P, D), differentiably.

    The context is (n_ctx, d), or (C, n_ctx, d) for a layout with ``owners``. ``path`` overrides `text_path`, for
    comparisons. The parameters of the module don't include the model's own weights.
    """
    general = (path or text_path(model)) == "general"
    tower = GeneralTower(model, layout) if general else SharedPrefixTower(model, layout)
    return tower.to(token_embedding(model).weight.device)
