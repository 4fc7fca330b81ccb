"""The path that is right for any tower: the model's own ``encode_text``, the context in place of the placeholders."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dbpt.text_tower.layout import PromptLayout


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
        if not name.startswith("visual.") and "embedding" not in name
    )


class GeneralTower(nn.Module):
    """``encode_text`` on the placeholder ids, the embedding's output replaced by the context where it belongs."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__()
        self._frozen: tuple[Any] = (model,)  # in a tuple: not a submodule, so not among our parameters
        self.layout = layout
        self.register_buffer("ids_PL", layout.ids.to(next(model.parameters()).device), persistent=False)
        self.ids_PL: torch.Tensor
        self.num_positions = layout.ids.numel()

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) to text features (P, D)."""
        start, end = self.layout.start, self.layout.start + self.layout.n_ctx

        def write_context(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            inside = context.to(output.dtype).expand(len(output), -1, -1)
            return torch.cat([output[:, :start], inside, output[:, end:]], dim=1)

        hook = token_embedding(self._frozen[0]).register_forward_hook(write_context)
        try:
            features = self._frozen[0].encode_text(self.ids_PL)
        finally:
            hook.remove()
        return F.normalize(features.float(), dim=-1)
