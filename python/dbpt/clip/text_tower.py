"""The frozen text tower as a function from context vectors to text features, for the prompts of a layout."""

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F

from dbpt.clip.prompt_tokens import PromptLayout


class TextTower(torch.nn.Module):
    """A frozen text tower as a function of the context, for the prompts of a layout.

    A forward pass runs ``own_positions`` (P,) of each prompt through the blocks, and ``shared_positions`` of all once.
    """

    own_positions: list[int]
    shared_positions: int = 0

    def __init__(self, frozen: Any, layout: PromptLayout) -> None:
        super().__init__()
        self._frozen = (frozen,)  # a tuple hides it from torch, so its parameters aren't ours
        self.layout = layout

    @property
    def frozen(self) -> Any:
        """The open_clip module whose weights are used."""
        return self._frozen[0]

    @property
    def num_positions(self) -> int:
        """Number of positions that run through the blocks in a forward pass."""
        return self.shared_positions + sum(self.own_positions)

    @abstractmethod
    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to L2-normalised text features (P, D), float32."""

    def _keep(self, **buffers: torch.Tensor) -> None:
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)


class GeneralTower(TextTower):
    """The model's own ``encode_text`` on the placeholder ids, whose embeddings a hook replaces by the context."""

    ids_PL: torch.Tensor
    context_rows_PL: torch.Tensor

    def __init__(self, model: torch.nn.Module, layout: PromptLayout) -> None:
        super().__init__(model, layout)
        # A Hugging Face model masks padding, so positions after the longest prompt can be cut.
        pad = getattr(getattr(text_module(model), "config", None), "pad_token_id", None)
        length = layout.ids.shape[1] if pad is None else 1 + int((layout.ids != pad).any(dim=0).nonzero().max())
        self._keep(ids_PL=layout.ids[:, :length], context_rows_PL=layout.context_rows[:, :length])
        self.own_positions = [length] * len(layout.ids)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""

        def hook(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            inside = context_at(self.context_rows_PL.clamp(min=0), context).to(output.dtype)
            return torch.where((self.context_rows_PL >= 0).unsqueeze(-1), inside, output)

        handle = token_embedding(self.frozen).register_forward_hook(hook)
        try:
            features = self.frozen.encode_text(self.ids_PL)
        finally:
            handle.remove()
        return F.normalize(features.float(), dim=-1)


def text_module(model: torch.nn.Module) -> Any:
    """Return the module with the parts of the text tower: the model itself (CLIP) or its ``text``."""
    return getattr(model, "text", model)


def token_embedding(model: torch.nn.Module) -> torch.nn.Embedding:
    """Return the token embedding of the text tower: open_clip's own, or that of a Hugging Face model."""
    text = text_module(model)
    embedding = getattr(text, "token_embedding", None)
    if embedding is None:
        embedding = text.transformer.get_input_embeddings()
    assert isinstance(embedding, torch.nn.Embedding)
    return embedding


def text_weights(model: torch.nn.Module) -> int:
    """Return the number of weights that multiply each position of a text: those of the tower, without embeddings."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not name.startswith(("visual.", "text_decoder.")) and "embedding" not in name
    )


def context_at(rows: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Return the vectors (..., d) of ``context`` ([C,] n_ctx, d) in its ``rows`` (...), see `PromptLayout`."""
    # The gradient of F.embedding, unlike that of indexing, is summed in the same order for any number of threads.
    return F.embedding(rows, context.reshape(-1, context.shape[-1]))
