"""CLIP-Adapter: a bottleneck of two layers on the image features, mixed with its input (Gao et al., 2021).

arXiv 2110.04544; bottleneck D/4, ratio 0.2 and both rectified layers as in the authors' code.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dbpt.heads.base import Head

REDUCTION = 4
RATIO = 0.2


class AdapterHead(Head):
    """logits = logit_scale * cosine(ratio * relu(relu(x @ down.T) @ up.T) + (1 - ratio) * x, weights) + logit_bias.

    x are the features, ``down`` (D/4, D) and ``up`` (D, D/4) the parameters, without biases, drawn from ``seed`` as
    torch's linear layers are: uniform within 1/sqrt(number of inputs). ``class_weights`` (C, D) are the zero-shot
    classifier's and stay. The paper's features are not of length 1, which makes no difference: layers without biases
    scale with their input, and the cosine removes the scale.
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
