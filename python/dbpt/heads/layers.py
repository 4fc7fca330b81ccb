"""Heads of layers on the features: the linear probe, and CLIP-Adapter (Gao et al., 2021)."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from dbpt.heads.base import Array, Head, HeadStart, Tensors

REDUCTION = 4
RATIO = 0.2


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


class AdapterHead(Head):
    """logits = logit_scale * cosine(ratio * relu(relu(x @ down.T) @ up.T) + (1 - ratio) * x, weights) + logit_bias.

    CLIP-Adapter (arXiv 2110.04544), with bottleneck D/4, ratio 0.2 and both rectified layers as in the authors' code.
    The parameters are ``down`` (D/4, D) and ``up`` (D, D/4), float32. The paper's features x don't have length 1, which
    makes no difference: layers without biases preserve the scale, and the cosine removes it.

    Args:
        weights: (K, D), the weights of the zero-shot classifier, or those of the groups, which are not trained.
        logit_scale, logit_bias: those of the backbone; the scale is already exponentiated.
        seed: seed of the parameters, which are drawn as those of torch's linear layers.
    """

    tells_alike_apart = False

    def __init__(self, weights: torch.Tensor, *, logit_scale: float, logit_bias: float, seed: int) -> None:
        super().__init__()
        num_classes, width = weights.shape
        hidden = max(1, width // REDUCTION)
        generator = torch.Generator().manual_seed(seed)
        self.down = torch.nn.Parameter(_uniform(hidden, width, generator).to(weights.device))
        self.up = torch.nn.Parameter(_uniform(width, hidden, generator).to(weights.device))
        self.register_buffer("weights", weights.detach().float().clone())
        self.weights: torch.Tensor
        self.logit_scale, self.logit_bias = logit_scale, logit_bias
        self.multiply_adds = 128 * width * (2 * hidden + num_classes)  # of a batch of 128 rows

    @classmethod
    def build(cls, start: HeadStart, **settings: Any) -> "AdapterHead":
        """Build the layers, drawn from the seed."""
        scale, bias = start.backbone.logit_scale, start.backbone.logit_bias or 0.0
        return cls(start.weights, logit_scale=scale, logit_bias=bias, seed=start.seed)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32.
        """
        return self.logit_scale * self.adapted(features) @ self.weights.T + self.logit_bias

    def adapted(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features that are compared with the class weights.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, D) float32, rows of length 1.
        """
        moved = F.relu(F.relu(features @ self.down.T) @ self.up.T)
        return F.normalize(RATIO * moved + (1 - RATIO) * features, dim=-1)

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the layers and the class weights."""
        return {
            "weights": self.weights,
            "logit_scale": torch.tensor([self.logit_scale]),
            "logit_bias": torch.tensor([self.logit_bias]),
            "adapter.down": self.down,
            "adapter.up": self.up,
            "adapter.ratio": torch.tensor([RATIO]),
        }

    @staticmethod
    def tensor_shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the two layers and the ratio."""
        hidden, width = len(tensors["adapter.down"]), tensors["weights"].shape[1]
        return {"adapter.down": (hidden, width), "adapter.up": (width, hidden), "adapter.ratio": (1,)}

    @staticmethod
    def logits(tensors: Tensors, features: Array) -> Array:
        """Return the logits (N, K) of features (N, D) that the layers have moved."""
        down, up, ratio = (tensors[f"adapter.{name}"] for name in ("down", "up", "ratio"))
        moved = ((features @ down.T).clip(0) @ up.T).clip(0)
        mixed = ratio * moved + (1 - ratio) * features
        # By hand, because F.normalize takes no NumPy array; 1e-12 is its least length.
        lengths = (mixed**2).sum(axis=1, keepdims=True) ** 0.5
        adapted: Array = mixed / lengths.clip(1e-12)
        return Head.logits(tensors, adapted)


def _uniform(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    bound = 1 / math.sqrt(columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
