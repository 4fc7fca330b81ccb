"""The fast path: what all prompts share at their start runs once, and nothing is padded.

In a causal tower the positions behind a prompt's EOS cannot influence the EOS row, which is all that is read: they are
dropped. What all prompts share at their start (``[SOS][ctx]`` and common first tokens of the names; less where the
class stands further in front, or has a context of its own) gives the same activations in every prompt: it runs once,
and the remaining tokens attend to its keys and values. Prompts of equal length form a bucket, so one long name does not
lengthen the others. All tokens that are left run through the weights together, as one matrix.
"""

import torch
from torch import nn

from dbpt.text_tower.layout import PromptLayout
from dbpt.text_tower.native import CausalTower
from dbpt.text_tower.packed_blocks import Packing, packed_block


class SharedPrefixTower(CausalTower):
    """The shared prefix once, then each bucket of suffixes attending to its keys and values."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(model, layout)
        self.shared_positions = _common_prefix(layout, int(self.eos_P.min()))
        self.own_positions = lengths = (self.eos_P + 1 - self.shared_positions).tolist()
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        buckets = tuple((lengths.count(length), length) for length in sorted(set(lengths)))
        self.packing = Packing(self.shared_positions, buckets)
        flat = [(0, position) for position in range(self.shared_positions)]
        flat += [(row, self.shared_positions + i) for row in order for i in range(lengths[row])]
        rows, positions = torch.tensor(flat).T
        self.register_buffer("ids_T", layout.ids[rows, positions], persistent=False)
        self.register_buffer("places_T", layout.places[rows, positions], persistent=False)
        self.register_buffer("positions_T", positions.contiguous(), persistent=False)
        self.register_buffer("unsort_P", torch.argsort(torch.tensor(order)), persistent=False)
        self.ids_T: torch.Tensor
        self.places_T: torch.Tensor
        self.positions_T: torch.Tensor
        self.unsort_P: torch.Tensor

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        x_Td = self.embed(self.ids_T, self.places_T, self.positions_T, context)
        *blocks, last = self.frozen.transformer.resblocks
        for block in blocks:
            x_Td = packed_block(block, x_Td, self.packing)
        eos_Pd = packed_block(last, x_Td, self.packing, only_last=True)
        return self.project(eos_Pd[self.unsort_P])


def _common_prefix(layout: PromptLayout, limit: int) -> int:
    """Number of leading positions, at most ``limit``, where every prompt has the same token or context vector."""
    differs = (layout.ids != layout.ids[:1]) | (layout.places != layout.places[:1])
    return int(differs.any(dim=0)[:limit].long().cummax(dim=0).values.eq(0).sum())
