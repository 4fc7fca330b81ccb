"""Every group weighs the same, for the whole run: w_g proportional to 1 / N_g."""

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.group_weights import GroupWeights
from dbpt.objectives.base import Objective, TrainingGroups


class Balanced(Objective):
    """loss = (1/B) * sum_i w_g(i) * l_i with w_g = (sum N / #groups) / N_g, normalised to sum_g N_g w_g = sum_g N_g.

    The mean is over the batch and never divided by the sum of weights. A row of unknown group weighs the mean weight of
    its class's rows; 1 if none of them has a group.
    """

    name = "balanced"
    uses_groups = True

    def __init__(self, training: TrainingGroups, *, eta: float, ema_momentum: float, device: str) -> None:
        self.training = training
        self._weights = GroupWeights(training.counts, self._eta(eta), ema_momentum)

    @staticmethod
    def _eta(eta: float) -> float:
        """Without the factor exp(eta * (1 - p)) the group weights are those of a balanced run."""
        return 0.0

    def loss(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean over the batch of weight times loss."""
        weights = self._weights.sample_weights(groups, labels, num_classes=self.training.num_classes)
        return (weights * per_sample_loss).mean()

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64 w_g."""
        return self._weights.group_weights
