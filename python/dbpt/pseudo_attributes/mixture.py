"""Estimate the share of each attribute as the weights of a mixture of Gaussians with a common covariance.

The mixture depends on the clusters of the rows, not on CLIP's threshold: shifting the logits of an attribute, or
scaling all logits, doesn't change a share. The EM for prior shift (Saerens, Latinne and Decaestecker, 2002) trusts the
softmax of the logits, so it mistakes a wrong threshold for a rare attribute. docs/pseudo_attributes.md compares both.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = TypeVar("Floats", bound=np.floating[Any])

# When EM stops: the largest number of steps, and the change of a weight. First to choose the number of clusters.
TO_CHOOSE, TO_FIT = (30, 1e-3), (300, 1e-6)
TRUST = 2.0  # scale of the initial logits: a row one standard deviation above the mean counts e^2 to 1
REGULARISATION = 1e-6  # relative to the mean variance


@dataclass(frozen=True)
class EstimatedShares:
    """Shares with sum 1, 0 for an attribute without a cluster of its own; and the ``steps`` of the last fit.

    ``num_clusters`` is 1 if no two attributes can be told apart.
    """

    shares_A: Array
    num_clusters: int
    steps: int
    converged: bool


def estimate_shares(logits_NA: Array) -> EstimatedShares:
    """Estimate the shares of the attributes among the rows.

    EM starts with one cluster for each attribute, of the rows whose logit for it is above its mean. It merges the two
    nearest clusters as long as the Bayesian information criterion (Schwarz, 1978) falls. The remaining clusters are
    matched with attributes by their mean logits.
    """
    num_rows, num_attributes = logits_NA.shape
    centred_NA = logits_NA - logits_NA.mean(axis=1, keepdims=True)
    above_NA = centred_NA - centred_NA.mean(axis=0)
    deviation = np.sqrt((above_NA**2).sum() / (num_rows * (num_attributes - 1)))
    if deviation == 0:
        return EstimatedShares(np.eye(num_attributes)[0], 1, 0, True)
    above_NA /= deviation
    # Differences from the last attribute: they remove the common part of a row's logits, and the singular direction.
    points_NW = above_NA[:, :-1] - above_NA[:, -1:]
    rows_NK = softmax(TRUST * above_NA)[0]
    best = fit_mixture(points_NW, rows_NK, *TO_CHOOSE)
    while best.rows_NK.shape[1] > 1:
        fewer = fit_mixture(points_NW, _with_nearest_joined(best), *TO_CHOOSE)
        if fewer.bic > best.bic:
            break
        best = fewer
    best = fit_mixture(points_NW, best.rows_NK, *TO_FIT)
    sizes_K = best.rows_NK.sum(axis=0)
    # Relative to the other clusters: a logit that is large everywhere doesn't distinguish a cluster.
    scores_KA = best.rows_NK.T @ above_NA / sizes_K[:, None]
    shares_A = np.zeros(num_attributes)
    shares_A[best_assignment(scores_KA - scores_KA.mean(axis=0))] = sizes_K / num_rows
    return EstimatedShares(shares_A, len(sizes_K), best.steps, best.converged)


@dataclass(frozen=True)
class Mixture:
    """K Gaussians of W dimensions with a common covariance, and the membership of each row in them."""

    rows_NK: Array
    means_KW: Array
    precision_WW: Array
    bic: float
    steps: int
    converged: bool


def fit_mixture(points_NW: Array, rows_NK: Array, max_steps: int, tolerance: float) -> Mixture:
    """Fit points of mean 0 by EM (McLachlan and Peel, "Finite Mixture Models", 2000, section 3.9.2)."""
    num_rows, width = points_NW.shape
    total_WW = points_NW.T @ points_NW / num_rows
    steps, converged, sizes_K = 0, False, rows_NK.sum(axis=0)
    while steps < max_steps and not converged:
        weights_K = sizes_K / num_rows
        means_KW = rows_NK.T @ points_NW / (num_rows * weights_K)[:, None]
        covariance_WW = total_WW - (means_KW.T * weights_K) @ means_KW
        covariance_WW += REGULARISATION * np.trace(total_WW) / width * np.eye(width)
        precision_WW = np.linalg.inv(covariance_WW)
        towards_WK = precision_WW @ means_KW.T
        constants_K = np.log(weights_K) - 0.5 * (means_KW.T * towards_WK).sum(axis=0)
        rows_NK, log_densities_N = softmax(points_NW @ towards_WK + constants_K)
        sizes_K = rows_NK.sum(axis=0)
        moved = np.abs(sizes_K / num_rows - weights_K).max()
        steps, converged = steps + 1, bool(moved <= tolerance)
        if (dead := sizes_K < 1e-6).any():
            rows_NK, sizes_K, converged = rows_NK[:, ~dead], sizes_K[~dead], False
    squares = float(((points_NW @ precision_WW) * points_NW).sum(axis=1).mean())
    constant = -0.5 * float(np.linalg.slogdet(2 * np.pi * covariance_WW)[1])
    log_likelihood = num_rows * (float(log_densities_N.mean()) - 0.5 * squares + constant)
    k = len(weights_K)
    bic = -2 * log_likelihood + (k * width + k - 1) * np.log(num_rows)
    return Mixture(rows_NK, means_KW, precision_WW, bic, steps, converged)


def _with_nearest_joined(mixture: Mixture) -> Array:
    """Return the memberships after merging the two clusters with the nearest means, by the common covariance."""
    products_KK = mixture.means_KW @ mixture.precision_WW @ mixture.means_KW.T
    squares_K = np.diag(products_KK)
    distances_KK = squares_K[:, None] + squares_K - 2 * products_KK
    np.fill_diagonal(distances_KK, np.inf)
    first, second = sorted(divmod(int(distances_KK.argmin()), len(squares_K)))
    joined_NK = mixture.rows_NK.copy()
    joined_NK[:, first] += joined_NK[:, second]
    return np.delete(joined_NK, second, axis=1)


def softmax(scores_NK: NDArray[Floats]) -> tuple[NDArray[Floats], NDArray[Floats]]:
    """Return the softmax of each row, and the logarithm of the sum of its exponentials."""
    largest_N = reduce(np.maximum, scores_NK.T)  # column by column: NumPy reduces many short rows slowly
    exponentials_NK = np.exp(scores_NK - largest_N[:, None])
    sums_N = reduce(np.add, exponentials_NK.T)
    return exponentials_NK / sums_N[:, None], largest_N + np.log(sums_N)


def best_assignment(scores: Array) -> NDArray[np.int64]:
    """Return a different column for each row, with the largest sum of scores; needs rows <= columns.

    The Hungarian algorithm by shortest augmenting paths (Jonker and Volgenant, 1987), O(rows² · columns).
    """
    rows, columns = scores.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    row_of = np.full(columns + 1, -1)  # the last column is the root of each search
    for row in range(rows):
        distance, previous = np.full(columns, np.inf), np.full(columns, columns)
        done = np.zeros(columns + 1, dtype=bool)
        column, row_of[columns] = columns, row
        while row_of[column] >= 0:
            done[column] = True
            at = row_of[column]
            reduced = -scores[at] - row_price[at] - column_price[:columns]
            shorter = ~done[:columns] & (reduced < distance)
            distance[shorter], previous[shorter] = reduced[shorter], column
            step = np.where(done[:columns], np.inf, distance)
            column = int(step.argmin())
            row_price[row_of[done]] += step[column]
            column_price[done] -= step[column]
            distance[~done[:columns]] -= step[column]
        while column != columns:
            row_of[column] = row_of[previous[column]]
            column = int(previous[column])
    assigned = np.empty(rows, dtype=np.int64)
    used = np.flatnonzero(row_of[:columns] >= 0)
    assigned[row_of[used]] = used
    return assigned
