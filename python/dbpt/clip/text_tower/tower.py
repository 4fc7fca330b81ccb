"""A text tower as a function of the context: the interface of every path, and the path that is right for any model."""

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dbpt.clip.text_tower.layout import PromptLayout


class TextTower(nn.Module):
    """A frozen text tower as a function of the context, for the prompts of a layout.

    own_positions: how many positions run through the blocks for each of the P prompts alone.
    shared_positions: how many run through them once for all.
    """

    own_positions: list[int]
    shared_positions: int = 0

    def __init__(self, frozen: Any, layout: PromptLayout) -> None:
        super().__init__()
        self._frozen = (frozen,)  # in a tuple: not a submodule, so not among our parameters
        self.layout = layout

    @property
    def frozen(self) -> Any:
        """The open_clip module whose weights are used."""
        return self._frozen[0]

    @property
    def num_positions(self) -> int:
        """How many positions run through the blocks in a forward pass."""
        return self.shared_positions + sum(self.own_positions)

    @abstractmethod
    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to L2-normalised text features (P, D), float32."""

    def _keep(self, **buffers: torch.Tensor) -> None:
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)


class GeneralTower(TextTower):
    """The model's own ``encode_text`` on the placeholder ids, the context written over what the embedding gives."""

    ids_PL: torch.Tensor
    places_PL: torch.Tensor

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(model, layout)
        length = _needed_length(model, layout)
        self._keep(ids_PL=layout.ids[:, :length], places_PL=layout.places[:, :length])
        self.own_positions = [length] * len(layout.ids)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""

        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            return write_context(output, self.places_PL, context)

        handle = token_embedding(self.frozen).register_forward_hook(hook)
        try:
            features = self.frozen.encode_text(self.ids_PL)
        finally:
            handle.remove()
        return F.normalize(features.float(), dim=-1)


def _needed_length(model: nn.Module, layout: PromptLayout) -> int:
    """Return L, or for a Hugging Face model, which masks padding, the length of the longest prompt."""
    config: Any = getattr(text_module(model), "config", None)
    pad = getattr(config, "pad_token_id", None)
    if pad is None:
        return layout.ids.shape[1]
    return 1 + int((layout.ids != pad).any(dim=0).nonzero().max())


def text_module(model: nn.Module) -> Any:
    """Return the module that holds the text tower's parts: the model itself (CLIP) or its ``text``."""
    return getattr(model, "text", model)


def token_embedding(model: nn.Module) -> nn.Embedding:
    """Return the embedding that the text tower looks tokens up in: open_clip's own, or a Hugging Face model's."""
    text = text_module(model)
    embedding = getattr(text, "token_embedding", None)
    if embedding is None:
        embedding = text.transformer.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    return embedding


def text_weights(model: nn.Module) -> int:
    """Return how many weights each position of a text is multiplied with: the tower's, without its embeddings."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not name.startswith(("visual.", "text_decoder.")) and "embedding" not in name
    )


def write_context(tokens: torch.Tensor, places: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Return ``tokens`` (..., d), with vector ``places`` (...) of ``context`` ([C,] n_ctx, d) where that is >= 0."""
    vectors = context.reshape(-1, context.shape[-1])
    # F.embedding, not indexing: its gradient is summed in a fixed order, whatever the number of threads
    inside = F.embedding(places.clamp(min=0), vectors).to(tokens.dtype)
    return torch.where((places >= 0).unsqueeze(-1), inside, tokens)
