"""More prompts than memory holds: chunks whose activations are computed again on the way back (Chen et al., 2016).

What a tower keeps for the gradient grows with the classes. A chunk of prompts keeps nothing but its features; when the
gradient comes back, the chunk runs a second time, and its part is added to the context's gradient. The result is that
of one piece, up to the rounding of sums, for one more forward pass.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.tower import TextTower

MEASURED_PROMPTS = 4


class ChunkedTower(TextTower):
    """Towers over ``parts`` of the prompts as one tower over all of them."""

    def __init__(
        self, build: Callable[[PromptLayout], TextTower], layout: PromptLayout, parts: list[list[int]]
    ) -> None:
        chunks = [build(layout.prompts(part)) for part in parts]
        super().__init__(chunks[0].frozen, layout)
        self.chunks = nn.ModuleList(chunks)
        self.own_positions = [chunk.num_positions for chunk in chunks]
        order = torch.tensor([row for part in parts for row in part])
        self.register_buffer("unsort_P", order.argsort(), persistent=False)
        self.unsort_P: torch.Tensor

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        parts = [checkpoint(chunk, context, use_reentrant=False, preserve_rng_state=False) for chunk in self.chunks]
        return torch.cat(parts)[self.unsort_P]


def within_memory(
    build: Callable[[PromptLayout], TextTower], layout: PromptLayout, context: torch.Tensor, memory: float
) -> TextTower:
    """The tower over all prompts in one piece, or in chunks of which none keeps more than about ``memory`` bytes.

    What a position keeps is measured on a few prompts, from the shortest to the longest. A chunk has at least one
    prompt, whatever that keeps.
    """
    whole = build(layout)
    order = sorted(range(len(layout.ids)), key=whole.own_positions.__getitem__)
    few = [order[i] for i in torch.linspace(0, len(order) - 1, min(MEASURED_PROMPTS, len(order))).long().tolist()]
    sample = build(layout.prompts(few))
    capacity = memory * sample.num_positions / activation_bytes(sample, context)
    if whole.num_positions <= capacity:
        return whole
    parts: list[list[int]] = [[]]
    room = capacity - whole.shared_positions
    for row in order:
        if parts[-1] and whole.own_positions[row] > room:
            parts.append([])
            room = capacity - whole.shared_positions
        parts[-1].append(row)
        room -= whole.own_positions[row]
    return ChunkedTower(build, layout, parts).to(context.device)


def activation_bytes(tower: TextTower, context: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the gradient, without the tower's own weights and buffers."""
    frozen = tower.frozen
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*frozen.parameters(), *frozen.buffers())}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor):
        features = tower(context.detach().requires_grad_())
    assert features.requires_grad  # the graph is alive until here, so no address was used twice
    return sum(kept.values())
