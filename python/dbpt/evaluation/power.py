"""The power of the test of an attribute: the smallest difference that it would find."""

from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import group_counts, group_ids

POWER, LEVEL = 0.8, 0.05


def detectable_difference(
    is_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    *,
    num_classes: int,
    num_attributes: int,
) -> float | None:
    """Return the smallest difference in accuracy that `explained_errors` would find in 80 % of samples.

    The difference is that of one attribute from the others, alike in each class. Smaller ones, or those of a single
    class, would more often be missed. Chi-squared of such a difference d is noncentral, with lambda = d^2 *
    sum_y n_ya * (1 - n_ya / n_y) / (r_y * (1 - r_y)) for n_ya of the n_y images of class y and its error rate r_y. The
    attribute is the one for which lambda is largest.

    Args:
        is_right: (N,) bool, the images that are classified correctly.
        labels: (N,) int64, their classes.
        attributes: (N,) int64, -1 for images that don't count.
        num_classes, num_attributes: C and A.

    Returns:
        A fraction, at most 1; None if no class can be compared.
    """
    shape = num_classes, num_attributes
    groups = group_ids(labels, attributes, num_attributes)
    counts_CA = group_counts(groups, num_classes * num_attributes).reshape(shape)
    errors_C = group_counts(groups[~is_right], num_classes * num_attributes).reshape(shape).sum(axis=1)
    n_C, freedom_C = counts_CA.sum(axis=1), (counts_CA > 0).sum(axis=1) - 1
    compared = (freedom_C > 0) & (errors_C > 0) & (errors_C < n_C)
    if not compared.any():
        return None
    counts_CA, n_C, rates_C = counts_CA[compared], n_C[compared], errors_C[compared] / n_C[compared]
    sizes_CA = counts_CA * (1 - counts_CA / n_C[:, None]) / (rates_C * (1 - rates_C))[:, None]
    return min(1.0, sqrt(noncentrality(int(freedom_C[compared].sum())) / float(sizes_CA.sum(axis=0).max())))


def noncentrality(freedom: int) -> float:
    """Return the noncentrality at which chi-squared exceeds its 95 % point in 80 % of cases, for degrees of freedom.

    Cube roots are nearly normal (Abdel-Aty, 1954). It is at most 6 % too small, and the difference then 3 %.

    >>> round(noncentrality(1), 1), round(noncentrality(10), 1)
    (7.4, 16.2)
    """

    def quantile(noncentral: float, probability: float) -> float:
        mean = freedom + noncentral
        variance = 2 * (freedom + 2 * noncentral) / (9 * mean**2)
        return float(mean * (1 - variance + NormalDist().inv_cdf(probability) * sqrt(variance)) ** 3)

    low, high, critical = 0.0, 10.0 + 10 * freedom, quantile(0, 1 - LEVEL)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(middle, 1 - POWER) < critical else (low, middle)
    return high
