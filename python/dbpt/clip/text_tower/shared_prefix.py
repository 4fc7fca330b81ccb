"""The fast path, for causal towers of plain blocks: what all prompts share at their start runs once.

In a causal tower the positions behind a prompt's EOS cannot influence the EOS row, which is all that is read: they are
dropped. What all prompts share at their start (``[SOS][ctx]`` and common first tokens of the names; less where the
class stands further in front, or has a context of its own) gives the same activations in every prompt: it runs once,
and the remaining tokens attend to its keys and values. All tokens that are left run through the weights together, as
one matrix without padding (`dbpt.clip.text_tower.packed_attention`). Into the first block, tokens come with the same
queries, keys and values at every step, unless they are context: those are kept. Of the last block, only the EOS rows
are computed.
"""

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.packed_attention import Packing, packed_attention
from dbpt.clip.text_tower.tower import TextTower, text_module, write_context

_EVERY = slice(None)


def why_no_shared_prefix(model: nn.Module) -> str | None:
    """Say in words why this path is not exact for a tower; None if it is."""
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
        and type(block.attn) is nn.MultiheadAttention
        and block.attn.in_proj_weight is not None
        and block.attn.bias_k is None
        for block in text.transformer.resblocks
    )
    return None if plain else "blocks other than open_clip's plain ones"


class SharedPrefixTower(TextTower):
    """The packed tokens of all prompts, block by block; T tokens, V of them context vectors, P prompts."""

    tokens_Td: torch.Tensor
    q_Td: torch.Tensor
    kv_T2d: torch.Tensor
    hidden_TK: torch.Tensor
    context_V: torch.Tensor
    ids_V: torch.Tensor
    places_V: torch.Tensor
    positions_V: torch.Tensor
    ends_P: torch.Tensor
    unsort_P: torch.Tensor

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(text_module(model), layout)
        eos_P = _eos_positions(model, layout.ids)
        self.shared_positions = shared = _common_prefix(layout, int(eos_P.min()))
        self.own_positions = lengths = (eos_P + 1 - shared).tolist()
        self.packing = Packing(shared, tuple((lengths.count(length), length) for length in sorted(set(lengths))))
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        cells = [(0, position) for position in range(shared)]
        cells += [(row, shared + i) for row in order for i in range(lengths[row])]
        rows, positions_T = torch.tensor(cells).T
        ids_T, places_T = layout.ids[rows, positions_T], layout.places[rows, positions_T]
        context_V = (places_T >= 0).nonzero().flatten()
        self._keep_constants(ids_T, positions_T)
        self._keep(
            hidden_TK=self.packing.hidden(),
            context_V=context_V,
            ids_V=ids_T[context_V],
            places_V=places_T[context_V],
            positions_V=positions_T[context_V],
            ends_P=self.packing.ends(),
            unsort_P=torch.tensor(order).argsort(),
        )

    @torch.no_grad()
    def _keep_constants(self, ids_T: torch.Tensor, positions_T: torch.Tensor) -> None:
        """Keep what enters the first block, and its projections; in the context's rows, the placeholders'."""
        device = self.frozen.positional_embedding.device
        tokens_Td = self._at_positions(self.frozen.token_embedding(ids_T.to(device)), positions_T.to(device))
        q_Td, kv_T2d = _queries_keys_values(self.frozen.transformer.resblocks[0], tokens_Td)
        self._keep(tokens_Td=tokens_Td, q_Td=q_Td, kv_T2d=kv_T2d)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        blocks = self.frozen.transformer.resblocks
        tokens_Vd = write_context(self.frozen.token_embedding(self.ids_V), self.places_V, context)
        x_Vd = self._at_positions(tokens_Vd, self.positions_V)
        x_Td = self.tokens_Td.index_copy(0, self.context_V, x_Vd)
        for number, block in enumerate(blocks):
            asking = self.ends_P if number == len(blocks) - 1 else _EVERY
            if number == 0:
                q_Vd, kv_V2d = _queries_keys_values(block, x_Vd)
                q_Qd = self.q_Td.index_copy(0, self.context_V, q_Vd)[asking]
                kv_T2d = self.kv_T2d.index_copy(0, self.context_V, kv_V2d)
            else:
                q_Qd, kv_T2d = _queries_keys_values(block, x_Td, asking)
            found_Qd = packed_attention(q_Qd, kv_T2d, self.hidden_TK[asking], self.packing, block.attn.num_heads)
            x_Td = _block_output(block, x_Td[asking], found_Qd)
        return self._project(x_Td[self.unsort_P])

    def _at_positions(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        added: torch.Tensor = self.frozen.positional_embedding[positions]
        return tokens + added.to(tokens.dtype)

    def _project(self, eos_Pd: torch.Tensor) -> torch.Tensor:
        """Apply the final norm and the projection; (P, D) float32, of length 1."""
        x = self.frozen.ln_final(eos_Pd)
        projection = self.frozen.text_projection
        if isinstance(projection, nn.Linear):
            x = projection(x.to(projection.weight.dtype))
        elif projection is not None:
            x = x.to(projection.dtype) @ projection
        return F.normalize(x.float(), dim=-1)


def _queries_keys_values(
    block: ResidualAttentionBlock, x_Td: torch.Tensor, asking: torch.Tensor | slice = _EVERY
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return queries (Q, d) of all tokens, or of those at the places ``asking``, and keys with values (T, 2d)."""
    weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, x_Td.shape[1]
    normed = block.ln_1(x_Td).to(weight.dtype)
    kv_T2d = F.linear(normed, weight[width:], bias[width:])
    return F.linear(normed[asking], weight[:width], bias[:width]), kv_T2d


def _block_output(block: ResidualAttentionBlock, x_Qd: torch.Tensor, attended_Qd: torch.Tensor) -> torch.Tensor:
    x_Qd = x_Qd + block.ls_1(block.attn.out_proj(attended_Qd))
    normed = block.ln_2(x_Qd).to(block.mlp.c_fc.weight.dtype)
    mlp: torch.Tensor = block.ls_2(block.mlp(normed))
    return x_Qd + mlp


def _common_prefix(layout: PromptLayout, limit: int) -> int:
    """Return how many leading positions, at most ``limit``, have the same token or context vector in every prompt."""
    differs = (layout.ids != layout.ids[:1]) | (layout.places != layout.places[:1])
    return int(differs.any(dim=0)[:limit].long().cummax(dim=0).values.eq(0).sum())


def _pool_type(model: nn.Module) -> str | None:
    pool = getattr(model, "text_pool_type", None) or getattr(text_module(model), "pool_type", None)
    return pool if isinstance(pool, str) else None


def _eos_positions(model: nn.Module, ids_PL: torch.Tensor) -> torch.Tensor:
    """Return the (P,) positions that `open_clip.transformer.text_global_pool` reads."""
    if _pool_type(model) == "argmax":
        return ids_PL.argmax(dim=1)
    eos_id: int | None = getattr(model, "text_eos_id", None)
    eos_id = text_module(model).eos_id if eos_id is None else eos_id
    return torch.eq(ids_PL, eos_id).int().argmax(dim=1)
