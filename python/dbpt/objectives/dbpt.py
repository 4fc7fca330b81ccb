"""Debiased prompt tuning: group weights that lean towards what the model still gets wrong (arXiv 2503.08368)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import MAX_WEIGHT, MIN_GROUP_COUNT, GroupWeights
from dbpt.objectives.base import TrainingGroups
from dbpt.objectives.weighting import WeightingObjective

if TYPE_CHECKING:
    import torch


class Dbpt(WeightingObjective):
    """Weights that follow target_g proportional to exp(eta * (1 - p_g)) / max(N_g, min_group_count) by an EMA.

    p_g is the mean predicted probability of the true class over the epoch's rows of group g, each as it was predicted
    when its turn came. The weights move after each epoch. With ``eta`` = 0 the run is byte-equal to `Balanced`; the
    extra factor never exceeds e^eta.
    """

    name = "dbpt"
    title = "dbpt"
    about = "group weights that lean towards what is still predicted badly"
    settings = (*WeightingObjective.settings, "eta", "ema_momentum")

    def __init__(
        self,
        training: TrainingGroups,
        *,
        eta: float,
        ema_momentum: float,
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
        apply: str = "loss",
    ) -> None:
        rule = GroupWeights(training.counts, eta, ema_momentum, min_group_count=min_group_count, max_weight=max_weight)
        super().__init__(training, rule, apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Take in the probabilities exp(-loss) of the batch."""
        self.observe_values((-per_sample_loss).exp(), groups, labels)

    def end_epoch(self, correct: Callable[[], torch.Tensor]) -> bool:
        """Move the weights towards this epoch's target."""
        self.rule.step()
        return False

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64 p_g as of the last move, NaN for an empty group."""
        assert isinstance(self.rule, GroupWeights)
        return self.rule.mean_p_true
