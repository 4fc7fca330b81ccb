"""The rule of Debiased Prompt Tuning: weights that lean towards the groups that are predicted badly."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.bounds import MAX_WEIGHT, MIN_GROUP_COUNT, Bounds
from dbpt.groups.rule import GroupWeighting, check_field


class GroupWeights(GroupWeighting):
    """What one sample of each group weighs, adjusted to how well the group is predicted (arXiv 2503.08368).

    ``target_g ∝ exp(eta·(1 - p̄_g)) / max(N_g, n₀)`` over the groups observed since the last step, at most
    ``max_weight``, with the total Σ N_g·w_g they had; ``w_g += (1 - momentum)·(target_g - w_g)``. Starts at eta = 0; a
    group that was not observed keeps its weight; an empty group weighs 0. Each probability is rounded to a multiple of
    2⁻³⁰ and the sums are exact, so the weights are the same bits for any order of the samples, number of batches or
    ranks, and device.

    Arrays may be lists, NumPy arrays of any numeric type, or torch tensors on any device; see `GroupWeighting`.

    Args:
        counts: (G,) N_g, how many training samples each group has, 0 or above, not all 0; with fractions under soft
            membership (`soft_counts`).
        eta: how strongly the weights react, 0 (never) or above.
        momentum: how much of the old weights a step keeps, from 0 to 1.
        min_group_count: n₀, 0 for none: a sample of a smaller group weighs as if the group had so many. The group's
            share of all weight is then N_g / n₀ of a larger group's.
        max_weight: the largest weight of a sample, 1 (the mean of all) or above. The other groups get what the cap
            takes, in proportion. The effective sample size (Σ w)² / Σ w² is at least Σ N / max_weight.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> weights = GroupWeights([90, 10], eta=1.0, momentum=0.0)
        >>> weights.observe([0, 0, 1, -1], [1.0, 0.5, 0.25, 0.5])
        >>> weights.step()
        >>> weights.mean_p_true.tolist()
        [0.75, 0.25]
        >>> weights.group_weights.round(3).tolist()
        [0.419, 6.225]
    """

    observes = "p_true"
    fields = ("group_weights", "mean_p_true")

    def __init__(
        self,
        counts: ArrayLike,
        eta: float,
        momentum: float,
        *,
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
    ) -> None:
        eta, momentum = arguments.number("eta", eta), arguments.probability("momentum", momentum)
        if not 0 <= eta < np.inf:
            raise InputError(f"eta is {eta}; expected a finite number, 0 or above")
        self._eta, self._momentum, self._bounds = eta, momentum, Bounds(min_group_count, max_weight)
        super().__init__(counts, eta=eta, momentum=momentum, **asdict(self._bounds))
        self._group_weights = self._bounds.weights(np.zeros(len(self.counts)), self.counts, self.counts.sum())
        self._mean_p_true: NDArray[np.float64] = np.full(len(self.counts), np.nan)

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, the current weights; Σ N_g·w_g = Σ N_g."""
        return np.array(self._group_weights)

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64, p̄_g at the last step that observed the group, NaN where there was none."""
        return np.array(self._mean_p_true)

    def observe(self, groups: ArrayLike, p_true: ArrayLike) -> None:
        """Accumulate (B,) groups and the predicted probabilities of the true class; group -1 doesn't count."""
        super().observe(groups, p_true)

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, p_true: ArrayLike) -> None:
        """Accumulate ``p_true`` (B,) into each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        super().observe_soft(posterior, labels, p_true)

    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Move the weights by the means (G,) of what was observed, NaN for a group that was not. `step` calls this."""
        seen = ~np.isnan(means) & (self.counts > 0)
        self._mean_p_true = np.where(seen, means, self._mean_p_true)
        if self._eta == 0 or not seen.any():  # without a rounding error
            return
        weights, counts = self.group_weights, self.counts[seen]
        target = self._bounds.weights(self._eta * (1 - means[seen]), counts, counts @ weights[seen])
        weights[seen] += (1 - self._momentum) * (target - weights[seen])
        self._group_weights = weights

    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the rule from its ``fields``. `load_state` calls this."""
        weights, means = fields["group_weights"], fields["mean_p_true"]
        check_field("group_weights", weights, np.isfinite(weights) & (weights >= 0), "a finite number, 0 or above")
        valid = np.isnan(means) | ((means >= 0) & (means <= 1))
        check_field("mean_p_true", means, valid, "NaN or a number from 0 to 1")
        self._group_weights, self._mean_p_true = weights, means
