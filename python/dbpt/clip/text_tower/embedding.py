"""The tower's token embedding, and the context vectors written over the placeholders' rows."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def token_embedding(model: nn.Module) -> nn.Embedding:
    """The embedding that the text tower looks tokens up in: open_clip's own, or a Hugging Face model's."""
    text: Any = getattr(model, "text", model)
    embedding = getattr(text, "token_embedding", None)
    if embedding is None:
        embedding = text.transformer.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    return embedding


def text_weights(model: nn.Module) -> int:
    """Number of weights that each position of a text is multiplied with: the tower's, without its embeddings."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not name.startswith(("visual.", "text_decoder.")) and "embedding" not in name
    )


def write_context(tokens: torch.Tensor, places: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """``tokens`` (..., d), with vector number ``places`` (...) of ``context`` ([C,] n_ctx, d) where that is >= 0."""
    vectors = context.reshape(-1, context.shape[-1])
    # F.embedding, not indexing: its gradient is summed in a fixed order, whatever the number of threads
    inside = F.embedding(places.clamp(min=0), vectors).to(tokens.dtype)
    return torch.where((places >= 0).unsqueeze(-1), inside, tokens)
