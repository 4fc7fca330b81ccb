"""What seeds say: mean, standard deviation, and the interval of a mean of paired differences by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from dbpt.errors import InputError


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (over n - 1) of one value for each seed; no deviation of a single value.

    >>> mean_and_deviation([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    return fmean(values), stdev(values) if len(values) > 1 else None


def paired_t_interval(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of the mean of ``differences``, one for each seed: mean ± t · s / √n with n - 1 degrees of freedom.

    It asks whether other seeds would agree, on the same images. Seeds are few, so it rests on differences that are
    normally distributed. None for a single one, and where all are equal: then seeds have no say in what is compared.

    >>> low, high = paired_t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    mean, deviation = mean_and_deviation(differences)
    if not deviation:
        return None
    half = student_t_quantile(confidence, len(differences) - 1) * deviation / math.sqrt(len(differences))
    return mean - half, mean + half


def student_t_quantile(confidence: float, degrees: int) -> float:
    """The t with P(|T| <= t) = ``confidence``, by bisection of the distribution's closed form for whole ``degrees``.

    Abramowitz and Stegun (1964), 26.7.3 and 26.7.4. Good to about 1e-12 of the angle arctan(t / √degrees).

    >>> round(student_t_quantile(0.95, 4), 3)
    2.776

    Raises `InputError` unless 0 < confidence < 1 and degrees >= 1.
    """
    if not 0 < confidence < 1 or degrees < 1:
        raise InputError(
            f"student_t_quantile: confidence {confidence}, degrees {degrees}; need 0 < c < 1, degrees >= 1"
        )
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability_within(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _probability_within(angle: float, degrees: int) -> float:
    """P(|T| <= t) for t = √degrees · tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * step / (step + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
