"""Differences between two rows of results: their intervals, and whether they may be chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.evaluation.intervals import Margins, newcombe_margins
from dbpt.evaluation.short_repr import Brief, in_points
from dbpt.storage.typed_json import Count

LEAST_REPEATS = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class FigureDifference(Brief):
    """The mean difference in a figure over the seeds, and its interval over the draws, or else over the seeds."""

    mean: float | None = None
    over_seeds: tuple[float, float] | None = None
    over_draws: tuple[float, float] | None = None

    def _brief(self) -> str:
        return in_points(self.mean, self.over_repeats)

    @property
    def over_repeats(self) -> tuple[float, float] | None:
        """The interval over the draws, or else over the seeds."""
        return self.over_draws or self.over_seeds


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference(Brief):
    """A row minus the one with ``method``, ``head`` and ``varied``, over the ``seeds`` that both have finished.

    ``over_images`` is the interval of the difference in worst-group accuracy over other images. All intervals are at
    95 %, unless another confidence was asked for.
    """

    method: str
    head: str | None
    seeds: list[Count]
    figures: dict[str, FigureDifference]
    over_images: tuple[float, float] | None
    varied: dict[str, Any] = field(default_factory=dict)

    def _brief(self) -> str:
        names = ("worst_group_accuracy", "average", "average_accuracy", "gap")
        figures = [f"{name.replace('_', ' ')} {self.figures[name]._brief()}" for name in names if name in self.figures]
        images = (
            "unknown"
            if self.over_images is None
            else "[{:+.1f}, {:+.1f}]".format(*(100 * bound for bound in self.over_images))
        )
        return f"to {self.method}: {', '.join(figures)}; worst group over images {images}"

    @property
    def is_clear(self) -> bool:
        """Whether the interval of worst-group accuracy over other images excludes 0; `is_told` asks draws too."""
        return self.over_images is not None and _excludes_zero(self.over_images)

    def is_told(self, figure: str = "worst_group_accuracy", *, repeats: int) -> bool | None:
        """Return whether a figure differs beyond chance: each interval that it has excludes 0. None if it has none.

        Over images only worst-group accuracy has one. That over fewer than LEAST_REPEATS of the ``repeats``, the draws
        or seeds of the comparison, doesn't count: with two it holds nearly all differences.
        """
        over_images = self.over_images if figure == "worst_group_accuracy" else None
        over_repeats = self.figures[figure].over_repeats if repeats >= LEAST_REPEATS else None
        known = [each for each in (over_repeats, over_images) if each is not None]
        return all(map(_excludes_zero, known)) if known else None

    @property
    def disagreeing(self) -> tuple[float, float] | None:
        """The interval of worst-group accuracy over seeds or draws if it contains 0, so that others may disagree."""
        worst = self.figures.get("worst_group_accuracy")
        interval = None if worst is None else worst.over_repeats
        return None if interval is None or _excludes_zero(interval) else interval


def _excludes_zero(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def within_reach(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return the part of an interval that differences of accuracies can reach; two or three seeds may give more.

    >>> within_reach((-1.9, 0.4))
    (-1.0, 0.4)
    """
    return None if interval is None else (max(interval[0], -1.0), min(interval[1], 1.0))


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (over n - 1) of one value for each seed; None if there are too few.

    >>> mean_and_deviation([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    return fmean(values) if values else None, stdev(values) if len(values) > 1 else None


def paired_t_interval(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the interval of the mean of ``differences``, one for each seed: mean ± t · s / √n.

    It assumes that differences are normally distributed. None for a single one, and if all are equal.

    >>> low, high = paired_t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    mean, deviation = mean_and_deviation(differences)
    if mean is None or not deviation:
        return None
    half = student_t_quantile(confidence, len(differences) - 1) * deviation / math.sqrt(len(differences))
    return mean - half, mean + half


def interval_over_draws(
    difference: float, by_draw: Sequence[float], smallest_group: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of the expected ``difference`` over training images of the same kind and number.

    It is difference ± t · s. The difference is that with all rows, which has no bias, unlike those with half of them.
    Their standard deviation s is its standard error (`half_of_each`), so more draws don't make it smaller. Few rows
    estimate s as badly as few draws, so t has 1 / (1/(K - 1) + 1/(n - 1)) degrees of freedom, rounded to a whole
    number, for K draws and n training rows in the ``smallest_group``; but at least 2, unless K is 2. None for a single
    draw, and if all are equal.

    >>> low, high = interval_over_draws(2.5, [1.0, 2.0, 3.0], 14)
    >>> round(low, 3), round(high, 3)
    (-1.803, 6.803)
    """
    deviation = mean_and_deviation(by_draw)[1]
    if not deviation:
        return None
    of_draws, of_rows = len(by_draw) - 1, max(1, smallest_group - 1)
    degrees = max(min(2, of_draws), round(1 / (1 / of_draws + 1 / of_rows)))
    half = student_t_quantile(confidence, degrees) * deviation
    return difference - half, difference + half


def worst_group_difference_interval(
    correct: NDArray[np.bool_], baseline: NDArray[np.bool_], groups: NDArray[np.int64], *, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return an interval of the difference in worst-group accuracy between two classifiers on the same images.

    The classifiers are fixed; the interval covers the choice of images.

    With group accuracies a_k and b_h of the two classifiers, the difference is min_k max_h (a_k - b_h). Each a_k - b_h
    has bounds L_kh and U_kh, each of which misses with probability (1 - confidence) / 2G. The interval is
    [min_k max_h L_kh, max_h min_k U_kh]. It is too high only if, for the truly worst group k of the first classifier,
    one of the G bounds L_kh exceeds a_k - b_h; the same holds for the upper bound. So the sample never has to tell
    which group is the worst.

    The bounds are Newcombe's (1998, Statistics in Medicine 17): the root of the sum of Wilson's two squared margins,
    because groups k and h contain different images. For k = h, the correlation of the paired answers is subtracted (his
    method 10).

    Args:
        correct: (N,) bool, the images that the first classifier gets right.
        baseline: (N,) bool, those that the second one gets right.
        groups: (N,) int64, the group of each image; -1 if unknown.
        confidence: the probability with which the interval contains the difference, at least.

    Returns:
        The lower and the upper bound of the first minus the second, from -1 to 1; None if no image has a group.

    Raises:
        InputError: for arrays of other shapes or dtypes.

    >>> right = np.arange(200) % 10 > 0
    >>> worst_group_difference_interval(right, right, np.zeros(200, dtype=np.int64))[0] < 0
    True
    """
    groups = arguments.vector("groups", groups, "iu", unknown=True)
    correct, baseline = (
        arguments.vector(name, rows, "b", len(groups), per="row")
        for name, rows in (("correct", correct), ("baseline", baseline))
    )
    known = groups >= 0
    _, groups = np.unique(groups[known], return_inverse=True)
    if not groups.size:
        return None
    counts_G = np.bincount(groups)
    tail = (1 - confidence) / 2 / len(counts_G)
    right_G, base_G, both_G = (
        np.bincount(groups, rows[known]).astype(np.int64) for rows in (correct, baseline, correct & baseline)
    )
    one, other = (newcombe_margins(right, counts_G, tail) for right in (right_G, base_G))
    correlation_G = _paired_correlation(both_G, right_G, base_G, counts_G)
    # The upper bound of the difference is minus the lower bound of its negative.
    return _lower(one, other, correlation_G), -_lower(other, one, correlation_G)


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
    return np.asarray(np.divide(product, spread, out=np.zeros_like(product), where=spread > 0))


def student_t_quantile(confidence: float, degrees: int) -> float:
    """Return the t with P(|T| <= t) = ``confidence``."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + confidence) / 2))
