"""The fast path, for causal towers of plain blocks: the common prefix of all prompts runs once.

Only the EOS rows are read. In a causal tower later positions can't influence them, so they are dropped. The tokens or
context vectors that all prompts start with have the same activations in each. They run once, and the other tokens
attend to their keys and values. All tokens go through the weights as one matrix without padding (`packed_attention`).
In the first block only the context needs new queries, keys and values at each step; the last block computes only EOS
rows.
"""

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.packed_attention import Packing, packed_attention
from dbpt.clip.text_tower.tower import TextTower, context_at, text_module

_EVERY = slice(None)


def why_no_shared_prefix(model: nn.Module) -> str | None:
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
        and type(block.attn) is nn.MultiheadAttention
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
    places_V: torch.Tensor
    positional_Vd: torch.Tensor
    ends_P: torch.Tensor
    unsort_P: torch.Tensor

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(text_module(model), layout)
        eos_P = _eos_positions(model, layout.ids)
        differs_L = ((layout.ids != layout.ids[:1]) | (layout.places != layout.places[:1])).any(dim=0)
        self.shared_positions = shared = int(differs_L[: int(eos_P.min())].long().cummax(dim=0).values.eq(0).sum())
        self.own_positions = lengths = (eos_P + 1 - shared).tolist()
        self.packing = Packing(shared, tuple((lengths.count(length), length) for length in sorted(set(lengths))))
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        cells = [(0, position) for position in range(shared)]
        cells += [(row, shared + i) for row in order for i in range(lengths[row])]
        rows, positions_T = torch.tensor(cells).T
        places_T = layout.places[rows, positions_T]
        context_V = (places_T >= 0).nonzero().flatten()
        device = self.frozen.positional_embedding.device
        with torch.no_grad():  # constants, with placeholders in the rows of the context
            embedded_Td = self.frozen.token_embedding(layout.ids[rows, positions_T].to(device))
            positional_Td = self.frozen.positional_embedding[positions_T.to(device)].to(embedded_Td.dtype)
            tokens_Td = embedded_Td + positional_Td
            q_Td, kv_T2d = _queries_keys_values(self.frozen.transformer.resblocks[0], tokens_Td)
        self._keep(tokens_Td=tokens_Td, q_Td=q_Td, kv_T2d=kv_T2d, hidden_TK=self.packing.hidden(), context_V=context_V)
        self._keep(places_V=places_T[context_V], positional_Vd=positional_Td[context_V.to(device)])
        self._keep(ends_P=self.packing.ends(), unsort_P=torch.tensor(order).argsort())

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        blocks = self.frozen.transformer.resblocks
        x_Vd = context_at(self.places_V, context).to(self.positional_Vd.dtype) + self.positional_Vd
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
            x_Qd = x_Td[asking] + block.ls_1(block.attn.out_proj(found_Qd))
            x_Td = x_Qd + block.ls_2(block.mlp(block.ln_2(x_Qd).to(block.mlp.c_fc.weight.dtype)))
        features = self.frozen.ln_final(x_Td[self.unsort_P])
        projection = self.frozen.text_projection
        if isinstance(projection, nn.Linear):
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


def _pool_type(model: nn.Module) -> str | None:
    pool = getattr(model, "text_pool_type", None) or getattr(text_module(model), "pool_type", None)
    return pool if isinstance(pool, str) else None


def _eos_positions(model: nn.Module, ids_PL: torch.Tensor) -> torch.Tensor:
    """Return the positions (P,) that `open_clip.transformer.text_global_pool` reads."""
    if _pool_type(model) == "argmax":
        return ids_PL.argmax(dim=1)
    eos_id: int | None = getattr(model, "text_eos_id", None)
    eos_id = text_module(model).eos_id if eos_id is None else eos_id
    return torch.eq(ids_PL, eos_id).int().argmax(dim=1)
