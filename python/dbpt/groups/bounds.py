"""What one sample of each group weighs, given each group's share of all weight: a floor under sizes, and a cap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.errors import InputError

MIN_GROUP_COUNT = 5.0
MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class Bounds:
    """Limits to what a few rows can decide. With 0 and infinity there are none.

    ``min_group_count`` n₀: a group of fewer samples weighs as if it had so many, so that its share of all weight is
    N_g / n₀ of a larger group's. ``max_weight``, 1 or above: no sample weighs more, where 1 is the mean of all. So the
    effective sample size (Σ w)² / Σ w² is at least the number of samples divided by it.
    """

    min_group_count: float = MIN_GROUP_COUNT
    max_weight: float = MAX_WEIGHT

    def __post_init__(self) -> None:
        arguments.number("min_group_count", self.min_group_count)
        arguments.number("max_weight", self.max_weight)
        if not 0 <= self.min_group_count < np.inf:
            raise InputError(f"min_group_count is {self.min_group_count}; expected a finite number, 0 or above")
        if not self.max_weight >= 1:
            raise InputError(f"max_weight is {self.max_weight}; expected 1 (the mean weight of a sample) or above")

    def weights(
        self, log_shares: NDArray[np.float64], counts: NDArray[np.float64], total: float
    ) -> NDArray[np.float64]:
        """Return w (G,) ∝ exp(log_shares) / max(N_g, n₀), at most ``max_weight``, with Σ N_g·w_g = ``total``.

        The cap takes weight from groups above it and gives it to the others in proportion to theirs. An empty group
        weighs 0. ``total`` must be at most ``max_weight`` times Σ N_g.
        """
        weights, free = np.zeros(len(counts)), np.flatnonzero(counts > 0)
        log_weights = log_shares - np.log(np.maximum(counts, max(self.min_group_count, 1e-10)))
        while free.size:
            relative = np.exp(log_weights[free] - log_weights[free].max())
            found = relative * ((total - counts @ weights) / (counts[free] @ relative))
            above = found > self.max_weight
            if not above.any():
                weights[free] = found
                break
            weights[free[above]] = self.max_weight
            free = free[~above]
        return weights
