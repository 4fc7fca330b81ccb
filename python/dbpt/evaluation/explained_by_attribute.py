"""Associate attributes with classes and errors: Cramer's V and explained errors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.groups.ids import check_sizes, checked_indices, contingency_table
from dbpt.storage.typed_json import Count, Share

TIE = 1e-9
"""Statistics whose relative difference is below this are equal, but summed in another order."""
SPLITS, BOOTSTRAPS, SPLITS_OF_BOOTSTRAPS = 20, 400, 4
"""Numbers of halvings of the rows, of draws for the interval, and of halvings of each draw."""
SHRINKAGE = 3
"""Rows of the class's rate that each group gets before it is drawn again, as no errors among few rows don't mean 0."""
TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class ExplainedErrors:
    """The result of `explained_errors`; ``share`` and ``p_value`` are None where nothing can be compared.

    Attributes:
        n, errors: the number of images of known attribute, and of those that are classified wrongly.
        share, share_low, share_high: the fraction of the errors that the attribute explains, and its 95 % interval.
        p_value: the p-value of a test with this many ``permutations`` within each class.
        permutations, p_is_bound: ``p_value`` is an upper bound if no permutation was as extreme.
    """

    n: Count
    errors: Count
    share: Share | None
    p_value: Share | None
    permutations: Count
    p_is_bound: bool = False
    share_low: Share | None = None
    share_high: Share | None = None


MIDDLE, MOST_BINS = (1, 99), 30
"""The percentiles between which a distribution is shown, and its number of bins."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The values of a measured number: images that are predicted right and wrong in each bin between the ``edges``."""

    edges: list[float]
    right: list[Count]
    wrong: list[Count]

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> "Distribution | None":
        """Return the distribution of values (n,), without the outermost ones; None without two different values.

        >>> Distribution.of(np.array([0.0, 0.0, 1.0, 1.0]), np.array([True, True, True, False])).wrong
        [0, 0, 1]
        """
        known = np.isfinite(values)
        values, right = values[known].astype(np.float64), right[known]
        if not len(values) or values.min() == values.max():
            return None
        low, high = np.percentile(values, MIDDLE)
        low, high = (low, high) if low < high else (values.min(), values.max())
        edges = np.histogram_bin_edges(values, "auto", (low, high))
        if len(edges) > MOST_BINS + 1:
            edges = np.linspace(low, high, MOST_BINS + 1)
        right_B, wrong_B = (np.histogram(values[rows], edges)[0].tolist() for rows in (right, ~right))
        return cls(edges=edges.tolist(), right=right_B, wrong=wrong_B)


def cramers_v(labels: ArrayLike, attributes: ArrayLike, *, num_classes: int, num_attributes: int) -> float | None:
    """Return the association of class and attribute, Cramér's V with the bias correction of Bergsma (2013).

    Without the correction (J. Korean Stat. Soc. 42), V is above 0 by chance.

    Args:
        labels, attributes: (N,) integers in 0..C and in 0..A, or -1 for rows that don't count.
        num_classes, num_attributes: C and A.

    Returns:
        V, from 0 (no association) to 1. None if fewer than two classes or attributes occur, or if no two rows have the
        same class or the same attribute.

    Raises:
        InputError: for arrays of other shapes or values.

    >>> cramers_v([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], num_classes=2, num_attributes=2)
    1.0
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    checked = _checked(labels, attributes, num_classes, num_attributes)
    table = contingency_table(*checked, (num_classes, num_attributes))
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    (rows, columns), n = table.shape, int(table.sum())
    if min(rows, columns) < 2 or max(rows, columns) == n:
        return None
    expected = table.sum(axis=1, keepdims=True) * (table.sum(axis=0) / n)
    phi2 = float(((table - expected) ** 2 / expected).sum()) / n - (rows - 1) * (columns - 1) / (n - 1)
    largest = min((k - 1) * (n - k) / (n - 1) for k in (rows, columns))
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
    bootstraps: int = BOOTSTRAPS,
) -> ExplainedErrors:
    """Test whether errors depend on the attribute within the classes, and estimate the share that it explains.

    The statistic is the sum over classes of Pearson's chi-squared of attribute and right or wrong. Permuting attributes
    within a class makes its errors per attribute multivariate hypergeometric, so they are drawn as such. With b of B
    permutations at least as extreme, p = (1 + b) / (1 + B), for groups of any size (Phipson and Smyth, 2010).

    The share is the fraction of the errors that would vanish if each group erred as seldom as the best of its class:
    1 - sum_y n_y * min_g r_g / errors. The least of several observed rates is too low by chance, so the best group is
    chosen on one half of each group and measured on the other; the share is the mean over both directions and 20 random
    halves, at least 0. The choice adds a standard error to each rate, so that a group of few images must err much less.

    The interval is a bootstrap of 400 draws from the groups, with rates shrunk by three rows towards that of the class,
    and by half an error at least. It has the limits of the percentiles and of 1.96 standard deviations around the
    share, whichever are wider; the upper one is raised by what the share is too low by in the draws. The
    measured bias and coverage are in docs/explanation/statistics.md.

    Args:
        right: (N,) bool, the rows that are classified correctly.
        labels, attributes: (N,) integers in 0..C and in 0..A, or -1 for rows that don't count. Classes without errors,
            without right rows, or with one attribute tell nothing about the attribute.
        num_classes, num_attributes: C and A.
        permutations, seed: B, 1 or above, and the seed of all draws.
        bootstraps: draws for the interval; 0 for none, which is faster with many classes and changes no other figure.

    Returns:
        The share with its interval, and the p-value.

    Raises:
        InputError: for arrays of other shapes, dtypes or values.

    >>> right, attributes = [True] * 50 + [False] * 50, [0] * 50 + [1] * 50
    >>> explained = explained_errors(right, [0] * 100, attributes, num_classes=1, num_attributes=2, permutations=999)
    >>> explained.errors, explained.p_value, explained.share > 0.9
    (50, 0.001, True)
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    labels_N, attributes_N = _checked(labels, attributes, num_classes, num_attributes)
    right_N = arguments.vector("right", right, "b", len(labels_N), per="label")
    arguments.integer("permutations", permutations, 1)
    arguments.integer("bootstraps", bootstraps, 0)
    shape = num_classes, num_attributes
    counts_CA = contingency_table(labels_N, attributes_N, shape)
    errors_CA = contingency_table(labels_N[~right_N], attributes_N[~right_N], shape)
    n, errors = int(counts_CA.sum()), int(errors_CA.sum())
    rng = np.random.default_rng(arguments.seed(seed))
    chi2_B, can_compare = np.zeros(1 + permutations), False  # the first is of what was observed
    for counts_A, errors_A in zip(counts_CA, errors_CA, strict=True):
        counts_A, errors_A = counts_A[counts_A > 0], errors_A[counts_A > 0]
        if counts_A.size > 1 and 0 < errors_A.sum() < counts_A.sum():
            can_compare = True
            drawn = rng.multivariate_hypergeometric(counts_A, int(errors_A.sum()), permutations, method="marginals")
            errors_BA, rate = np.concatenate([errors_A[None], drawn]), errors_A.sum() / counts_A.sum()
            chi2_B += ((errors_BA / counts_A - rate) ** 2 * counts_A).sum(axis=1) / (rate * (1 - rate))
    if not can_compare:
        return ExplainedErrors(n=n, errors=errors, share=None, p_value=None, permutations=permutations)
    extreme = int((chi2_B[1:] >= chi2_B[0] * (1 - TIE)).sum())
    rng, classes = np.random.default_rng([seed, 1]), zip(errors_CA, counts_CA, strict=True)
    vanishing = sum(float(_vanishing(errors_A[None], counts_A, SPLITS, rng)[0]) for errors_A, counts_A in classes)
    share = vanishing / errors  # of the errors that would vanish, which may be below 0
    low, high = None, None
    if bootstraps:
        low, high = _interval(share, errors_CA, counts_CA, bootstraps, np.random.default_rng([seed, 2]))
    return ExplainedErrors(
        n=n,
        errors=errors,
        share=min(max(share, 0.0), 1.0),
        share_low=low,
        share_high=high,
        p_value=(1 + extreme) / (1 + permutations),
        permutations=permutations,
        p_is_bound=extreme == 0,
    )


def _interval(
    share: float, errors_CA: NDArray[np.int64], counts_CA: NDArray[np.int64], bootstraps: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of the ``share``."""
    vanishing_B, errors_B, vanishing, errors = np.zeros(bootstraps), np.zeros(bootstraps), 0.0, 0.0
    for errors_A, counts_A in zip(errors_CA, counts_CA, strict=True):
        errors_A, counts_A = errors_A[counts_A > 0], counts_A[counts_A > 0]
        if not counts_A.size:
            continue
        # At least half an error (Jeffreys), or the rate of a group with almost none would be all but certain.
        rate_A = (errors_A + max(SHRINKAGE * errors_A.sum() / counts_A.sum(), 0.5)) / (counts_A + SHRINKAGE)
        drawn_BA = rng.binomial(counts_A, rate_A, (bootstraps, counts_A.size))
        errors_B += drawn_BA.sum(axis=1)
        vanishing_B += _vanishing(drawn_BA, counts_A, SPLITS_OF_BOOTSTRAPS, rng)
        errors += float(counts_A @ rate_A)
        vanishing += float(counts_A @ (rate_A - rate_A.min()))
    share_B = vanishing_B / np.maximum(errors_B, 1)
    too_low = max(vanishing / errors - float(share_B.mean()), 0.0)
    (low, high), half = np.quantile(share_B, TAILS).tolist(), 1.96 * float(share_B.std())
    low, high = min(low, share - half), max(high, share + half) + too_low
    return max(low, 0.0), min(max(high, 0.0), 1.0)


def _vanishing(
    errors_BA: NDArray[np.int64], counts_A: NDArray[np.int64], splits: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return how many errors would vanish, (B,), in B tables of one class: the mean over random halves of the rows."""
    has_rows = counts_A > 0
    if has_rows.sum() < 2 or not errors_BA.any():
        return np.zeros(len(errors_BA))
    errors_BA, counts_A = errors_BA[:, has_rows], counts_A[has_rows]
    one_SBA = (counts_A + rng.integers(0, 2, (splits, 1, counts_A.size))) // 2
    errors_SBA = rng.hypergeometric(errors_BA, counts_A - errors_BA, one_SBA)
    one, other = (errors_SBA, one_SBA), (errors_BA - errors_SBA, counts_A - one_SBA)
    return np.asarray((_measured(*one, *other) + _measured(*other, *one)).mean(axis=0))


def _measured(
    other_errors_A: NDArray[np.int64],
    other_counts_A: NDArray[np.int64],
    errors_A: NDArray[np.int64],
    counts_A: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return how many errors of one half of the rows would vanish at the rate of the best group.

    The best group is the one with the lowest upper limit of its rate of errors in the other half. All arrays may have
    more axes before that of the groups.
    """
    usable, sizes = (other_counts_A > 0) & (counts_A > 0), np.maximum(other_counts_A, 1)
    rate = other_errors_A.sum(axis=-1, keepdims=True) / other_counts_A.sum(axis=-1, keepdims=True).clip(1)
    limit_A = np.where(usable, other_errors_A / sizes + np.sqrt(rate * (1 - rate) / sizes), np.inf)
    best_A = (limit_A <= limit_A.min(axis=-1, keepdims=True) + TIE) & usable
    num_best = best_A.sum(axis=-1)
    best_rate = (errors_A / np.maximum(counts_A, 1) * best_A).sum(axis=-1) / np.maximum(num_best, 1)
    return np.where(num_best > 0, errors_A.sum(axis=-1) - counts_A.sum(axis=-1) * best_rate, 0.0)


def _checked(
    labels: ArrayLike, attributes: ArrayLike, num_classes: int, num_attributes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    labels_N = checked_indices(labels, "labels", 0, num_classes)
    return labels_N, checked_indices(attributes, "attributes", -1, num_attributes, rows=labels_N.size)
