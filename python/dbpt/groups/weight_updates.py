"""The rules that move group weights: the EMA of dbpt, Group DRO, and raking to given margins."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.ids import group_codes, group_counts
from dbpt.groups.weights import MAX_WEIGHT, MIN_GROUP_COUNT, Bounds, GroupWeighting, not_negative

# Larger changes of log q are clipped, so that no difference of two is NaN.
_MOST = 1e300


class GroupWeights(GroupWeighting):
    """Group weights that are larger for badly predicted groups: the rule of Debiased Prompt Tuning (arXiv 2503.08368).

    Each step computes ``target_g ∝ exp(eta·(1 - p̄_g)) / max(N_g, n₀)`` for the groups observed since the last step.
    Targets are at most ``max_weight`` and keep the groups' total Σ N_g·w_g. Then
    ``w_g += (1 - momentum)·(target_g - w_g)``. The first weights are those of eta = 0; ``base`` replaces their
    ``1 / max(N_g, n₀)``. A group that was not observed keeps its weight; an empty group has weight 0. `GroupWeighting`
    explains arrays, exactness, ranks and states.

    Args:
        counts: (G,) N_g, the number of training samples of each group, 0 or above, not all 0.
        eta: strength of the reaction, 0 (none) or above.
        momentum: fraction of the old weights that a step keeps, from 0 to 1.
        min_group_count: n₀, 0 for none. A smaller group is weighted as if it had n₀ samples, so it gets N_g / n₀ of the
            total weight of a larger group.
        max_weight: the largest weight of a sample, 1 (the mean of all) or above. The excess goes to the other groups in
            proportion. The effective sample size (Σ w)² / Σ w² is at least Σ N / max_weight.
        base: (G,) weights of eta = 0 on any scale, above 0 for each group with members, such as `raked_weights`; by
            default 1 / max(N_g, n₀). They are not part of the state.

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
        base: ArrayLike | None = None,
    ) -> None:
        self._eta, self._momentum = not_negative("eta", eta), arguments.probability("momentum", momentum)
        self.bounds = Bounds(min_group_count, max_weight)
        super().__init__(counts, eta=self._eta, momentum=self._momentum, **asdict(self.bounds))
        self._log_shares = np.zeros(len(self.counts)) if base is None else self._log_shares_of(base)
        self._group_weights = self.bounds.weights(self._log_shares, self.counts, self.counts.sum())
        self._mean_p_true: NDArray[np.float64] = np.full(len(self.counts), np.nan)

    def _log_shares_of(self, base: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithms (G,) of the shares with which `Bounds.weights` gives the ``base`` weights."""
        weights = arguments.numbers("base", base, len(self.counts))
        filled = self.counts > 0
        valid = ~filled | ((weights > 0) & (weights < np.inf))
        arguments.check_each("base", weights, valid, "a finite number above 0 for a group with members")
        floored = np.maximum(self.counts, max(self.bounds.min_group_count, 1e-10))
        return np.asarray(np.log(np.where(filled, weights * floored, 1.0)))

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, the current weight of one sample of each group; Σ N_g·w_g = Σ N_g."""
        return np.array(self._group_weights)

    @property
    def mean_p_true(self) -> NDArray[np.float64]:
        """(G,) float64, p̄_g at the last step that observed the group; NaN before the first."""
        return np.array(self._mean_p_true)

    def observe(self, groups: ArrayLike, p_true: ArrayLike) -> None:
        """Accumulate the predicted probability of the true class by group.

        Args:
            groups: (B,) integers; group -1 doesn't count.
            p_true: (B,) floats from 0 to 1.

        Raises:
            InputError: for other shapes or values; nothing is accumulated then.
        """
        super().observe(groups, p_true)

    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Move the weights towards the target. `step` calls this.

        Args:
            means: (G,) mean p_true of each group, NaN for a group without observations.
            members: (G,) samples observed in each group.
        """
        seen = ~np.isnan(means)
        self._mean_p_true = np.where(seen, means, self._mean_p_true)
        if self._eta == 0 or not seen.any():  # exactly, without rounding
            return
        weights, counts = self.group_weights, self.counts[seen]
        log_shares = self._log_shares[seen] + self._eta * (1 - means[seen])
        # The observed groups keep their total, so that a group that was not observed can keep its weight.
        target = self.bounds.weights(log_shares, counts, counts @ weights[seen])
        weights[seen] += (1 - self._momentum) * (target - weights[seen])
        self._group_weights = weights

    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore the weights and the mean p_true. `load_state` calls this.

        Args:
            fields: ``group_weights`` and ``mean_p_true``, (G,) float64 each.
        """
        self._group_weights, self._mean_p_true = fields["group_weights"], fields["mean_p_true"]


class GroupDRO(GroupWeighting):
    """Group DRO (Sagawa et al., 2020, arXiv 1911.08731, algorithm 1): q and the sample weights that follow from it.

    Each step computes ``q_g ← q_g·exp(step_size·L̂_g)`` and divides q by its sum. The first q is uniform over the groups
    with members. L̂_g is the sum of the group's observed losses, divided by the expected number of its samples among
    those observed. It is an unbiased estimate of the group's mean loss, 0 if the group was not observed. With the mean
    over the batch instead, a rare group with the largest loss could get the smallest q. The paper and its code draw
    groups uniformly, which is ``shares="balanced"``. q is stored as logarithms, so a q that became 0 can grow again.

    q weights the *mean losses of groups*: ``loss = Σ q_g·mean loss_g``. `group_weights` gives the same loss as sample
    weights, ``w_g ∝ q_g / max(N_g, n₀)``, at most ``max_weight``, with Σ N_g·w_g = Σ N_g, for a mean over batches drawn
    from the training set as it is. The floor n₀ and the cap are ours; without them q_g = N_g·w_g / Σ N. If each group
    has the same part of each batch, multiply by ``q_g·G`` instead. `GroupWeighting` explains arrays, exactness, ranks
    and states.

    Args:
        counts, min_group_count, max_weight: as in `GroupWeights`.
        step_size: the step size of q, 0 (constant q) or above.
        shares: the expected fraction of each group among the observed samples: "natural" (N_g / Σ N, for batches of the
            training set as it is), "balanced" (equal shares of all groups with members) or (G,) numbers on any scale,
            above 0 for each group with members. They are not part of the state.

    Example:
        >>> dro = GroupDRO([90, 10], step_size=1.0)
        >>> dro.observe([0] * 9 + [1, -1], [0.5] * 9 + [1.5, 9.0])
        >>> dro.step()
        >>> dro.q.round(3).tolist()
        [0.269, 0.731]
        >>> dro.group_weights.round(3).tolist()
        [0.299, 7.311]
    """

    observes = "losses"
    fields = ("log_q", "mean_loss")

    def __init__(
        self,
        counts: ArrayLike,
        step_size: float = 0.01,
        *,
        shares: str | ArrayLike = "natural",
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
    ) -> None:
        self._step_size, self.bounds = not_negative("step_size", step_size), Bounds(min_group_count, max_weight)
        super().__init__(counts, step_size=self._step_size, **asdict(self.bounds))
        self._shares = _checked_shares(shares, self.counts)
        self._log_q: NDArray[np.float64] = np.where(self.counts > 0, 0.0, -np.inf)
        self._mean_loss: NDArray[np.float64] = np.full(len(self.counts), np.nan)

    @property
    def q(self) -> NDArray[np.float64]:
        """(G,) float64, the distribution over groups; 0 for an empty group."""
        relative = np.exp(self._log_q)
        return np.asarray(relative / relative.sum())

    @property
    def log_q(self) -> NDArray[np.float64]:
        """(G,) float64, log(q_g / max q); minus infinity for an empty group."""
        return np.array(self._log_q)

    @property
    def group_weights(self) -> NDArray[np.float64]:
        """(G,) float64, the current weight of one sample of each group; Σ N_g·w_g = Σ N_g, and 0 for an empty group."""
        return self.bounds.weights(self._log_q, self.counts, self.counts.sum())

    @property
    def mean_loss(self) -> NDArray[np.float64]:
        """(G,) float64, mean loss at the last step that observed the group; NaN before the first."""
        return np.array(self._mean_loss)

    def observe(self, groups: ArrayLike, losses: ArrayLike) -> None:
        """Accumulate losses by group.

        Args:
            groups: (B,) integers; group -1 doesn't count.
            losses: (B,) floats, each within ±1e9.

        Raises:
            InputError: for other shapes or values; nothing is accumulated then.
        """
        super().observe(groups, losses)

    def move(self, means: NDArray[np.float64], members: NDArray[np.float64]) -> None:
        """Move q. `step` calls this.

        Args:
            means: (G,) mean loss of each group, NaN for a group without observations.
            members: (G,) samples observed in each group.
        """
        filled, seen = self.counts > 0, ~np.isnan(means)
        if not seen.any():
            return
        expected = members[filled].sum() * self._shares[filled]
        # A huge step size can overflow; the result is clipped just below.
        with np.errstate(over="ignore"):
            change = self._step_size * (np.where(seen, means, 0.0)[filled] * (members[filled] / expected))
        log_q = self.log_q
        log_q[filled] += np.clip(change, -_MOST, _MOST)
        # Only ratios of q count. With the largest logarithm at 0, exp never overflows.
        self._log_q, self._mean_loss = log_q - log_q.max(), np.where(seen, means, self._mean_loss)

    def load_fields(self, fields: dict[str, NDArray[np.float64]]) -> None:
        """Restore q and the mean losses. `load_state` calls this.

        Args:
            fields: ``log_q`` and ``mean_loss``, (G,) float64 each.
        """
        self._log_q, self._mean_loss = fields["log_q"], fields["mean_loss"]


def sample_weights(
    groups: Iterable[Any], *, min_group_count: float = MIN_GROUP_COUNT, max_weight: float = MAX_WEIGHT
) -> NDArray[np.float64]:
    """Return weights with which each group has the same sum, for any estimator that takes ``sample_weight``.

    They are the first weights of `GroupWeights`, those of the objective ``balanced``, with its bounds.

    Args:
        groups: (N,) the group of each row, any hashable values, such as pairs of class and attribute; or (N, K), such
            as columns of a data frame, whose rows are the values. A group is unknown if it or a part of it is None,
            NaN, pandas' NA or -1.
        min_group_count, max_weight: as in `GroupWeights`.

    Returns:
        (N,) float64 with mean 1; 1 where the group is unknown.

    Raises:
        InputError: for groups that can't be hashed, without any known group, and for 20 or more that all differ.

    Example:
        >>> sample_weights(["land"] * 15 + ["water"] * 5)[[0, -1]].round(3).tolist()
        [0.667, 2.0]
    """
    codes = group_codes(groups)
    counts = group_counts(codes, int(codes.max()) + 1)
    rule = GroupWeights(counts, 0.0, 0.0, min_group_count=min_group_count, max_weight=max_weight)
    return rule.sample_weights(codes)


def _checked_shares(shares: str | ArrayLike, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares (G,) with sum 1, 0 for an empty group."""
    filled = counts > 0
    if isinstance(shares, str):
        if shares not in ("natural", "balanced"):
            raise InputError(f"shares is {shares!r}; expected 'natural', 'balanced' or an array (G,)")
        shares_G = counts if shares == "natural" else filled.astype(np.float64)
    else:
        shares_G = arguments.numbers("shares", shares, len(counts))
        valid_G = ~filled | ((shares_G > 0) & (shares_G < np.inf))
        arguments.check_each("shares", shares_G, valid_G, "a finite number above 0")
    shares_G = np.where(filled, shares_G, 0.0)
    return np.asarray(shares_G / shares_G.sum())


MOST_STEPS = 10_000
EXACT_TO = 1e-9


def raked_weights(
    counts: ArrayLike, sizes: Sequence[int], *, min_group_count: float = MIN_GROUP_COUNT
) -> NDArray[np.float64]:
    """Return the weight of one sample of each group, which makes up for the small shares of small combinations.

    Weights in proportion to 1 / max(N_g, n₀) give a combination below n₀ = ``min_group_count`` samples less than a full
    share, so its values get less in total. These start there and multiply the weights within a class by a factor for
    each value (iterative proportional fitting, Deming and Stephan, 1940), until each value has the total that it would
    have if all its combinations with samples had a full share. A value with N < n₀ samples in the class gets N / n₀ of
    that. The weights of a class without a small combination stay in proportion to 1 / N_g.

    Args:
        counts: (G,) N_g, 0 or above, in the order g = y·A + a, where a numbers the combinations of the factors' values
            with the first factor most significant; G = C·A.
        sizes: the number of values of each factor, whose product is A.
        min_group_count: n₀, 0 or above; 0 for none.

    Returns:
        (G,) float64 with Σ N_g·w_g = Σ N_g, and 0 for an empty group.

    Raises:
        InputError: for other values, and for a number of groups that isn't a multiple of A.

    Example, two attributes in one class, with two images that have both rare values:
        >>> raked_weights([72, 18, 8, 2], [2, 2]).round(3).tolist()
        [0.269, 1.702, 3.829, 9.686]
    """
    counts_G = arguments.numbers("counts", counts)
    arguments.check_each("counts", counts_G, np.isfinite(counts_G) & (counts_G >= 0), "a finite number, 0 or above")
    least = not_negative("min_group_count", min_group_count)
    sizes = arguments.integers("sizes", sizes).tolist()
    if not sizes or min(sizes) < 1 or not len(counts_G) or len(counts_G) % math.prod(sizes):
        raise InputError(f"sizes are {sizes}; expected numbers of values whose product divides {len(counts_G)}")
    if not counts_G.any():
        raise InputError("the sum of counts is 0; expected at least one group with members")
    cells = counts_G.reshape(-1, *sizes)
    mass_G = _raked(_floored(cells, least), _full_shares(cells, least)).reshape(-1)
    weights_G = np.divide(mass_G, counts_G, out=np.zeros(len(counts_G)), where=counts_G > 0)
    return np.asarray(weights_G * (counts_G.sum() / (counts_G @ weights_G)))


def _floored(counts: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return each count's part of a full share."""
    return np.asarray(np.minimum(counts / max(least, 1e-10), 1.0))


def _full_shares(cells: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return a full share for each combination with samples, less if one of its values is below ``least``.

    Raking scales weights to the margins of these shares. Since a table with these margins and the same zeros exists,
    namely this one, it always converges.
    """
    shares = np.minimum(cells, 1.0)
    for axis in range(1, cells.ndim):
        shares = np.minimum(shares, _floored(_margin(cells, axis), least))
    return shares


def _margin(cells: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the sums over the other factors than that of ``axis``, with their axes kept at length 1."""
    others = tuple(other for other in range(1, cells.ndim) if other != axis)
    return np.asarray(cells.sum(axis=others, keepdims=True))


def _raked(mass: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``mass`` (C, A_1, ..., A_k), times a number for each class and value, with the margins of ``shares``."""
    for _ in range(MOST_STEPS):
        before = mass
        for axis in range(1, mass.ndim):
            margin = _margin(mass, axis)
            ratio = np.divide(_margin(shares, axis), margin, out=np.ones_like(margin), where=margin > 0)
            mass = mass * ratio
        if np.abs(mass - before).max() <= EXACT_TO:
            break
    return mass
