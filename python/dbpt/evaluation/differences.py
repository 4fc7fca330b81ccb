"""Differences between two rows of results: their intervals, and whether they may be chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

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
        names = ("worst_group_accuracy", "average", "gap")
        figures = [f"{name.replace('_', ' ')} {self.figures[name]._brief()}" for name in names if name in self.figures]
        images = (
            "unknown"
            if self.over_images is None
            else "[{:+.1f}, {:+.1f}]".format(*(100 * bound for bound in self.over_images))
        )
        return f"to {self.method}: {', '.join(figures)}; worst group over images {images}"

    @property
    def is_clear(self) -> bool:
        """Whether worst-group accuracy differs beyond chance: its interval over other images excludes 0."""
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


def student_t_quantile(confidence: float, degrees: int) -> float:
    """Return the t with P(|T| <= t) = ``confidence``, by bisection of the closed form for whole ``degrees``.

    Abramowitz and Stegun (1964), 26.7.3 and 26.7.4. Good to about 1e-12 of the angle arctan(t / √degrees).

    >>> round(student_t_quantile(0.95, 4), 3)
    2.776
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability_within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _probability_within(angle: float, degrees: int) -> float:
    """Return P(|T| <= t) for t = √degrees · tan(angle)."""
    # The series of Abramowitz and Stegun, in odd powers of the cosine for odd degrees, in even ones for even degrees.
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * step / (step + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
