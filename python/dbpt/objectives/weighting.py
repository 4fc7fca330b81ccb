"""The objectives with group weights: a rule from `dbpt.groups`, applied in the loss or by sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import GroupDRO, GroupWeighting, GroupWeights
from dbpt.objectives.base import Objective, TrainingGroups

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler, WeightedSampler


class WeightingObjective(Objective):
    """loss = (1/B) * sum_i w_g(i) * l_i, with the group weights of a rule from `dbpt.groups`.

    The mean is over the batch and never divided by the sum of weights. A row of unknown group weighs the mean weight of
    its class's rows; 1 if none of them has a group. Under soft membership a row weighs the mean of its groups' weights.

    With ``apply="sampling"`` a row is drawn in proportion to its weight at the beginning of the epoch, N draws an
    epoch, and the loss is the plain mean: `dbpt.sampling.GroupSampler`, with exact quotas, or under soft membership
    `WeightedSampler`. If another rule, ``drawn_by``, decides the draws, a row's loss is multiplied by its weight over
    the weight that it is drawn by.
    """

    uses_groups = True
    settings: ClassVar[tuple[str, ...]] = ("min_group_count", "max_weight")
    takes_soft_groups = True
    can_sample = True

    def __init__(
        self, training: TrainingGroups, rule: GroupWeighting, *, drawn_by: GroupWeighting | None = None, apply: str
    ) -> None:
        super().__init__(training, apply=apply)
        self.rule, self.drawn_by = rule, drawn_by or rule
        self.start_weights = rule.group_weights

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the rule, where rows are drawn by weight over those that they are drawn by."""
        if self.apply == "loss":
            return self._weights(self.rule, groups, labels)
        if self.drawn_by is self.rule:
            return None
        return self._weights(self.rule, groups, labels) / self._weights(self.drawn_by, groups, labels)

    def _weights(self, rule: GroupWeighting, groups: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.training.posterior is not None:
            return rule.soft_sample_weights(groups, labels)
        return rule.sample_weights(groups, labels, num_classes=self.training.num_classes)

    def _observe_values(self, values: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        if self.training.posterior is not None:
            self.rule.observe_soft(groups, labels, values)
        else:
            self.rule.observe(groups, values)

    def sampler(self, seed: int) -> GroupSampler | WeightedSampler:
        """Return what draws in proportion to the weights."""
        from dbpt.sampling import GroupSampler, WeightedSampler

        groups, labels, size = self.training.groups, self.training.labels, self.training.num_groups
        if self.training.posterior is not None:
            weights = self.drawn_by.soft_sample_weights(self.training.posterior, labels)
            return WeightedSampler(weights, len(labels), seed=seed)
        weights = self.drawn_by.group_weights
        return GroupSampler(groups, group_weights=weights, seed=seed, num_groups=size, unknown="class", labels=labels)

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64 w_g."""
        return self.rule.group_weights

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state of the rule."""
        return self.rule.state()

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore the state that `state` returned."""
        self.rule.load_state(state)


class Balanced(WeightingObjective):
    """Every group has the same total weight for the whole run: w_g proportional to 1 / N_g, within the bounds."""

    name = "balanced"
    title = "balanced"

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **bounds: float) -> None:
        # Without the factor exp(eta * (1 - p)), and never stepped.
        super().__init__(training, GroupWeights(training.counts, 0.0, 0.0, **bounds), apply=apply)


class Dbpt(WeightingObjective):
    """Debiased prompt tuning (arXiv 2503.08368): larger weights for groups that the model still predicts badly.

    The weights, of `dbpt.GroupWeights`, move after each epoch, by what its rows were predicted when their batch came.
    With ``eta`` = 0 the run is byte-equal to `Balanced`.
    """

    name = "dbpt"
    title = "dbpt"
    settings = (*WeightingObjective.settings, "eta", "ema_momentum")
    rule: GroupWeights

    def __init__(
        self, training: TrainingGroups, *, eta: float, ema_momentum: float, apply: str = "loss", **bounds: float
    ) -> None:
        super().__init__(training, GroupWeights(training.counts, eta, ema_momentum, **bounds), apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Observe the probabilities exp(-loss) of the batch."""
        self._observe_values((-per_sample_loss).exp(), groups, labels)

    def end_epoch(self, correct: Callable[[], torch.Tensor]) -> bool:
        """Move the weights towards this epoch's target."""
        self.rule.step()
        return False

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64 p_g as of the last move, NaN for an empty group."""
        return self.rule.mean_p_true


class GroupDro(WeightingObjective):
    """Group DRO: loss = sum_g q_g * L_g with the mean loss L_g of each group, and q of `dbpt.GroupDRO`.

    With ``apply="loss"`` rows are drawn as they are, and each weighs w_g = q_g / N_g * sum N. With ``"sampling"``
    groups are drawn uniformly, as the authors and WILDS do, by the weights of `Balanced`, and a row weighs q_g times
    the number of groups.
    """

    name = "groupdro"
    title = "Group DRO"
    settings = (*WeightingObjective.settings, "dro_step_size")

    def __init__(self, training: TrainingGroups, *, dro_step_size: float, apply: str = "loss", **bounds: float) -> None:
        drawn_by = GroupWeights(training.counts, 0.0, 0.0, **bounds) if apply == "sampling" else None
        shares: str | NDArray[np.float64] = "natural" if drawn_by is None else _drawn_shares(training, drawn_by)
        rule = GroupDRO(training.counts, dro_step_size, shares=shares, **bounds)
        super().__init__(training, rule, drawn_by=drawn_by, apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Move q by the batch's losses, before it weighs them."""
        self._observe_values(per_sample_loss, groups, labels)
        self.rule.step()


def _drawn_shares(training: TrainingGroups, drawn_by: GroupWeighting) -> NDArray[np.float64]:
    """Return (G,) each group's share of the draws, on any scale, where rows are drawn by ``drawn_by``."""
    if training.posterior is None:
        return training.counts * drawn_by.group_weights
    weights_N = drawn_by.soft_sample_weights(training.posterior, training.labels)
    mass_NA = weights_N[:, None] * np.nan_to_num(training.posterior.astype(np.float64))
    return np.concatenate([mass_NA[training.labels == label].sum(axis=0) for label in range(training.num_classes)])
