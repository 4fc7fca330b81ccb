"""The linear probe: a linear layer on the features, which starts as the zero-shot classifier."""

from typing import Any

import torch

from dbpt.heads.base import Head, HeadStart


class LinearHead(Head):
    """logits = features @ weights.T + bias, with ``weights`` (K, D) and ``bias`` (K,), float32, trained.

    It starts as the zero-shot classifier: from ``first_weights`` times ``logit_scale``.

    Args:
        first_weights: (K, D), the weights of the zero-shot classifier, or those of the groups, of length 1.
        logit_scale: the logit scale of the backbone, already exponentiated.
    """

    def __init__(self, first_weights: torch.Tensor, *, logit_scale: float) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(logit_scale * first_weights.detach().float())
        self.bias = torch.nn.Parameter(torch.zeros(len(first_weights), device=first_weights.device))
        self.multiply_adds = 128 * first_weights.numel()  # of a batch of 128 rows

    @classmethod
    def build(cls, start: HeadStart, **settings: Any) -> "LinearHead":
        """Build the zero-shot classifier."""
        return cls(start.weights, logit_scale=start.backbone.logit_scale)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32.
        """
        return features @ self.weights.T + self.bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the layer; its scale is in the weights."""
        return {"weights": self.weights, "logit_scale": torch.ones(1), "logit_bias": self.bias}
