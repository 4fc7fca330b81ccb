"""Confidence intervals: of one proportion (Wilson) and of the least of several (stratified bootstrap)."""

from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from dbpt.errors import InputError


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927), without continuity correction.

    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)

    Raises `InputError` unless 0 <= correct <= n, n >= 1 and 0 < confidence < 1.
    """
    if n < 1 or not 0 <= correct <= n:
        raise InputError(f"wilson_interval: {correct} right of {n} is no proportion; need 0 <= correct <= n, n >= 1")
    if not 0 < confidence < 1:
        raise InputError(f"wilson_interval: confidence is {confidence}; expected a fraction, such as 0.95")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = correct / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 of n and n of n the bound is 0 and 1 exactly; rounding must not put it a hair inside or outside.
    return (0.0 if correct == 0 else center - half), (1.0 if correct == n else center + half)


def worst_group_interval(
    correct: ArrayLike, counts: ArrayLike, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of worst-group accuracy from a stratified bootstrap.

    ``correct`` and ``counts`` are (G,) integers; groups without rows are left out, and None comes back if none is left
    or ``draws`` is 0. Rows are resampled within their group. A resample of n outcomes, a fraction p of them right, has
    Binomial(n, p) right ones, so drawing that binomial *is* the bootstrap, not an approximation of it.

    A minimum is biased downward: among several groups of like accuracy, chance alone makes one the worst. The bootstrap
    repeats this on top of the bias already in the figure, so the interval leans low and, with many groups, can lie
    wholly below the figure. Where each group is all right or all wrong it has no width and says nothing: look at
    the Wilson interval of the group instead. Equal seeds give equal intervals under one version of NumPy.
    """
    correct_G, counts_G = np.asarray(correct, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    if correct_G.ndim != 1 or correct_G.shape != counts_G.shape or np.any((correct_G < 0) | (correct_G > counts_G)):
        raise InputError("worst_group_interval: correct and counts must be two (G,) arrays with 0 <= correct <= counts")
    if draws < 0:
        raise InputError(f"bootstrap is {draws}; expected the number of draws, or 0 for no interval")
    present = counts_G > 0
    if draws == 0 or not present.any():
        return None
    counts_P = counts_G[present]
    resampled = np.random.default_rng(seed).binomial(counts_P, correct_G[present] / counts_P, (draws, counts_P.size))
    low, high = np.quantile((resampled / counts_P).min(axis=1), [0.025, 0.975])
    return float(low), float(high)


def proportion(right: int, n: int) -> tuple[float | None, float | None, float | None]:
    """Return right / n with its Wilson 95 % interval, or three None over no rows."""
    return (right / n, *wilson_interval(right, n)) if n else (None, None, None)
