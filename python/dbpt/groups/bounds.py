"""`Bounds`: how much a few samples may weigh."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.errors import InputError

MIN_GROUP_COUNT = 5.0
MAX_WEIGHT = 100.0


@dataclass(frozen=True)
class Bounds:
    """Limits on the influence of a few samples; see `GroupWeights`. Zero and infinity remove them."""

    min_group_count: float = MIN_GROUP_COUNT
    max_weight: float = MAX_WEIGHT

    def __post_init__(self) -> None:
        not_negative("min_group_count", self.min_group_count)
        if not arguments.number("max_weight", self.max_weight) >= 1:
            raise InputError(f"max_weight is {self.max_weight}; expected 1 (the mean weight of a sample) or above")

    def weights(
        self, log_shares: NDArray[np.float64], counts: NDArray[np.float64], total: float
    ) -> NDArray[np.float64]:
        """Return w (G,) ∝ exp(log_shares) / max(N_g, n₀), at most ``max_weight``, with Σ N_g·w_g = ``total``.

        Weight above the cap goes to the other groups, in proportion to theirs. The weight of an empty group is 0.
        ``total`` must be at most ``max_weight`` times Σ N_g.
        """
        weights, free = np.zeros(len(counts)), np.flatnonzero(counts > 0)
        # In logarithms, because exp of a large eta overflows.
        log_weights = log_shares - np.log(np.maximum(counts, max(self.min_group_count, 1e-10)))
        while free.size:
            relative = np.exp(log_weights[free] - log_weights[free].max())
            uncapped = relative * ((total - counts @ weights) / (counts[free] @ relative))
            above = uncapped > self.max_weight
            if not above.any():
                weights[free] = uncapped
                break
            # Capping raises the weights of the others, so more of them may be above the cap in the next round.
            weights[free[above]] = self.max_weight
            free = free[~above]
        return weights


def not_negative(name: str, value: float) -> float:
    """Return a finite number that is 0 or above."""
    number = arguments.number(name, value)
    if not 0 <= number < np.inf:
        raise InputError(f"{name} is {value}; expected a finite number, 0 or above")
    return number
