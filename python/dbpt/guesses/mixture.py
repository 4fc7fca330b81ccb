"""Mixtures of Gaussians, fitted to logits: the shares of attributes, and whether clusters or two names are apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import lgamma
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = TypeVar("Floats", bound=np.floating[Any])

# When EM stops: the largest number of steps, and the change of a weight. First to choose the number of clusters, then
# for a start from the tail, where the weight may be small.
TO_CHOOSE, TO_START, TO_FIT = (30, 1e-3), (50, 1e-4), (300, 1e-6)
TRUST = 2.0  # scale of the initial logits: a row one standard deviation above the mean counts e^2 to 1
TAIL = 0.005  # of the rows, with which EM starts a cluster of a rare attribute
DEGREES = 8.0  # of freedom of the one heavy-tailed cluster that several Gaussians must beat
RARE = 0.1  # of the rows of a cluster and its neighbour: a rarer cluster may be partly the tail of the neighbour
WIDE = 1.5  # times the common variance, above which it is
BANDWIDTH = 0.8  # of the density in which the gap between two clusters is sought, in common standard deviations
REGULARISATION = 1e-6  # relative to the mean variance


def estimate_shares(logits_NA: Array) -> tuple[Array | None, bool]:
    """Return the estimated shares (A,) of the attributes among the rows, with sum 1, and whether they converged.

    An attribute without a cluster of its own has the share 0. The shares are None if a single cluster describes the
    rows as well as several.

    EM starts with one cluster for each attribute: once of the rows whose logit for it is above its mean, once of those
    near the rows that show it most clearly. It merges the two nearest clusters as long as the Bayesian information
    criterion (BIC; Schwarz, 1978) falls. If one is left, or there are two attributes, EM also starts from the tail of
    each attribute alone, which finds a rare one. The lowest BIC counts, and must be below that of a single heavy-tailed
    cluster. Rare clusters that are too wide give up rows (`without_tails`). The clusters are then matched with
    attributes by their mean logits.
    """
    num_rows, num_attributes = logits_NA.shape
    centred_NA = logits_NA - logits_NA.mean(axis=1, keepdims=True)
    above_NA = centred_NA - centred_NA.mean(axis=0)
    deviation = np.sqrt((above_NA**2).sum() / (num_rows * (num_attributes - 1)))
    if deviation == 0:
        return None, True
    above_NA /= deviation
    # Differences from the last attribute: they remove the common part of a row's logits, and the singular direction.
    points_NW = above_NA[:, :-1] - above_NA[:, -1:]
    starts = [softmax(TRUST * above_NA)[0], _nearest_tail(points_NW, above_NA)]
    best = min((_merged(points_NW, start) for start in starts), key=lambda fit: fit.bic)
    if best.rows_NK.shape[1] == 1 or num_attributes == 2:
        tails = (fit_mixture(points_NW, memberships(tail_N, 2), *TO_START) for tail_N in _tails(above_NA))
        best = min(best, *tails, key=lambda fit: fit.bic)
    best = fit_mixture(points_NW, best.rows_NK, *TO_FIT)
    if best.rows_NK.shape[1] == 1 or best.bic >= bic_of_heavy_tails(points_NW):
        return None, True
    best = without_tails(points_NW, best)
    sizes_K = best.rows_NK.sum(axis=0)
    # Relative to the other clusters: a logit that is large everywhere doesn't distinguish a cluster.
    scores_KA = best.rows_NK.T @ above_NA / sizes_K[:, None]
    shares_A = np.zeros(num_attributes)
    shares_A[best_assignment(scores_KA - scores_KA.mean(axis=0))] = sizes_K / num_rows
    return shares_A, best.converged


@dataclass(frozen=True)
class Mixture:
    """K Gaussians of W dimensions with a common covariance, and the membership of each row in them."""

    rows_NK: Array
    means_KW: Array
    precision_WW: Array
    bic: float
    converged: bool


def fit_mixture(points_NW: Array, rows_NK: Array, max_steps: int, tolerance: float) -> Mixture:
    """Fit points of mean 0 by EM (McLachlan and Peel, "Finite Mixture Models", 2000, section 3.9.2)."""
    num_rows, width = points_NW.shape
    total_WW = points_NW.T @ points_NW / num_rows
    sizes_K = rows_NK.sum(axis=0)
    for _ in range(max_steps):
        weights_K = sizes_K / num_rows
        means_KW = rows_NK.T @ points_NW / (num_rows * weights_K)[:, None]
        covariance_WW = total_WW - (means_KW.T * weights_K) @ means_KW
        # Without it the covariance is singular for equal columns or few rows.
        covariance_WW += REGULARISATION * np.trace(total_WW) / width * np.eye(width)
        precision_WW = np.linalg.inv(covariance_WW)
        towards_WK = precision_WW @ means_KW.T
        constants_K = np.log(weights_K) - 0.5 * (means_KW.T * towards_WK).sum(axis=0)
        rows_NK, log_densities_N = softmax(points_NW @ towards_WK + constants_K)
        sizes_K = rows_NK.sum(axis=0)
        converged = bool(np.abs(sizes_K / num_rows - weights_K).max() <= tolerance)
        # The mean of a cluster without rows would be 0 / 0.
        if (dead := sizes_K < 1e-6).any():
            rows_NK, sizes_K, converged = rows_NK[:, ~dead], sizes_K[~dead], False
        if converged:
            break
    squares = float(((points_NW @ precision_WW) * points_NW).sum(axis=1).mean())
    constant = -0.5 * float(np.linalg.slogdet(2 * np.pi * covariance_WW)[1])
    log_likelihood = num_rows * (float(log_densities_N.mean()) - 0.5 * squares + constant)
    k = len(weights_K)
    bic = -2 * log_likelihood + (k * width + k - 1) * np.log(num_rows)
    return Mixture(rows_NK, means_KW, precision_WW, bic, converged)


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


def _merged(points_NW: Array, start_NK: Array) -> Mixture:
    """Fit from a start, and merge the two nearest clusters as long as the BIC falls."""
    best = fit_mixture(points_NW, start_NK, *TO_CHOOSE)
    while best.rows_NK.shape[1] > 1:
        fewer = fit_mixture(points_NW, _with_nearest_joined(best), *TO_CHOOSE)
        if fewer.bic > best.bic:  # if equal, fewer clusters do
            break
        best = fewer
    return best


def _nearest_tail(points_NW: Array, above_NA: Array) -> Array:
    """Return memberships of each row in the name whose `_tails` is nearest, so that several names can be rare."""
    tails_AN = _tails(above_NA)
    centres_AW = tails_AN @ points_NW / tails_AN.sum(axis=1, keepdims=True)
    nearest_N = (points_NW @ centres_AW.T - 0.5 * (centres_AW**2).sum(axis=1)).argmax(axis=1)
    return memberships(nearest_N, len(centres_AW))


def memberships(clusters_N: NDArray[np.int64], number: int) -> Array:
    """Return memberships (N, K) in ``number`` clusters, nearly all of each row's in its own."""
    return np.asarray(0.98 * np.eye(number)[clusters_N] + 0.02 / number)


def gain_of_clusters(points_NW: Array, clusters_N: NDArray[np.int64], number: int) -> float:
    """Return half the difference in BIC of one Gaussian and of ``number``, which start as the clusters (N,)."""
    one = fit_mixture(points_NW, np.ones((len(points_NW), 1)), 1, 0.0)
    return (one.bic - fit_mixture(points_NW, memberships(clusters_N, number), 300, 1e-4).bic) / 2


def _tails(above_NA: Array) -> NDArray[np.int64]:
    """Return (A, N), 1 for the rows that show a name most clearly, and 0 for all others."""
    num_rows, num_attributes = above_NA.shape
    others_AN = np.stack([np.delete(above_NA, name, axis=1).max(axis=1) for name in range(num_attributes)])
    margins_AN, rank = above_NA.T - others_AN, max(1, round(TAIL * num_rows))
    return np.asarray(margins_AN >= np.partition(margins_AN, -rank)[:, -rank, None], np.int64)


def bic_of_heavy_tails(points_NW: Array) -> float:
    """Return the BIC of a single t distribution, fitted by EM (McLachlan and Peel, section 7.5)."""
    num_rows, width = points_NW.shape
    weights_N = np.ones(num_rows)
    for _ in range(30):
        mean_W = weights_N @ points_NW / weights_N.sum()
        centred_NW = points_NW - mean_W
        scale_WW = (centred_NW.T * weights_N) @ centred_NW / weights_N.sum()
        scale_WW += REGULARISATION * np.trace(points_NW.T @ points_NW / num_rows) / width * np.eye(width)
        squares_N = ((centred_NW @ np.linalg.inv(scale_WW)) * centred_NW).sum(axis=1)
        weights_N = (DEGREES + width) / (DEGREES + squares_N)
    constant = lgamma((DEGREES + width) / 2) - lgamma(DEGREES / 2)
    constant -= 0.5 * float(np.linalg.slogdet(DEGREES * np.pi * scale_WW)[1])
    log_likelihood = num_rows * constant - 0.5 * (DEGREES + width) * float(np.log1p(squares_N / DEGREES).sum())
    return float(-2 * log_likelihood + width * np.log(num_rows))


def without_tails(points_NW: Array, mixture: Mixture) -> Mixture:
    """Return the mixture after moving the tail of a large cluster out of the small one that it was counted to.

    The common covariance makes a rare cluster too large if its neighbour has a heavier tail than a Gaussian. The small
    cluster is then wider than the others. It keeps the rows beyond the gap, where the density of both is lowest.
    """
    rows_NK, sizes_K = mixture.rows_NK.copy(), mixture.rows_NK.sum(axis=0)
    for small in np.argsort(sizes_K)[:-1].tolist():
        to_others_KW = mixture.means_KW[small] - mixture.means_KW
        distances_K = np.sqrt(((to_others_KW @ mixture.precision_WW) * to_others_KW).sum(axis=1))
        distances_K[sizes_K <= sizes_K[small]] = np.inf
        large = int(distances_K.argmin())
        if not np.isfinite(distances_K[large]) or sizes_K[small] > RARE * (sizes_K[small] + sizes_K[large]):
            continue
        # The direction that parts the two best, in common standard deviations from the centre of the large one.
        towards_W = mixture.precision_WW @ to_others_KW[large] / distances_K[large]
        along_N = (points_NW - mixture.means_KW[large]) @ towards_W
        own_N = rows_NK[:, small]
        variance = float(own_N @ (along_N - distances_K[large]) ** 2 / sizes_K[small])
        if variance > max(WIDE, 1 + 3 * np.sqrt(2 / sizes_K[small])):
            gap, _ = lowest_density(along_N, own_N + rows_NK[:, large], float(distances_K[large]), BANDWIDTH)
            moved_N = np.where(along_N < gap, own_N, 0.0)
            rows_NK[:, small] -= moved_N
            rows_NK[:, large] += moved_N
            mixture = replace(mixture, rows_NK=rows_NK)
    return mixture


def lowest_density(points_N: Array, weights_N: Array, end: float, bandwidth: float) -> tuple[float, float]:
    """Return where between 0 and ``end`` the smoothed density is lowest, and its ratio to the lower of both ends."""
    counts_B, edges = np.histogram(points_N, 1000, weights=weights_N)
    grid_G = np.linspace(0, end, 101)
    differences_GB = (grid_G[:, None] - (edges[1:] + edges[:-1]) / 2) / bandwidth
    density_G = np.exp(-0.5 * differences_GB**2) @ counts_B
    lowest = int(density_G.argmin())
    return float(grid_G[lowest]), float(density_G[lowest] / min(density_G[0], density_G[-1]))


def softmax(scores_NK: NDArray[Floats]) -> tuple[NDArray[Floats], NDArray[Floats]]:
    """Return the softmax of each row, and the logarithm of the sum of its exponentials."""
    largest_N = reduce(np.maximum, scores_NK.T)  # column by column: NumPy reduces many short rows slowly
    exponentials_NK = np.exp(scores_NK - largest_N[:, None])
    sums_N = reduce(np.add, exponentials_NK.T)
    return exponentials_NK / sums_N[:, None], largest_N + np.log(sums_N)


FEWEST_OF_CLASS = 50  # to describe their logits alone
SHRINKAGE = 5  # rows
RARE_NAME = 0.1  # of the images that are guessed a name or its rival
GAP_BANDWIDTH = 0.5  # in standard deviations of the rival's images


def separations(
    logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return the separation of each name in use and the one most like it, by their names."""
    by_pair = dict[tuple[str, str], float]()
    for name, rival in _rivals(logits_NA, guesses).items():
        pair = names[min(name, rival)], names[max(name, rival)]
        if pair not in by_pair:
            rows = (guesses == name) | (guesses == rival)
            points = logits_NA[rows, name].astype(np.float64) - logits_NA[rows, rival]
            by_pair[pair] = _two_modes(points, guesses[rows] == name, labels[rows])
    return by_pair


def gap_densities(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Return the density of images in the gap between each rare name and its rival, relative to that at the rare name.

    Both are of the difference of their logits. The centres are the medians of the images that are guessed either. If
    there is no gap, the images of the rare name are no more than the tail of its rival's, and the figure is near 1.
    """
    densities = dict[str, float]()
    for name, rival in _rivals(logits_NA, guesses).items():
        margins_N = logits_NA[:, name].astype(np.float64) - logits_NA[:, rival]
        own, others = margins_N[guesses == name], margins_N[guesses == rival]
        if len(own) < RARE_NAME * (len(own) + len(others)) and others.std() > 0:
            points_N = (np.concatenate([own, others]) - np.median(others)) / others.std()
            end = float(np.median(own) - np.median(others)) / others.std()
            densities[names[name]] = lowest_density(points_N, np.ones(len(points_N)), end, GAP_BANDWIDTH)[1]
    return densities


def _rivals(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64]) -> dict[int, int]:
    """Return each name in use and the one that most of its images are nearest to otherwise; none if one is in use."""
    used = np.unique(guesses)
    if len(used) < 2:
        return {}
    rivals = dict[int, int]()
    for name in used.tolist():
        others = used[used != name]
        rivals[name] = int(others[np.bincount(logits_NA[guesses == name][:, others].argmax(axis=1)).argmax()])
    return rivals


def _two_modes(points_N: NDArray[np.floating[Any]], is_first_N: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Return half the difference in BIC, per row, of two Gaussians and of one."""
    classes = np.flatnonzero(np.bincount(labels) >= FEWEST_OF_CLASS)
    if not classes.size:  # then all classes together, without what the class adds to the points of a guess
        means = np.where(is_first_N, points_N[is_first_N].mean(), points_N[~is_first_N].mean())
        points_N = means + within_class((points_N - means)[:, None], labels)[:, 0]
        labels, classes = np.zeros_like(labels), np.array([0])
    gain, num_rows = 0.0, 0
    for label in classes:
        rows = labels == label
        points = (points_N[rows] - points_N[rows].mean())[:, None]
        num_rows += len(points)
        if points.any():
            gain += gain_of_clusters(points, 1 - is_first_N[rows], 2)
    return float(gain / num_rows)


def within_class(values_NA: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
    """Return the values minus the mean of their class, which is shrunk to that of all rows if the class has few."""
    values_NA = values_NA - values_NA.mean(axis=0)
    sums = np.stack([np.bincount(labels, column) for column in values_NA.T], axis=1)
    within: NDArray[np.floating[Any]] = values_NA - (sums / (np.bincount(labels)[:, None] + SHRINKAGE))[labels]
    return within


def best_assignment(scores: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return a different column for each row, with the largest sum of scores; needs rows <= columns."""
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(scores, maximize=True)[1], np.int64)
