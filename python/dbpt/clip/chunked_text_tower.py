"""The text tower in a limited memory: prompts in chunks, and weights in bfloat16.

The activations that a tower keeps for the gradient grow with the classes. A chunk of prompts keeps only its features;
in the backward pass it runs a second time, and its part is added to the context's gradient (Chen et al., 2016). The
result is the same up to rounding, for one more forward pass.
"""

import copy
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from dbpt.clip.prompt_tokens import PromptLayout
from dbpt.clip.shared_prefix_tower import build_text_tower, text_path
from dbpt.clip.text_tower import TextTower, token_embedding

# No float16: small gradients become 0 in it. bfloat16 has the range of float32.
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
MB = 1_000_000
_MEASURED_PROMPTS = 4


def fit_text_tower(
    model: torch.nn.Module, layout: PromptLayout, context: torch.Tensor, *, precision: str = "float32", memory_mb: float
) -> TextTower:
    """Return `build_text_tower` with weights in ``precision``, in chunks if ``memory_mb`` requires them.

    Args:
        model: the model of open_clip.
        layout: the P prompts.
        context: any tensor of the final shape, ([C,] n_ctx, d).
        precision: "float32" or "bf16".
        memory_mb: limit in MB for the activations that a forward pass keeps for the gradient. Their bytes per position
            are measured on a few prompts, from the shortest to the longest. A chunk has at least one prompt.
    """
    model = hold_text(model, precision)
    whole = build_text_tower(model, layout)
    order = sorted(range(len(layout.ids)), key=whole.own_positions.__getitem__)
    few = [order[i] for i in torch.linspace(0, len(order) - 1, min(_MEASURED_PROMPTS, len(order))).long().tolist()]
    sample = build_text_tower(model, layout.prompts(few))
    capacity = memory_mb * MB * sample.num_positions / activation_bytes(sample, context)
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
    return ChunkedTower(model, layout, parts).to(context.device)


def hold_text(model: torch.nn.Module, precision: str) -> torch.nn.Module:
    """Return ``model`` for float32, else a copy of it without image tower and with a text tower in ``precision``.

    For the shared-prefix path only the matrices of the blocks are converted. The residual stream, its norms and the
    embedding (which the copy shares with ``model``) stay in float32. Autocast would convert the weights at every step,
    which is slower than float32 on a CPU.
    """
    dtype = PRECISIONS[precision]
    if dtype == torch.float32:
        return model
    kept: dict[int, Any] = {
        id(getattr(model, name)): torch.nn.Identity() for name in ("visual", "text_decoder") if hasattr(model, name)
    }
    if text_path(model) == "general":
        return copy.deepcopy(model, kept).to(dtype)
    kept[id(token_embedding(model))] = token_embedding(model)
    held = copy.deepcopy(model, kept)
    for module in held.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.MultiheadAttention):
            module.to(dtype)
    return held


class ChunkedTower(TextTower):
    """One tower over all prompts, made of towers over ``parts`` of them."""

    unsort_P: torch.Tensor

    def __init__(self, model: torch.nn.Module, layout: PromptLayout, parts: list[list[int]]) -> None:
        chunks = [build_text_tower(model, layout.prompts(part)) for part in parts]
        super().__init__(chunks[0].frozen, layout)
        self.chunks = torch.nn.ModuleList(chunks)
        self.own_positions = [chunk.num_positions for chunk in chunks]
        self._keep(unsort_P=torch.tensor([row for part in parts for row in part]).argsort())

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        # The backward pass computes each chunk again, so that only one chunk's activations are kept at a time.
        parts = [checkpoint(chunk, context, use_reentrant=False, preserve_rng_state=False) for chunk in self.chunks]
        return torch.cat(parts)[self.unsort_P]


def activation_bytes(tower: TextTower, context: torch.Tensor) -> int:
    """Return the bytes that a forward pass keeps for the gradient, except the tower's own weights and buffers."""
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
    assert features.requires_grad  # the graph lives until here, so no address was reused
    return sum(kept.values())
