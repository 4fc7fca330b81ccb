"""The objectives that balance groups by weights or logits.

Group weights are a rule from `dbpt.groups`, applied in the loss or by sampling. Group logit adjustment puts the share
of each group in training inside the softmax over groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import MIN_GROUP_COUNT, GroupDRO, GroupWeighting, GroupWeights
from dbpt.objectives.base import Objective, TrainingGroups, group_cross_entropy

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler


class WeightingObjective(Objective):
    """loss = (1/B) * sum_i w_g(i) * l_i, with the group weights of a rule from `dbpt.groups`.

    The mean is over the batch and never divided by the sum of weights. A row of unknown group has the mean weight of
    its class, or 1 if no row of the class has a group.

    With ``apply="sampling"`` rows are drawn in proportion to their weights at the beginning of the epoch, N draws per
    epoch, and the loss is the plain mean. The sampler is `dbpt.sampling.GroupSampler`, with exact quotas.

    Args:
        training: the groups and labels of the training rows.
        rule: the group weights, such as `dbpt.GroupWeights`.
        drawn_by: another rule that determines the draws. A row's loss is then multiplied by the ratio of its two
            weights.
        apply: ``"loss"`` or ``"sampling"``.
    """

    uses_groups = True
    by_group = True
    note: str | None = None
    """A note for the user about raking, if there is any."""
    settings: ClassVar[tuple[str, ...]] = ("min_group_count", "max_weight")
    can_sample = True

    def __init__(
        self, training: TrainingGroups, rule: GroupWeighting, *, drawn_by: GroupWeighting | None = None, apply: str
    ) -> None:
        super().__init__(training, apply=apply)
        self.rule, self.drawn_by = rule, drawn_by or rule
        self.start_weights = rule.group_weights

    def _dbpt_rule(
        self, training: TrainingGroups, eta: float, momentum: float, bounds: dict[str, float]
    ) -> GroupWeights:
        base, self.note = training.raked(bounds.get("min_group_count", MIN_GROUP_COUNT))
        return GroupWeights(training.counts, eta, momentum, base=base, **bounds)

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the rule; if rows are drawn by weight, divided by the weights of the draws."""
        if self.apply == "loss":
            return self._weights(self.rule, groups, labels)
        if self.drawn_by is self.rule:
            return None
        return self._weights(self.rule, groups, labels) / self._weights(self.drawn_by, groups, labels)

    def _weights(self, rule: GroupWeighting, groups: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return rule.sample_weights(groups, labels, num_classes=self.training.num_classes)

    def sampler(self, seed: int) -> GroupSampler:
        """Return a sampler that draws in proportion to the weights."""
        from dbpt.sampling import GroupSampler

        groups, labels, size = self.training.groups, self.training.labels, self.training.num_groups
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
        # eta = 0, and never stepped.
        super().__init__(training, self._dbpt_rule(training, 0.0, 0.0, bounds), apply=apply)


class Dbpt(WeightingObjective):
    """Debiased prompt tuning (arXiv 2503.08368): larger weights for groups that the model still predicts badly.

    The weights of `dbpt.GroupWeights` change after each epoch, based on the predictions of each row in its batch.
    With ``eta`` = 0 the run is byte-equal to `Balanced`.
    """

    name = "dbpt"
    title = "dbpt"
    settings = (*WeightingObjective.settings, "eta", "ema_momentum")
    weights_wait = True
    rule: GroupWeights

    def __init__(
        self, training: TrainingGroups, *, eta: float, ema_momentum: float, apply: str = "loss", **bounds: float
    ) -> None:
        super().__init__(training, self._dbpt_rule(training, eta, ema_momentum, bounds), apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Observe the probabilities exp(-loss) of the batch."""
        self.rule.observe(groups, (-per_sample_loss).exp())

    def end_epoch(self) -> None:
        """Update the weights towards the target of this epoch."""
        self.rule.step()

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64 p_g at the last update; NaN for an empty group."""
        return self.rule.mean_p_true


class GroupDro(WeightingObjective):
    """Group DRO: loss = sum_g q_g * L_g with the mean loss L_g of each group, and q of `dbpt.GroupDRO`.

    With ``apply="loss"`` each row is drawn once, with weight w_g = q_g / N_g * sum N. With ``"sampling"`` groups are
    drawn uniformly, as by the authors and WILDS, with the weights of `Balanced`, and the weight of a row is q_g times
    the number of groups.
    """

    name = "groupdro"
    title = "Group DRO"
    settings = (*WeightingObjective.settings, "dro_step_size")

    def __init__(self, training: TrainingGroups, *, dro_step_size: float, apply: str = "loss", **bounds: float) -> None:
        # The bounds may keep a small group from its equal part of the draws, so the rule needs the real shares.
        drawn_by = GroupWeights(training.counts, 0.0, 0.0, **bounds) if apply == "sampling" else None
        shares: str | NDArray[np.float64] = "natural" if drawn_by is None else training.counts * drawn_by.group_weights
        rule = GroupDRO(training.counts, dro_step_size, shares=shares, **bounds)
        super().__init__(training, rule, drawn_by=drawn_by, apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Update q with the losses of the batch, before they are weighted."""
        self.rule.observe(groups, per_sample_loss)
        self.rule.step()


class Gla(Objective):
    """l_i = -log softmax(z_i + tau * log beta)_g(i), with the logits z_i of the groups and their shares beta.

    With ``tau`` = 1 the softmax of z fits equally frequent groups: logit adjustment (Menon et al., 2021, arXiv
    2007.07314) with groups for classes, which Project-Probe-Aggregate (arXiv 2503.09487) uses too. No row weighs more
    than another. The answer is the class with the largest sum of softmax(z) over its groups. A row of unknown group has
    the loss of its class, -log of the sum over its groups.

    A group of fewer than ``min_group_count`` rows counts as one of that size, and one without rows is left out. Rows of
    unknown group are taken to be distributed as the others of their class.
    """

    name = "gla"
    title = "GLA"
    uses_groups = True
    by_group = True
    prompts = ("group",)
    settings = ("tau", "min_group_count")

    def __init__(self, training: TrainingGroups, *, tau: float, min_group_count: float, apply: str = "loss") -> None:
        super().__init__(training, apply=apply)
        self.adjustment = tau * np.log(group_shares(training, min_group_count)) + training.offsets
        """(G,) float64, added to the logits."""

    def sample_losses(self, logits: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row."""
        adjusted = logits + logits.new_tensor(self.adjustment)
        return group_cross_entropy(adjusted, labels, groups, self.training.num_classes)


def group_shares(training: TrainingGroups, min_group_count: float) -> NDArray[np.float64]:
    """Return the share (G,) of each group in training; that of a group that is left out has no meaning.

    The rows of a class are divided among its groups as its rows of known group are, or else equally.
    """
    rows_C = np.bincount(training.labels, minlength=training.num_classes)
    counts_CA = training.counts.reshape(training.num_classes, -1)
    kept_CA = (training.offsets == 0).reshape(counts_CA.shape)
    parts_CA = np.where(counts_CA.any(axis=1, keepdims=True), counts_CA, kept_CA)
    rows_CA = rows_C[:, None] * parts_CA / np.maximum(parts_CA.sum(axis=1, keepdims=True), 1)
    floored_CA = np.maximum(rows_CA, max(min_group_count, 1.0))
    return np.asarray((floored_CA / floored_CA[kept_CA].sum()).reshape(-1))
