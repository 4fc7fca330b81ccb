"""What the objectives with group weights share: the weights in the loss, or as shares of the draws; their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import GroupWeighting, group_counts
from dbpt.objectives.base import Draws, Objective, TrainingGroups

if TYPE_CHECKING:
    import torch

DRAWS_A_PART = 1 << 16


class WeightingObjective(Objective):
    """loss = (1/B) * sum_i w_g(i) * l_i, with the group weights of a rule from `dbpt.groups`.

    The mean is over the batch and never divided by the sum of weights. A row of unknown group weighs the mean weight of
    its class's rows; 1 if none of them has a group. Under soft membership a row weighs the mean of its groups' weights.

    With ``apply="sampling"`` a row is drawn in proportion to what it would weigh, N draws an epoch, and the loss is the
    plain mean: `dbpt.sampling.GroupSampler`, with exact quotas, or under soft membership `WeightedSampler`, drawing
    independently. The weights are those at the beginning of the epoch. Where draws go by another rule, ``drawn_by``, a
    row's loss is multiplied by its weight over the weight that it is drawn by.

    ``min_group_count`` and ``max_weight`` bound what a few rows can decide: see `dbpt.groups.bounds`.
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

    def loss(
        self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Mean over the batch of weight times loss."""
        if self.apply == "loss":
            return (self._weights(self.rule, groups, labels) * per_sample_loss).mean()
        if self.drawn_by is self.rule:
            return per_sample_loss.mean()
        weights = self._weights(self.rule, groups, labels) / self._weights(self.drawn_by, groups, labels)
        return (weights * per_sample_loss).mean()

    def _weights(self, rule: GroupWeighting, groups: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B,) what rows weigh by ``rule``."""
        if self.training.posterior is not None:
            return rule.soft_sample_weights(groups, labels)
        return rule.sample_weights(groups, labels, num_classes=self.training.num_classes)

    def observe_values(self, values: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Let the rule observe ``values`` (B,) of rows, by their groups (B,) or posterior (B, A)."""
        if self.training.posterior is not None:
            self.rule.observe_soft(groups, labels, values)
        else:
            self.rule.observe(groups, values)

    def draws(self, seed: int, epoch: int) -> Draws:
        """Each row once, or in proportion to the weights."""
        if self.apply == "loss":
            return super().draws(seed, epoch)
        from dbpt.sampling import GroupSampler, WeightedSampler

        training, num_rows = self.training, len(self.training.labels)
        sampler: GroupSampler | WeightedSampler
        if training.posterior is not None:
            weights = self.drawn_by.soft_sample_weights(training.posterior, training.labels)
            sampler = WeightedSampler(weights, num_rows, seed=seed)
        else:
            sampler = GroupSampler(
                training.groups,
                group_weights=self.drawn_by.group_weights,
                seed=seed,
                num_groups=training.num_groups,
                unknown="class",
                labels=training.labels,
            )
        sampler.set_epoch(epoch)
        return sampler

    def group_draws(self, draws: Draws) -> NDArray[np.int64] | None:
        """(G,) int64, how often each group was drawn; under soft membership by the rows' likeliest groups."""
        if self.apply == "loss":
            return None
        groups, num_groups = self.training.groups, self.training.num_groups
        parts = range(0, len(draws), DRAWS_A_PART)
        rows = (draws.indices(begin, min(begin + DRAWS_A_PART, len(draws))) for begin in parts)
        counts: NDArray[np.int64] = sum(
            (group_counts(groups[part], num_groups) for part in rows), np.zeros(num_groups, np.int64)
        )
        return counts

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64 w_g."""
        return self.rule.group_weights

    def state(self) -> dict[str, NDArray[Any]]:
        """The group weights and what was observed."""
        return self.rule.state()

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore what `state` returned."""
        self.rule.load_state(state)


def drawn_shares(training: TrainingGroups, drawn_by: GroupWeighting) -> NDArray[np.float64]:
    """(G,) what part of the draws each group is, on any scale, where rows are drawn by the weights of ``drawn_by``."""
    if training.posterior is None:
        return training.counts * drawn_by.group_weights
    weights_N = drawn_by.soft_sample_weights(training.posterior, training.labels)
    mass_NA = weights_N[:, None] * np.nan_to_num(training.posterior.astype(np.float64))
    return np.concatenate([mass_NA[training.labels == label].sum(axis=0) for label in range(training.num_classes)])
