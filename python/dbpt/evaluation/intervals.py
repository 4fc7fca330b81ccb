"""Exact intervals of accuracies, of the worst group, of the gap, and of differences between groups."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.storage.typed_json import Count, Share

TAIL = (1 - 0.95) / 2
"""Probability that a 95 % interval misses on either side."""


def exact_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a single proportion (Clopper and Pearson, 1934).

    Args:
        correct: the number of successes, 0 to ``n``.
        n: the number of trials, 1 or above.
        confidence: the probability, at least, that the interval contains the true proportion; between 0 and 1.

    Returns:
        The lower and the upper bound, fractions.

    Raises:
        InputError: for any other values.

    >>> low, high = exact_interval(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4439, 0.9748)
    """
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"exact_interval: {correct} of {n} is not a proportion; expected 0 <= correct <= n, n >= 1")
    if not 0 < confidence < 1:
        raise InputError(f"exact_interval: confidence is {confidence}; expected a fraction, such as 0.95")
    return _bounds(correct, n, (1 - confidence) / 2)


def _bounds(correct: int, n: int, tail: float) -> tuple[float, float]:
    return 1 - _upper_bound(n - correct, n, tail), _upper_bound(correct, n, tail)


def worst_group_interval(correct: ArrayLike, counts: ArrayLike) -> tuple[float, float] | None:
    """Return a 95 % confidence interval of worst-group accuracy.

    The interval is [min L_g, min U_g] of exact bounds (Clopper and Pearson, 1934): L_g misses with a probability of at
    most 0.025, U_g with 0.025 / G. min L_g is too high only if the bound of the truly worst group is too high, and min
    U_g is too low only if some U_g is below the accuracy of its own group. So the interval covers the truth in at least
    95 of 100 samples. A bootstrap of the minimum would repeat the downward bias of the minimum.

    Args:
        correct: (G,) integers, the correctly classified rows of each group.
        counts: (G,) integers, all rows of each group. Groups without rows are left out.

    Returns:
        The lower and the upper bound, fractions; None if no group has a row.

    Raises:
        InputError: unless 0 <= correct <= counts.

    >>> low, high = worst_group_interval([90, 40], [100, 50])
    >>> round(low, 3), round(high, 3)
    (0.663, 0.91)
    """
    groups = [(k, n) for k, n in _correct_and_counts(correct, counts) if n]
    if not groups:
        return None
    low = min(1 - _upper_bound(n - k, n, TAIL) for k, n in groups)
    return low, min(_upper_bound(k, n, TAIL / len(groups)) for k, n in groups)


def simultaneous_intervals(correct: ArrayLike, counts: ArrayLike) -> list[tuple[float, float] | None]:
    """Return an interval of each group's accuracy; with a probability of at least 95 % all of them hold.

    Bounds are exact (Clopper and Pearson, 1934); each misses with a probability of at most 0.025 / G for the G groups
    that have rows.

    Args:
        correct: (G,) integers, the correctly classified rows of each group.
        counts: (G,) integers, all rows of each group.

    Returns:
        (G,) pairs of lower and upper bound, fractions; None for a group without rows.

    Raises:
        InputError: unless 0 <= correct <= counts.

    >>> [(round(low, 3), round(high, 3)) for low, high in simultaneous_intervals([90, 40], [100, 50])]
    [(0.812, 0.956), (0.643, 0.91)]
    """
    groups = _correct_and_counts(correct, counts)
    tail = TAIL / max(sum(n > 0 for _, n in groups), 1)
    return [_bounds(k, n, tail) if n else None for k, n in groups]


def _correct_and_counts(correct: ArrayLike, counts: ArrayLike) -> list[tuple[int, int]]:
    counts_G = arguments.integers("counts", counts)
    correct_G = arguments.integers("correct", correct, len(counts_G))
    arguments.check_each("correct", correct_G, (correct_G >= 0) & (correct_G <= counts_G), "0 to counts")
    return list(zip(correct_G.tolist(), counts_G.tolist(), strict=True))


def _upper_bound(k: int, n: int, tail: float) -> float:
    """Return the p for which k or fewer of n have probability ``tail``; 1 if k = n."""
    from scipy.special import betaincinv  # takes a third of a second, likewise elsewhere

    return 1 - float(betaincinv(n - k, k + 1, tail)) if k < n else 1.0


def gap_interval(
    correct: ArrayLike, counts: ArrayLike, shares: ArrayLike, *, rest: tuple[int, int] = (0, 0)
) -> tuple[float, float] | None:
    """Return a 95 % interval of the gap: average minus worst-group accuracy.

    With the average sum_h w_h a_h of the accuracies a_h, the gap is max_g d_g with d_g = sum_h w_h a_h - a_g. As for
    `worst_group_interval`, the interval is [max L_g, max U_g] of bounds of d_g that miss with probabilities of at most
    0.025 / G and 0.025, so the sample never has to tell which group is the worst. They are those of Zou and Donner
    (2008, Statistics in Medicine 27) for a sum of independent proportions, with exact margins of each. A bootstrap
    within the groups repeats the upward bias of the gap: with four equal groups of 70 it misses 0 in every sample.

    Args:
        correct: (G,) integers, the correctly classified rows of each group.
        counts: (G,) integers, all rows of each group. Groups without rows are left out.
        shares: (G,) weights of the groups in the average, with any sum; the counts for the plain average.
        rest: correctly classified and all rows that are in no group. They have a part in the plain average only.

    Returns:
        The lower and the upper bound; None if no group with a weight has a row.

    Raises:
        InputError: unless 0 <= correct <= counts.

    >>> [round(bound, 3) for bound in gap_interval([90, 40], [100, 50], [100, 50])]
    [-0.027, 0.164]
    """
    groups = _correct_and_counts(correct, counts)
    shares_G = arguments.group_numbers("shares", shares, len(groups))
    kept = [(k, n, float(share)) for (k, n), share in zip(groups, shares_G, strict=True) if n]
    num_groups, total = len(kept), sum(share for *_, share in kept) + rest[1]
    if not num_groups or not total:
        return None
    kept += [(*rest, rest[1])] if rest[1] else []
    value, weight = (np.array(each) for each in zip(*((k / n, share / total) for k, n, share in kept), strict=True))
    bounds = []
    for tail, sign in ((TAIL / num_groups, -1), (TAIL, 1)):
        low, high = (np.array(bounds_G) for bounds_G in zip(*(_bounds(k, n, tail) for k, n, _ in kept), strict=True))
        down, up = (value - low, high - value) if sign < 0 else (high - value, value - low)
        squares = np.square(weight * down)
        own = np.square((1 - weight) * up) - squares  # the accuracy of group g has the weight w_g - 1 in d_g
        of_groups = weight @ value - value + sign * np.sqrt(squares.sum() + own)
        bounds.append(float(of_groups[:num_groups].max()))
    return bounds[0], bounds[1]


class Margins(NamedTuple):
    """Accuracies (G,) of one classifier, and their distances to Wilson's lower and upper bounds."""

    value: NDArray[np.float64]
    below: NDArray[np.float64]
    above: NDArray[np.float64]


def newcombe_margins(right_G: NDArray[np.int64], counts_G: NDArray[np.int64], tail: float) -> Margins:
    """Return the margins from which Newcombe's bounds of a difference are made.

    Each score bound (Wilson, 1927) misses with a probability of about ``tail``. It serves only to bound differences; an
    accuracy by itself has an exact interval.
    """
    z, p = NormalDist().inv_cdf(1 - tail), right_G / counts_G
    center = (p + z * z / (2 * counts_G)) / (1 + z * z / counts_G)
    half = z / (1 + z * z / counts_G) * np.sqrt(p * (1 - p) / counts_G + z * z / (4.0 * counts_G**2))
    # For 0 of n and n of n the bounds are exactly 0 and 1, without rounding.
    low, high = np.where(right_G == 0, 0.0, center - half), np.where(right_G == counts_G, 1.0, center + half)
    return Margins(p, p - low, high - p)


@dataclass(frozen=True, kw_only=True)
class GroupDifference:
    """The difference in accuracy of two groups of one class, by their indices in the list of groups, y*A + a.

    ``low`` to ``high`` is a 95 % interval of the difference that holds for all pairs of the family at once. ``low`` is
    below 0 if the difference may be chance.
    """

    worse: Count
    better: Count
    value: Share
    low: float
    high: float


def largest_difference(correct_CA: NDArray[np.int64], counts_CA: NDArray[np.int64]) -> GroupDifference | None:
    """Return the pair of groups within a class whose difference in accuracy has the largest lower bound.

    So a large difference by chance, between groups of few images, doesn't hide one that is certain. None if no class
    has two groups. The bounds are Newcombe's (1998), at confidence 1 - 0.05 / m for m pairs (Bonferroni).

    >>> largest = largest_difference(np.array([[90, 60, 0], [50, 50, 1]]), np.array([[100, 100, 0], [100, 100, 1]]))
    >>> largest.worse, largest.better, round(largest.value, 2), largest.low > 0
    (1, 0, 0.3, True)
    """
    has_rows = counts_CA > 0
    num_groups = has_rows.sum(axis=1)
    pairs = int((num_groups * (num_groups - 1) // 2).sum())
    if not pairs:
        return None
    accuracy_CA, below_CA, above_CA = newcombe_margins(correct_CA, np.maximum(counts_CA, 1), TAIL / pairs)
    # Axes: class, better group, worse group.
    value_CAA = accuracy_CA[:, :, None] - accuracy_CA[:, None, :]
    low_CAA = value_CAA - np.hypot(below_CA[:, :, None], above_CA[:, None, :])
    is_pair_CAA = has_rows[:, :, None] & has_rows[:, None, :] & ~np.eye(counts_CA.shape[1], dtype=bool)
    low_CAA[~is_pair_CAA | (value_CAA < 0)] = -np.inf
    label, better, worse = np.unravel_index(int(low_CAA.argmax()), low_CAA.shape)
    value = float(value_CAA[label, better, worse])
    start = int(label) * counts_CA.shape[1]
    return GroupDifference(
        worse=start + int(worse),
        better=start + int(better),
        value=value,
        low=float(low_CAA[label, better, worse]),
        high=min(value + float(np.hypot(above_CA[label, better], below_CA[label, worse])), 1.0),
    )
