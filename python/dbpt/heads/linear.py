"""The linear probe: one layer on the features."""

import torch
from torch import nn

from dbpt.heads.base import Head


class LinearHead(Head):
    """logits = scale * features @ weights.T + bias, with ``weights`` (C, D) and ``bias`` (C,), float32, trained.

    ``class_weights`` (C, D), which it starts from, are the zero-shot classifier's, of length 1.
    """

    def __init__(self, class_weights: torch.Tensor, *, scale: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(class_weights.detach().float().clone())
        self.bias = nn.Parameter(torch.zeros(len(class_weights), device=class_weights.device))
        self.scale = scale
        self.multiply_adds = 128 * class_weights.numel()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, C)."""
        return self.scale * features @ self.weights.T + self.bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """The layer."""
        return {"weights": self.weights, "logit_scale": torch.tensor([self.scale]), "logit_bias": self.bias}
