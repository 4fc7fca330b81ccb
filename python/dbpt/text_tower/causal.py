"""Exact short cuts for open_clip's causal text towers.

In a causal tower the positions behind a prompt's EOS cannot influence the EOS row, which is all that is read: they are
dropped. What all prompts share at their start (``[SOS][ctx]`` and any common first tokens of the names) gives the same
activations in every prompt: it runs once, and the remaining tokens attend to its keys and values. Prompts of equal
length form a bucket, so nothing is padded and one long name does not lengthen the others.

Shapes: P prompts, L positions, d width, D embedding, S shared prefix length, H heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from dbpt.text_tower.layout import PromptLayout


def native_text(model: nn.Module) -> Any:
    """The module that holds token_embedding, transformer, ln_final ...: the model itself (CLIP) or its ``text``."""
    return getattr(model, "text", model)


def _pool_type(model: nn.Module) -> str | None:
    pool = getattr(model, "text_pool_type", None) or getattr(native_text(model), "pool_type", None)
    return pool if isinstance(pool, str) else None


def is_causal(model: nn.Module) -> bool:
    """Whether the tower is open_clip's own, causal, read at EOS, and masked by nothing but causality."""
    text = native_text(model)
    return (
        hasattr(text, "token_embedding")
        and hasattr(text, "positional_embedding")
        and getattr(text, "attn_mask", None) is not None
        and getattr(text, "cls_emb", None) is None
        and not getattr(text, "use_pad_mask", False)
        and not getattr(text, "output_tokens", False)
        and _pool_type(model) in ("argmax", "eos")
    )


def shares_prefix(model: nn.Module) -> bool:
    """Whether all blocks of a causal tower are open_clip's plain pre-norm blocks, whose attention we can split."""
    blocks = native_text(model).transformer.resblocks
    return all(
        type(block) is ResidualAttentionBlock
        and type(block.attn) is nn.MultiheadAttention
        and block.attn.in_proj_weight is not None
        and block.attn.bias_k is None
        for block in blocks
    )


class _CausalTower(nn.Module):
    """What both causal paths share: embeddings of the fixed tokens, and the way from the EOS row to the result."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__()
        self._frozen = (native_text(model),)  # in a tuple: not a submodule, so not among our parameters
        self.layout = layout
        self.eos_P = _eos_positions(model, layout)
        device = self.text.token_embedding.weight.device
        with torch.no_grad():
            tokens = self.text.token_embedding(layout.ids.to(device)).detach()
        self.register_buffer("tokens_PLd", tokens, persistent=False)
        self.tokens_PLd: torch.Tensor

    @property
    def text(self) -> Any:
        return self._frozen[0]

    def _embed(self, rows: torch.Tensor, begin: int, end: int, context: torch.Tensor) -> torch.Tensor:
        """Positions begin..end of the given prompts with the context written in and positions added."""
        first, last = self.layout.start, self.layout.start + self.layout.n_ctx
        before = self.tokens_PLd[rows, begin : min(first, end)]
        inside = context[max(begin - first, 0) : max(min(end, last) - first, 0)].to(before.dtype)
        after = self.tokens_PLd[rows, max(last, begin) : max(end, last)]
        x = torch.cat([before, inside.expand(len(rows), -1, -1), after], dim=1)
        positions: torch.Tensor = self.text.positional_embedding[begin:end]
        return x + positions.to(x.dtype)

    def _project(self, eos_Pd: torch.Tensor) -> torch.Tensor:
        x = self.text.ln_final(eos_Pd)
        projection = self.text.text_projection
        if isinstance(projection, nn.Linear):
            x = projection(x)
        elif projection is not None:
            x = x @ projection
        return F.normalize(x.float(), dim=-1)


class TruncatedTower(_CausalTower):
    """The model's own blocks on the positions up to the last EOS."""

    @property
    def num_positions(self) -> int:
        """Positions that run through the blocks."""
        return len(self.eos_P) * (int(self.eos_P.max()) + 1)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) to text features (P, D)."""
        rows = torch.arange(len(self.eos_P), device=context.device)
        length = int(self.eos_P.max()) + 1
        x = self._embed(rows, 0, length, context)
        x = self.text.transformer(x, attn_mask=self.text.attn_mask[:length, :length])
        return self._project(x[rows, self.eos_P.to(context.device)])


@dataclass(frozen=True)
class _Bucket:
    """Prompts whose EOS stands at the same position."""

    rows: torch.Tensor
    end: int


class SharedPrefixTower(_CausalTower):
    """The shared prefix once, then each bucket of suffixes attending to its keys and values."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(model, layout)
        self.prefix_length = _common_prefix(layout.ids, int(self.eos_P.min()))
        self.buckets = [
            _Bucket(torch.nonzero(self.eos_P == eos).flatten().to(self.tokens_PLd.device), int(eos) + 1)
            for eos in self.eos_P.unique()  # type: ignore[no-untyped-call]
        ]
        suffixes = sum(len(bucket.rows) * (bucket.end - self.prefix_length) for bucket in self.buckets)
        self.num_positions = self.prefix_length + suffixes
        order = torch.cat([bucket.rows for bucket in self.buckets])
        self.register_buffer("unsort", torch.argsort(order), persistent=False)
        self.unsort: torch.Tensor

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) to text features (P, D)."""
        shared = self.prefix_length
        first_row = torch.zeros(1, dtype=torch.long, device=context.device)
        prefix = self._embed(first_row, 0, shared, context)
        suffixes = [self._embed(bucket.rows, shared, bucket.end, context) for bucket in self.buckets]
        for block in self.text.transformer.resblocks:
            prefix, suffixes = _split_block(block, prefix, suffixes)
        eos_Pd = torch.cat([suffix[:, -1] for suffix in suffixes])[self.unsort]
        return self._project(eos_Pd)


def _split_block(
    block: ResidualAttentionBlock, prefix_1Sd: torch.Tensor, suffixes: list[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """One pre-norm block on the prefix and, with the prefix's keys and values in front, on each bucket of suffixes."""
    q, k_prefix, v_prefix = _heads(block, prefix_1Sd)
    attended = F.scaled_dot_product_attention(q, k_prefix, v_prefix, is_causal=True)
    new_prefix = _rest_of_block(block, prefix_1Sd, attended)
    new_suffixes = []
    for x in suffixes:
        q, k, v = _heads(block, x)
        k = torch.cat([k_prefix.expand(len(x), -1, -1, -1), k], dim=2)
        v = torch.cat([v_prefix.expand(len(x), -1, -1, -1), v], dim=2)
        sees = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device).tril(prefix_1Sd.shape[1])
        new_suffixes.append(_rest_of_block(block, x, F.scaled_dot_product_attention(q, k, v, attn_mask=sees)))
    return new_prefix, new_suffixes


def _heads(block: ResidualAttentionBlock, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values (P, H, L, d/H) of the block's attention."""
    attention = block.attn
    qkv = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    split = qkv.view(*x.shape[:2], 3, attention.num_heads, attention.head_dim)
    q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


def _rest_of_block(block: ResidualAttentionBlock, x: torch.Tensor, attended_PHLe: torch.Tensor) -> torch.Tensor:
    x = x + block.ls_1(block.attn.out_proj(attended_PHLe.transpose(1, 2).flatten(-2)))
    mlp: torch.Tensor = block.ls_2(block.mlp(block.ln_2(x)))
    return x + mlp


def _eos_positions(model: nn.Module, layout: PromptLayout) -> torch.Tensor:
    """(P,) the position that `open_clip.transformer.text_global_pool` reads."""
    if _pool_type(model) == "argmax":
        return layout.ids.argmax(dim=1)
    eos_id: int | None = getattr(model, "text_eos_id", None)
    eos_id = native_text(model).eos_id if eos_id is None else eos_id
    return torch.eq(layout.ids, eos_id).int().argmax(dim=1)


def _common_prefix(ids_PL: torch.Tensor, limit: int) -> int:
    """Number of leading positions with the same token in every prompt, at most ``limit``."""
    differs = (ids_PL != ids_PL[:1]).any(dim=0)[:limit]
    return int(differs.long().cummax(dim=0).values.eq(0).sum())
