"""Class-balanced ERM: every class has the same total weight (RWY of Idrissi et al., 2022, arXiv 2110.14503)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import GroupWeights
from dbpt.objectives.base import Objective, TrainingGroups

if TYPE_CHECKING:
    import torch

    from dbpt.sampling import GroupSampler


class ClassBalanced(Objective):
    """loss = (1/B) * sum_i w_y(i) * l_i, with w_y proportional to 1 / N_y, within the bounds of the group weights.

    It is `Balanced` with classes in place of groups, so it uses no attribute. With ``apply="sampling"`` rows are drawn
    in proportion to their weights, as by the authors.
    """

    name = "class-balanced"
    title = "class-balanced"
    settings = ("min_group_count", "max_weight")
    can_sample = True

    def __init__(self, training: TrainingGroups, *, apply: str = "loss", **bounds: float) -> None:
        super().__init__(training, apply=apply)
        self._bounds = bounds
        self._balance(training.labels, training.num_classes)

    def _balance(self, parts_N: NDArray[np.int64], number: int) -> None:
        """Give each of ``number`` parts of the training rows the same total weight; row i is in part ``parts_N[i]``."""
        counts = np.bincount(parts_N, minlength=number)
        self._parts, self._rule = parts_N, GroupWeights(counts, 0.0, 0.0, **self._bounds)  # eta = 0, and never stepped

    def row_weights(self, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
        """Return the weights of the parts that the rows are in."""
        if self.apply == "sampling":
            return None
        return self._rule.sample_weights(rows.new_tensor(self._parts[rows.cpu().numpy()]))

    def sampler(self, seed: int) -> GroupSampler:
        """Return a sampler that draws in proportion to the weights."""
        from dbpt.sampling import GroupSampler

        weights = self._rule.group_weights
        return GroupSampler(self._parts, group_weights=weights, seed=seed, num_groups=len(weights))
