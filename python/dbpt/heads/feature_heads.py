"""The interface of a head, and the heads that are layers on the features: the linear probe and CLIP-Adapter."""

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

REDUCTION = 4
RATIO = 0.2


class Head(nn.Module):
    """Maps features (N, D), L2-normalised, to logits (N, C). Its parameters are trained.

    ``multiply_adds`` is the rough cost of a forward pass of a batch, for `training.loop`.
    """

    multiply_adds: int

    def frozen(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the head as it is now, for passes without gradient; what needs no features may be computed once."""
        return self

    @abstractmethod
    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the trained classifier as `FeatureClassifier` takes it: ``weights`` (C, D) and so on."""


class LinearHead(Head):
    """logits = features @ weights.T + bias, with ``weights`` (C, D) and ``bias`` (C,), float32, trained.

    It starts as the zero-shot classifier: from ``class_weights`` (C, D), of length 1, times ``logit_scale``.
    """

    def __init__(self, class_weights: torch.Tensor, *, logit_scale: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(logit_scale * class_weights.detach().float())
        self.bias = nn.Parameter(torch.zeros(len(class_weights), device=class_weights.device))
        self.multiply_adds = 128 * class_weights.numel()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C)."""
        return features @ self.weights.T + self.bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the layer; its scale is in the weights."""
        return {"weights": self.weights, "logit_scale": torch.ones(1), "logit_bias": self.bias}


class AdapterHead(Head):
    """logits = logit_scale * cosine(ratio * relu(relu(x @ down.T) @ up.T) + (1 - ratio) * x, weights) + logit_bias.

    CLIP-Adapter (Gao et al., 2021, arXiv 2110.04544), with bottleneck D/4, ratio 0.2 and both rectified layers as in
    the authors' code. ``down`` (D/4, D) and ``up`` (D, D/4) are the parameters, drawn from ``seed`` as torch's linear
    layers are; ``class_weights`` (C, D) are the zero-shot classifier's and stay. The paper's features x are not of
    length 1, which makes no difference: layers without biases scale with their input, and the cosine removes the scale.
    """

    def __init__(self, class_weights: torch.Tensor, *, logit_scale: float, logit_bias: float, seed: int) -> None:
        super().__init__()
        num_classes, width = class_weights.shape
        hidden = max(1, width // REDUCTION)
        generator = torch.Generator().manual_seed(seed)
        self.down = nn.Parameter(_uniform(hidden, width, generator).to(class_weights.device))
        self.up = nn.Parameter(_uniform(width, hidden, generator).to(class_weights.device))
        self.register_buffer("class_weights", class_weights.detach().float().clone())
        self.class_weights: torch.Tensor
        self.logit_scale, self.logit_bias = logit_scale, logit_bias
        self.multiply_adds = 128 * width * (2 * hidden + num_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C)."""
        moved = F.relu(F.relu(features @ self.down.T) @ self.up.T)
        mixed = F.normalize(RATIO * moved + (1 - RATIO) * features, dim=-1)
        return self.logit_scale * mixed @ self.class_weights.T + self.logit_bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the layers and the class weights."""
        return {
            "weights": self.class_weights,
            "logit_scale": torch.tensor([self.logit_scale]),
            "logit_bias": torch.tensor([self.logit_bias]),
            "adapter.down": self.down,
            "adapter.up": self.up,
            "adapter.ratio": torch.tensor([RATIO]),
        }


def _uniform(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    bound = 1 / math.sqrt(columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
