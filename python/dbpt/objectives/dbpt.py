"""Debiased prompt tuning: group weights that lean towards what the model still gets wrong (arXiv 2503.08368)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.group_weights import GroupWeights
from dbpt.objectives.base import TrainingGroups, TrainingOutputs
from dbpt.objectives.weighting import WeightingObjective

if TYPE_CHECKING:
    import torch


class Dbpt(WeightingObjective):
    """Weights that follow target_g proportional to (1 / N_g) * exp(eta * (1 - p_g)) by an EMA.

    p_g is the mean predicted probability of the true class over group g: with ``p_true="batches"`` of the batches since
    the weights last moved, each as it was predicted when its turn came; with ``"exact"`` of all training rows as the
    head predicts them at that moment. The weights move after each epoch, or with ``cadence="step"`` at each step,
    before they weigh its loss. With ``eta`` = 0 the run is byte-equal to `Balanced`; the extra factor never exceeds
    e^eta.
    """

    name = "dbpt"
    title = "dbpt"
    about = "group weights that lean towards what is still predicted badly"
    settings = ("eta", "ema_momentum", "p_true", "cadence")

    def __init__(
        self,
        training: TrainingGroups,
        *,
        eta: float,
        ema_momentum: float,
        p_true: str = "batches",
        cadence: str = "epoch",
        apply: str = "loss",
    ) -> None:
        super().__init__(training, GroupWeights(training.counts, eta, ema_momentum), apply=apply)
        self._exact, self._each_step = p_true == "exact", cadence == "step"

    def observe(
        self,
        per_sample_loss: torch.Tensor,
        groups: torch.Tensor,
        labels: torch.Tensor,
        outputs: Callable[[], TrainingOutputs],
    ) -> None:
        """Take in the probabilities exp(-loss) of the batch."""
        if not self._exact:
            self.observe_values((-per_sample_loss).exp(), groups, labels)
        if self._each_step:
            self._move(outputs)

    def end_epoch(self, outputs: Callable[[], TrainingOutputs]) -> bool:
        """Move the weights towards this epoch's target."""
        if not self._each_step:
            self._move(outputs)
        return False

    def _move(self, outputs: Callable[[], TrainingOutputs]) -> None:
        if self._exact:
            self.observe_training(outputs().p_true)
        self.rule.step()

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64 p_g as of the last move, NaN for an empty group."""
        assert isinstance(self.rule, GroupWeights)
        return self.rule.mean_p_true
