"""Method "kmeans": one cluster for each attribute. A row belongs to the nearest centre in row-centred logits.

Clusters within classes take their centres from here too.
"""

from collections.abc import Sequence

import numpy as np

from dbpt import arguments
from dbpt._core import assign_nearest, kmeans
from dbpt.pseudo_attributes.base import PseudoMethod
from dbpt.pseudo_attributes.job import Clusters, Job, PseudoAttributes
from dbpt.pseudo_attributes.mixture import Array, best_assignment

N_INIT = 4
MAX_ITER = 500  # rows without clusters need some 300 to converge


class KMeans(PseudoMethod):
    """The nearest of A centres, matched one to one with the attributes."""

    @classmethod
    def label(cls, job: Job) -> PseudoAttributes:
        """Label the rows. The posterior is that of equally weighted spherical Gaussians with the pooled variance."""
        start, num_attributes = _best_of_sample(job), job.logits.shape[1]
        centers, counts, inertia, iterations = kmeans(
            job.logits, start, rows=job.fit_rows, max_iter=MAX_ITER, num_threads=job.num_threads
        )
        centers, counts = centers[counts > 0], counts[counts > 0]
        if len(centers) < num_attributes:
            job.warnings.append(
                f"found {len(centers)} cluster{'s' if len(centers) > 1 else ''} for {num_attributes} attributes, "
                "because too few images differ: no image gets the other attributes"
            )
        if iterations >= MAX_ITER:
            job.warnings.append(f"the centres still moved after {MAX_ITER} iterations")
        names = best_assignment(centers)
        centers_AA, counts_A = np.full((num_attributes, num_attributes), np.inf), np.zeros(num_attributes, np.int64)
        centers_AA[names], counts_A[names] = centers, counts
        variance = inertia / (int(counts.sum()) * (num_attributes - 1))
        assign_nearest(job.logits, centers_AA, variance, **job.assign_arguments)
        return job.result(cls.name, clusters=Clusters(centers_AA, counts_A, inertia, iterations))


def _best_of_sample(job: Job) -> Array:
    """Return centres (k, A) of a sample of the rows."""
    logits_NA = job.sample()
    starts = _starts(logits_NA - logits_NA.mean(axis=1, keepdims=True), logits_NA.shape[1], job.seed)
    return _best_of_starts(logits_NA, starts, job.num_threads)


def centers_of_points(points_ND: Array, number: int, seed: int) -> Array:
    """Return ``number`` centres (K, D) of any points, not only of row-centred ones; fewer if fewer are distinct.

    `_core.kmeans` subtracts the mean of each row. So the points are turned into the hyperplane of D + 1 dimensions in
    which the mean of a row is 0, where all distances are the same.
    """
    width = points_ND.shape[1]
    last = (width + 1) ** -0.5
    turn = np.hstack([np.eye(width) - (1 - last) / width, np.full((width, 1), -last)])
    starts = [start_KD @ turn for start_KD in _starts(points_ND, number, seed)]
    found: Array = _best_of_starts(points_ND @ turn, starts, arguments.num_threads(None)) @ turn.T
    return found


def _starts(points_ND: Array, number: int, seed: int) -> list[Array]:
    """Return the centres from which each run starts."""
    # NumPy promises that a bit generator's stream is stable, but not those of numpy.random.Generator.
    uniform = (np.random.PCG64(seed).random_raw((N_INIT, number)) >> np.uint64(11)) * 2.0**-53
    return [starting_centers(points_ND, uniform_K) for uniform_K in uniform]


def _best_of_starts(rows_NE: Array, starts: Sequence[Array], num_threads: int) -> Array:
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
        rows.append(int(np.searchsorted(running_N, uniform * running_N[-1], side="right").clip(0, len(running_N) - 1)))
    return centred_NA[rows]
