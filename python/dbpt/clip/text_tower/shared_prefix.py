"""The fast path: what all prompts share at their start runs once, what the context cannot change not at all.

In a causal tower the positions behind a prompt's EOS cannot influence the EOS row, which is all that is read: they are
dropped. What all prompts share at their start (``[SOS][ctx]`` and common first tokens of the names; less where the
class stands further in front, or has a context of its own) gives the same activations in every prompt: it runs once,
and the remaining tokens attend to its keys and values. All tokens that are left run through the weights together, as
one matrix without padding (`dbpt.clip.text_tower.packing`). Into the first block, tokens come with the same queries,
keys and values at every step, unless they are context: those are kept. Of the last block, only the EOS rows are
computed.
"""

import torch
from torch import nn

from dbpt.clip.text_tower.embedding import write_context
from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.native import CausalTower
from dbpt.clip.text_tower.packed_attention import packed_attention
from dbpt.clip.text_tower.packed_blocks import EVERY, project, transform
from dbpt.clip.text_tower.packing import Packing


class SharedPrefixTower(CausalTower):
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
        super().__init__(model, layout)
        self.shared_positions = shared = _common_prefix(layout, int(self.eos_P.min()))
        self.own_positions = lengths = (self.eos_P + 1 - shared).tolist()
        self.packing = Packing(shared, tuple((lengths.count(length), length) for length in sorted(set(lengths))))
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        cells = [(0, position) for position in range(shared)]
        cells += [(row, shared + i) for row in order for i in range(lengths[row])]
        rows, positions_T = torch.tensor(cells).T
        ids_T, places_T = layout.ids[rows, positions_T], layout.places[rows, positions_T]
        context_V = (places_T >= 0).nonzero().flatten()
        buffers = {
            **self._constants(ids_T, positions_T),
            "hidden_TK": self.packing.hidden(),
            "context_V": context_V,
            "ids_V": ids_T[context_V],
            "places_V": places_T[context_V],
            "positions_V": positions_T[context_V],
            "ends_P": self.packing.ends(),
            "unsort_P": torch.tensor(order).argsort(),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    @torch.no_grad()
    def _constants(self, ids_T: torch.Tensor, positions_T: torch.Tensor) -> dict[str, torch.Tensor]:
        """What enters the first block, and its projections: of the context's rows, the placeholders'."""
        device = self.frozen.positional_embedding.device
        tokens_Td = self.at_positions(self.frozen.token_embedding(ids_T.to(device)), positions_T.to(device))
        q_Td, kv_T2d = project(self.frozen.transformer.resblocks[0], tokens_Td)
        return {"tokens_Td": tokens_Td, "q_Td": q_Td, "kv_T2d": kv_T2d}

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        blocks = self.frozen.transformer.resblocks
        tokens_Vd = write_context(self.frozen.token_embedding(self.ids_V), self.places_V, context)
        x_Vd = self.at_positions(tokens_Vd, self.positions_V)
        x_Td = self.tokens_Td.index_copy(0, self.context_V, x_Vd)
        for number, block in enumerate(blocks):
            asking = self.ends_P if number == len(blocks) - 1 else EVERY
            if number == 0:
                q_Vd, kv_V2d = project(block, x_Vd)
                q_Qd = self.q_Td.index_copy(0, self.context_V, q_Vd)[asking]
                kv_T2d = self.kv_T2d.index_copy(0, self.context_V, kv_V2d)
            else:
                q_Qd, kv_T2d = project(block, x_Td, asking)
            found_Qd = packed_attention(q_Qd, kv_T2d, self.hidden_TK[asking], self.packing, block.attn.num_heads)
            x_Td = transform(block, x_Td[asking], found_Qd)
        return self.project(x_Td[self.unsort_P])


def _common_prefix(layout: PromptLayout, limit: int) -> int:
    """Number of leading positions, at most ``limit``, where every prompt has the same token or context vector."""
    differs = (layout.ids != layout.ids[:1]) | (layout.places != layout.places[:1])
    return int(differs.any(dim=0)[:limit].long().cummax(dim=0).values.eq(0).sum())
