"""Confidence intervals of a proportion, of worst-group accuracy, and of the difference of two of the latter."""

from functools import lru_cache
from math import exp, lgamma, log, log1p
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.errors import InputError

TAIL = 0.025
"""Probability that a 95 % interval misses on either side."""


def exact_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a single proportion (Clopper and Pearson, 1934).

    Args:
        correct: the number of successes, 0 to ``n``.
        n: the number of trials, 1 or above.
        confidence: the probability, at least, that the interval contains the true proportion; between 0 and 1.

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
    """Return a 95 % confidence interval of worst-group accuracy, or None if no group has a row.

    ``correct`` and ``counts`` are (G,) integers: the correctly classified rows and all rows of each group. Groups
    without rows are left out. Raises `InputError` unless 0 <= correct <= counts.

    The interval is [min L_g, min U_g] of exact bounds (Clopper and Pearson, 1934): L_g misses with a probability of at
    most 0.025, U_g with 0.025 / G. min L_g is too high only if the bound of the truly worst group is too high, and
    min U_g is too low only if some U_g is below the accuracy of its own group. So the interval covers the truth in at
    least 95 of 100 samples. A bootstrap of the minimum would repeat the downward bias of the minimum.

    >>> low, high = worst_group_interval([90, 40], [100, 50])
    >>> round(low, 3), round(high, 3)
    (0.663, 0.91)
    """
    groups = [(k, n) for k, n in _correct_and_counts("worst_group_interval", correct, counts) if n]
    if not groups:
        return None
    low = min(1 - _upper_bound(n - k, n, TAIL) for k, n in groups)
    return low, min(_upper_bound(k, n, TAIL / len(groups)) for k, n in groups)


def simultaneous_intervals(correct: ArrayLike, counts: ArrayLike) -> list[tuple[float, float] | None]:
    """Return an interval of each group's accuracy; with a probability of at least 95 % all of them hold.

    ``correct`` and ``counts`` are as in `worst_group_interval`. A group without rows has None. Bounds are exact
    (Clopper and Pearson, 1934); each misses with a probability of at most 0.025 / G for the G groups that have rows.

    >>> [(round(low, 3), round(high, 3)) for low, high in simultaneous_intervals([90, 40], [100, 50])]
    [(0.812, 0.956), (0.643, 0.91)]
    """
    groups = _correct_and_counts("simultaneous_intervals", correct, counts)
    tail = TAIL / max(sum(n > 0 for _, n in groups), 1)
    return [_bounds(k, n, tail) if n else None for k, n in groups]


def _correct_and_counts(name: str, correct: ArrayLike, counts: ArrayLike) -> list[tuple[int, int]]:
    correct_G, counts_G = np.asarray(correct, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    if correct_G.ndim != 1 or correct_G.shape != counts_G.shape or np.any((correct_G < 0) | (correct_G > counts_G)):
        raise InputError(f"{name}: correct and counts must be two (G,) arrays with 0 <= correct <= counts")
    return list(zip(correct_G.tolist(), counts_G.tolist(), strict=True))


@lru_cache(maxsize=65_536)
def _upper_bound(k: int, n: int, tail: float) -> float:
    """Return the p for which k or fewer of n have probability ``tail``; 1 if k = n."""
    low, high = k / n, 1.0
    for _ in range(50 if k < n else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(k, n, middle) > tail else (low, middle)
    return high


def _at_most(k: int, n: int, p: float) -> float:
    """Return P(X <= k) of Binomial(n, p) for k / n < p < 1, summed from the term of k downwards."""
    term = total = exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))
    while k and term > 1e-17 * total:
        term *= k * (1 - p) / ((n - k + 1) * p)
        total += term
        k -= 1
    return total


def worst_group_difference_interval(
    correct: NDArray[np.bool_], baseline: NDArray[np.bool_], groups: NDArray[np.int64]
) -> tuple[float, float] | None:
    """Return a 95 % interval of the difference in worst-group accuracy between two classifiers on the same images.

    ``correct`` and ``baseline`` are (N,) bool: the images that each classifier gets right. ``groups`` is (N,) int64, -1
    if unknown. Returns None if no image has a group. The classifiers are fixed; the interval covers the choice of
    images.

    With group accuracies a_k and b_h of the two classifiers, the difference is min_k max_h (a_k - b_h). Each a_k - b_h
    has bounds L_kh and U_kh, each of which misses with probability 0.025 / G. The interval is
    [min_k max_h L_kh, max_h min_k U_kh]. It is too high only if, for the truly worst group k of the first classifier,
    one of the G bounds L_kh exceeds a_k - b_h; the same holds for the upper bound. So the sample never has to tell
    which group is the worst.

    The bounds are Newcombe's (1998, Statistics in Medicine 17): the root of the sum of Wilson's two squared margins,
    because groups k and h contain different images. For k = h, the correlation of the paired answers is subtracted (his
    method 10).

    >>> right = np.arange(200) % 10 > 0
    >>> worst_group_difference_interval(right, right, np.zeros(200, dtype=np.int64))[0] < 0
    True
    """
    known = groups >= 0
    _, groups = np.unique(groups[known], return_inverse=True)
    if not groups.size:
        return None
    counts_G = np.bincount(groups)
    tail = TAIL / len(counts_G)
    right_G, base_G, both_G = (
        np.bincount(groups, rows[known]).astype(np.int64) for rows in (correct, baseline, correct & baseline)
    )
    one, other = (newcombe_margins(right, counts_G, tail) for right in (right_G, base_G))
    correlation_G = _paired_correlation(both_G, right_G, base_G, counts_G)
    # The upper bound of the difference is minus the lower bound of its negative.
    return _lower(one, other, correlation_G), -_lower(other, one, correlation_G)


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


def _lower(one: Margins, other: Margins, correlation_G: NDArray[np.float64]) -> float:
    """Return min_k max_h of the lower bounds of one_k - other_h."""
    lowest = np.inf
    for k, (value, below) in enumerate(zip(one.value, one.below, strict=True)):
        squares = below**2 + other.above**2
        squares[k] -= 2 * correlation_G[k] * below * other.above[k]
        lowest = min(lowest, float((value - other.value - np.sqrt(np.maximum(squares, 0))).max()))
    return lowest


def _paired_correlation(
    both_G: NDArray[np.int64], right_G: NDArray[np.int64], base_G: NDArray[np.int64], counts_G: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the correlation (G,) of paired answers with Newcombe's correction; 0 where either has no variance."""
    product = (both_G * (counts_G - right_G - base_G + both_G) - (right_G - both_G) * (base_G - both_G)).astype(float)
    product = np.where(product > 0, np.maximum(product - counts_G / 2, 0), product)
    spread = np.sqrt(right_G * (counts_G - right_G) * 1.0 * base_G * (counts_G - base_G))
    correlation: NDArray[np.float64] = np.divide(product, spread, out=np.zeros_like(product), where=spread > 0)
    return correlation
