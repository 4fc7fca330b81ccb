"""The path that is right for any tower: the model's own ``encode_text``, the context in place of the placeholders."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dbpt.clip.text_tower.embedding import token_embedding, write_context
from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.tower import TextTower


class GeneralTower(TextTower):
    """``encode_text`` on the placeholder ids, the embedding's output replaced by the context where it belongs."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(model, layout)
        length = _needed_length(model, layout)
        self.register_buffer("ids_PL", layout.ids[:, :length], persistent=False)
        self.register_buffer("places_PL", layout.places[:, :length], persistent=False)
        self.ids_PL: torch.Tensor
        self.places_PL: torch.Tensor
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
    """All L positions, but for a Hugging Face model, which masks padding, only those up to the longest prompt's end."""
    config: Any = getattr(getattr(model, "text", model), "config", None)
    pad = getattr(config, "pad_token_id", None)
    if pad is None:
        return layout.ids.shape[1]
    return 1 + int((layout.ids != pad).any(dim=0).nonzero().max())
