"""The association of class and attribute, and how much of a classifier's errors the attribute explains."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.files.typed_json import Count, Share
from dbpt.groups.group_ids import check_sizes, checked_indices, group_counts, group_ids

TIE = 1e-9
"""Statistics whose relative difference is below this are equal, but summed in another order."""


@dataclass(frozen=True, kw_only=True)
class ExplainedErrors:
    """The result of `explained_errors`; ``share`` and ``p_value`` are None where nothing can be compared.

    ``n`` images of known attribute have ``errors`` errors. ``share`` is the fraction of the errors that the attribute
    explains, beyond what chance gives. ``p_value`` is that of a test with this many ``permutations`` within class;
    it is an upper bound if none of them was as extreme.
    """

    n: Count
    errors: Count
    share: Share | None
    p_value: Share | None
    permutations: Count
    p_is_bound: bool = False


def cramers_v(labels: ArrayLike, attributes: ArrayLike, *, num_classes: int, num_attributes: int) -> float | None:
    """Return the association of class and attribute, Cramér's V with the bias correction of Bergsma (2013).

    ``labels`` are (N,) integers in 0..C, ``attributes`` (N,) integers in 0..A, or -1 for rows that don't count. V is 0
    without association and at most 1. It is None if fewer than two classes or attributes occur, or if no two rows have
    the same class or the same attribute. Without the correction (J. Korean Stat. Soc. 42), V is above 0 by chance.

    >>> cramers_v([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], num_classes=2, num_attributes=2)
    1.0
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    table = _table(*_checked(labels, attributes, num_classes, num_attributes), num_classes, num_attributes)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    (classes, attributes_found), n = table.shape, int(table.sum())
    if min(classes, attributes_found) < 2 or max(classes, attributes_found) == n:
        return None
    expected = table.sum(axis=1, keepdims=True) * (table.sum(axis=0) / n)
    phi2 = float(((table - expected) ** 2 / expected).sum()) / n - (classes - 1) * (attributes_found - 1) / (n - 1)
    largest = min((k - 1) * (n - k) / (n - 1) for k in (classes, attributes_found))
    return float(np.sqrt(min(max(phi2, 0.0) / largest, 1.0)))


def explained_errors(
    right: ArrayLike,
    labels: ArrayLike,
    attributes: ArrayLike,
    *,
    num_classes: int,
    num_attributes: int,
    permutations: int = 9_999,
    seed: int = 0,
) -> ExplainedErrors:
    """Test whether errors depend on the attribute within the classes, and estimate the share that it explains.

    ``right`` are (N,) bool, ``labels`` (N,) integers in 0..C, ``attributes`` (N,) integers in 0..A, or -1 for rows that
    don't count. Classes without errors, without right rows, or with one attribute tell nothing about the attribute.

    The statistic is the sum over classes of Pearson's chi-squared of attribute and right or wrong. If errors don't
    depend on the attribute, permuting the attributes within each class changes nothing. The errors per attribute are
    then multivariate hypergeometric, so that they can be drawn without permuting rows. With b of B permutations at
    least as extreme, p = (1 + b) / (1 + B), which is valid for groups of any size (Phipson and Smyth, 2010).

    The share is the fraction of the errors that would vanish if each group erred as seldom as the best of its class:
    s = 1 - sum_y n_y * min_g r_g / errors. So that a group of few images can't set the minimum, rates are shrunk to the
    rate r_y of the class: r_g = r_y + w_g * (e_g / n_g - r_y) with w_g = t / (t + r_y * (1 - r_y) / n_g) and t the
    variance of true rates by the method of moments (DerSimonian and Laird, 1986). A minimum is low by chance even so:
    the share is max(0, (s - m) / (1 - m)) with m the mean of s over the permutations. It is still about 0.2 too high
    for a strong effect among thirty groups of a class.

    >>> right, attributes = [True] * 50 + [False] * 50, [0] * 50 + [1] * 50
    >>> found = explained_errors(right, [0] * 100, attributes, num_classes=1, num_attributes=2, permutations=999)
    >>> found.errors, found.p_value, found.share > 0.9
    (50, 0.001, True)
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    labels_N, attributes_N = _checked(labels, attributes, num_classes, num_attributes)
    right_N = np.asarray(right)
    arguments.integer("permutations", permutations, 1)
    if right_N.dtype != np.bool_ or right_N.shape != labels_N.shape:
        found = f"shape {right_N.shape} and dtype {right_N.dtype}"
        raise InputError(f"right has {found}; expected {labels_N.shape} booleans, one for each label")
    counts_CA = _table(labels_N, attributes_N, num_classes, num_attributes)
    errors_CA = _table(labels_N[~right_N], attributes_N[~right_N], num_classes, num_attributes)
    n, errors = int(counts_CA.sum()), int(errors_CA.sum())
    rng = np.random.default_rng(arguments.seed(seed))
    chi2_B, vanishing_B, can_compare = np.zeros(1 + permutations), np.zeros(1 + permutations), False
    for counts_A, errors_A in zip(counts_CA, errors_CA, strict=True):
        counts_A, errors_A = counts_A[counts_A > 0], errors_A[counts_A > 0]
        if counts_A.size > 1 and 0 < errors_A.sum() < counts_A.sum():
            can_compare = True
            drawn = rng.multivariate_hypergeometric(counts_A, int(errors_A.sum()), permutations, method="marginals")
            # The first row is what was observed.
            found_B, best_B = _chi2_and_best_rate(np.concatenate([errors_A[None], drawn]), counts_A)
            chi2_B += found_B
            vanishing_B += errors_A.sum() - counts_A.sum() * best_B
    if not can_compare:
        return ExplainedErrors(n=n, errors=errors, share=None, p_value=None, permutations=permutations)
    extreme = int((chi2_B[1:] >= chi2_B[0] * (1 - TIE)).sum())
    share, by_chance = vanishing_B[0] / errors, vanishing_B[1:].mean() / errors
    return ExplainedErrors(
        n=n,
        errors=errors,
        share=max(0.0, float((share - by_chance) / (1 - by_chance))),
        p_value=(1 + extreme) / (1 + permutations),
        permutations=permutations,
        p_is_bound=extreme == 0,
    )


def _chi2_and_best_rate(
    errors_BA: NDArray[np.int64], counts_A: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return chi-squared and the least error rate of a group after shrinkage, both (B,), of B tables of one class."""
    n, rate = int(counts_A.sum()), float(errors_BA[0].sum() / counts_A.sum())
    variance, difference_BA = rate * (1 - rate), errors_BA / counts_A - rate
    chi2_B = (difference_BA**2 * counts_A).sum(axis=1) / variance
    by_chance = (counts_A.size - 1) * n / (n - 1)
    spread_B = np.maximum(chi2_B - by_chance, 0) * variance / (n - float((counts_A.astype(float) ** 2).sum()) / n)
    shrinkage_BA = spread_B[:, None] / (spread_B[:, None] + variance / counts_A)
    return chi2_B, rate + (shrinkage_BA * difference_BA).min(axis=1)


def _checked(
    labels: ArrayLike, attributes: ArrayLike, num_classes: int, num_attributes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    labels_N = checked_indices(labels, "labels", 0, num_classes)
    return labels_N, checked_indices(attributes, "attributes", -1, num_attributes, rows=labels_N.size)


def _table(labels: NDArray[np.int64], attributes: NDArray[np.int64], classes: int, size: int) -> NDArray[np.int64]:
    """Return the number of rows by class and attribute, (C, A); rows of attribute -1 are not counted."""
    return group_counts(group_ids(labels, attributes, size), classes * size).reshape(classes, size)
