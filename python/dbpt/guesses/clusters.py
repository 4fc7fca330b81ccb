"""Clusters within each class as pseudo attributes: what its images differ in besides the class, without words.

After Sohoni et al., "No Subclass Left Behind" (GEORGE, NeurIPS 2020): clusters of features within each class serve as
groups, their number by the silhouette. We cluster the frozen features of CLIP without the direction of the class, by
k-means instead of a Gaussian mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt._core import kmeans
from dbpt.cautions import Caution, caution
from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError, classes_in_words
from dbpt.groups.ids import evenly_spaced
from dbpt.guesses.mixture import Array, gain_of_clusters, softmax

METHOD = "clusters"
NUMBERS = (2, 3, 4, 5)
"""From which the silhouette chooses."""
MOST_ROWS_OF_CLASS = 20_000  # of a class, to fit on
MOST_COMPARED = 500  # of a class, for the silhouette
DISTINCT = 0.05
"""Clusters with a lower separation are in doubt."""
FEWEST_ROWS = 50
"""Images of a class from which its separation is judged."""


@dataclass(frozen=True, eq=False)
class ClassClusters:
    """K clusters within each of C classes. The likeliest of a row with features f is the largest of weights · f + bias.

    - ``weights`` (C, K, D) and ``biases`` (C, K) float32: their softmax is the posterior under spherical Gaussians with
      equal shares. The largest is the nearest centre.
    - ``separation`` (C,): by how much K Gaussians describe half of the rows better than one, along the centres of the
      other half: half the difference of their BIC, per row, the mean of both halves. Rarely above 0 for a single
      Gaussian. NaN for a class with fewer than 50 rows, or too few different ones.
    - ``names`` (C, K).
    """

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    separation: NDArray[np.float64]
    names: tuple[tuple[str, ...], ...]

    def posterior(
        self, features: NDArray[np.float32] | StoredFeatures, labels: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the probabilities (N, K) of the clusters of each row's class."""
        posterior_NK = np.empty((len(features), self.biases.shape[1]), np.float32)
        for label, (weights_KD, bias_K) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = np.flatnonzero(labels == label)
            for part in np.array_split(rows, -(-len(rows) // MOST_ROWS_OF_CLASS) or 1):
                posterior_NK[part] = softmax(features[part] @ weights_KD.T + bias_K)[0]
        return posterior_NK

    def named(self, words: Sequence[str], texts: NDArray[np.float32]) -> "ClassClusters":
        """Return them with the two words each that are nearer to a cluster than to the rest of its class.

        ``texts`` (P, D) are the text features of the ``words`` (P,).
        """
        names = []
        for weights_KD in self.weights:
            nearest_KP = np.argsort(-(weights_KD - weights_KD.mean(axis=0)) @ texts.T, axis=1, kind="stable")
            names.append(tuple(f"{k + 1}: {words[p]}, {words[q]}" for k, (p, q, *_) in enumerate(nearest_KP.tolist())))
        return replace(self, names=tuple(names))

    def doubts(self, class_names: Sequence[str]) -> list[Caution]:
        """Return why the clusters may be none."""
        separation = list(zip(class_names, self.separation.tolist(), strict=True))
        doubts = []
        if unsure := [name for name, value in separation if value < DISTINCT]:
            lowest = max(float(np.nanmin(self.separation)), 0.0)
            doubts.append(caution("no clusters", classes=classes_in_words(unsure), value=lowest, limit=DISTINCT))
        if few := [name for name, value in separation if np.isnan(value)]:
            doubts.append(caution("few different images", classes=classes_in_words(few), limit=FEWEST_ROWS))
        return doubts


def find_class_clusters(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_weights: NDArray[np.float32],
    class_names: Sequence[str],
    number: int,
) -> ClassClusters:
    """Find clusters in each class.

    Args:
        features: (N, D) of the rows to fit on.
        labels: (N,) class index.
        class_weights: (C, D) of the zero-shot classifier.
        class_names: (C,).
        number: of clusters in each class; 0 takes as many as have the largest mean silhouette.

    Raises:
        InputError: for a class with too few distinct rows.
    """
    points, means = [], []
    for label in range(len(class_names)):
        rows = evenly_spaced(np.flatnonzero(labels == label), MOST_ROWS_OF_CLASS)
        of_class = features[rows].astype(np.float64)
        if (distinct := len(np.unique(of_class, axis=0))) < max(number, 2):
            images = "image" if distinct == 1 else "images"
            raise InputError(
                f"--attributes clusters: class {class_names[label]!r} has {distinct} different {images} to fit on, too "
                f"few for {max(number, 2)} clusters; add training or validation images, or name attributes"
            )
        means.append(of_class.mean(axis=0))
        direction = (class_weights[label] - class_weights.mean(axis=0)).astype(np.float64)
        direction /= max(float(np.linalg.norm(direction)), 1e-12)
        of_class -= means[-1]
        # Clusters should not follow how much an image looks like its class, so that direction is left out.
        points.append(of_class - np.outer(of_class @ direction, direction))
    if not number:
        fitting = [k for k in NUMBERS if k == NUMBERS[0] or all(k < len(of_class) for of_class in points)]
        number = max(fitting, key=lambda k: np.mean([_silhouette(of_class, k) for of_class in points]))
    fits = (_of_class(of_class, mean, number) for of_class, mean in zip(points, means, strict=True))
    weights, biases, separation = zip(*fits, strict=True)
    names = (tuple(f"{k + 1}" for k in range(number)),) * len(class_names)
    return ClassClusters(np.stack(weights), np.stack(biases), np.array(separation), names)


def _of_class(points_ND: Array, mean_D: Array, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Return weights (K, D), biases (K,) and separation of the clusters of a class around its mean."""
    centers_KD, clusters_N = _kmeans(points_ND, number)
    axes = np.linalg.svd(centers_KD - centers_KD.mean(axis=0), full_matrices=False)[2][: number - 1]
    along_NW = points_ND @ axes.T
    within = along_NW - (centers_KD @ axes.T)[clusters_N]
    variance = max(float((within**2).mean()), 1e-12)
    weights_KD = centers_KD / variance
    biases_K = -(weights_KD @ mean_D) - (centers_KD**2).sum(axis=1) / (2 * variance)
    separation = _separation(points_ND, number) if len(points_ND) >= FEWEST_ROWS else np.nan
    return weights_KD.astype(np.float32), biases_K.astype(np.float32), separation


def _separation(points_ND: Array, number: int) -> float:
    """Return the `ClassClusters.separation` of a class.

    k-means splits even a single Gaussian, and in many dimensions its centres are apart along the noise of the rows that
    it was fitted on. Other rows don't share this noise.
    """
    shuffled = np.argsort(np.random.PCG64(0).random_raw(len(points_ND)), kind="stable")
    one, other = points_ND[shuffled[::2]], points_ND[shuffled[1::2]]
    return (_held_out_separation(one, other, number) + _held_out_separation(other, one, number)) / 2


def _held_out_separation(fitted_ND: Array, held_MD: Array, number: int) -> float:
    """Return by how much clusters describe some rows better than one Gaussian, along the centres of other rows."""
    centers_KD, _ = _kmeans(fitted_ND, number)
    number = len(centers_KD)
    axes = np.linalg.svd(centers_KD - centers_KD.mean(axis=0), full_matrices=False)[2][: number - 1]
    along_MW = (held_MD - held_MD.mean(axis=0)) @ axes.T
    if (along_MW**2).sum() < 1e-12:  # one half has fewer than two different rows
        return np.nan
    return gain_of_clusters(along_MW, _nearest(held_MD, centers_KD), number) / len(along_MW)


def _kmeans(points_ND: Array, number: int) -> tuple[Array, NDArray[np.int64]]:
    """Return centres (K, D), the one of most rows first, and the cluster of each row."""
    centers_KD = centers_of_points(points_ND, number, seed=number)  # fewer if fewer rows are distinct
    clusters_N = _nearest(points_ND, centers_KD)
    order = np.argsort(-np.bincount(clusters_N, minlength=len(centers_KD)), kind="stable")
    return centers_KD[order], np.argsort(order)[clusters_N]


def _nearest(points_ND: Array, centers_KD: Array) -> NDArray[np.int64]:
    # The row's own square is the same for all centres.
    return np.asarray((points_ND @ centers_KD.T - (centers_KD**2).sum(axis=1) / 2).argmax(axis=1))


def _silhouette(points_ND: Array, number: int) -> float:
    """Return the mean silhouette (Rousseeuw, 1987) of some rows: how much nearer their own cluster is than the next."""
    _, clusters_N = _kmeans(points_ND, number)
    rows = evenly_spaced(np.arange(len(points_ND)), MOST_COMPARED)
    points_ND, clusters_N = points_ND[rows], clusters_N[rows]
    squares_N = (points_ND**2).sum(axis=1)
    distances_NN = np.sqrt((squares_N[:, None] + squares_N - 2 * points_ND @ points_ND.T).clip(0))
    counts_K, own = np.bincount(clusters_N, minlength=number), np.eye(number, dtype=bool)[clusters_N]
    sums_NK = distances_NN @ own
    within_N = sums_NK[own] / (counts_K[clusters_N] - 1).clip(1)
    others_NK = np.where(own | (counts_K == 0), np.inf, sums_NK / counts_K.clip(1))
    nearest_N = others_NK.min(axis=1)
    if not np.isfinite(nearest_N).all():  # the sample lies in one cluster
        return 0.0
    larger_N = np.maximum(within_N, nearest_N)
    scores_N = np.where(counts_K[clusters_N] > 1, (nearest_N - within_N) / np.where(larger_N > 0, larger_N, 1), 0)
    return float(scores_N.mean())


N_INIT = 4
MAX_ITER = 500  # rows without clusters need some 300 to converge


def centers_of_points(points_ND: Array, number: int, seed: int) -> Array:
    """Return ``number`` centres (K, D) of any points, not only of row-centred ones; fewer if fewer are distinct.

    `_core.kmeans` subtracts the mean of each row. So the points are turned into the hyperplane of D + 1 dimensions in
    which the mean of a row is 0, where all distances are the same.
    """
    width = points_ND.shape[1]
    last = (width + 1) ** -0.5
    turn = np.hstack([np.eye(width) - (1 - last) / width, np.full((width, 1), -last)])
    # Drawn before the turn, because equal rows may differ in their last bits after it.
    starts = [start_KD @ turn for start_KD in starting_points(points_ND, number, seed)]
    return np.asarray(best_of_starts(points_ND @ turn, starts, arguments.num_threads(None)) @ turn.T)


def starting_points(points_ND: Array, number: int, seed: int) -> list[Array]:
    """Return the centres from which each run starts."""
    # NumPy promises that a bit generator's stream is stable, but not those of numpy.random.Generator.
    uniform = (np.random.PCG64(seed).random_raw((N_INIT, number)) >> np.uint64(11)) * 2.0**-53
    return [starting_centers(points_ND, uniform_K) for uniform_K in uniform]


def best_of_starts(rows_NE: Array, starts: Sequence[Array], num_threads: int) -> Array:
    """Return centres (k, E), those of the run with the lowest inertia."""
    single = np.ascontiguousarray(rows_NE, np.float32)
    runs = [kmeans(single, start, max_iter=MAX_ITER, num_threads=num_threads) for start in starts]
    return min(runs, key=lambda run: run[2])[0]


def starting_centers(centred_NA: Array, uniform_A: Array) -> Array:
    """Draw A rows by k-means++ (Arthur and Vassilvitskii, 2007), or fewer if fewer are distinct."""
    rows = [int(uniform_A[0] * len(centred_NA))]
    squares_N = np.full(len(centred_NA), np.inf)
    for uniform in uniform_A[1:]:
        squares_N = np.minimum(squares_N, ((centred_NA - centred_NA[rows[-1]]) ** 2).sum(axis=1))
        running_N = np.cumsum(squares_N)
        if running_N[-1] == 0:
            break
        # Rounding can put the draw beyond the last row, which clip undoes.
        rows.append(int(np.searchsorted(running_N, uniform * running_N[-1], side="right").clip(0, len(running_N) - 1)))
    return centred_NA[rows]
