"""Method "kmeans": one cluster for each attribute. A row belongs to the nearest centre in row-centred logits."""

import numpy as np

from dbpt import arguments
from dbpt._core import assign_nearest, kmeans
from dbpt.pseudo_attributes.job import Clusters, Job, PseudoAttributes
from dbpt.pseudo_attributes.mixture import Array, best_assignment

N_INIT = 4
MAX_ITER = 500  # rows without clusters need some 300 to converge


def kmeans_labels(job: Job) -> PseudoAttributes:
    """Label the rows. The posterior is that of equally weighted spherical Gaussians with the pooled variance."""
    start, num_attributes = _best_of_sample(job), job.logits.shape[1]
    centers, counts, inertia, iterations = kmeans(
        job.logits, start, rows=job.fit_rows, max_iter=MAX_ITER, num_threads=job.num_threads
    )
    centers, counts = centers[counts > 0], counts[counts > 0]
    if len(centers) < num_attributes:
        job.warnings.append(
            f"found {len(centers)} clusters for {num_attributes} attributes, because too few rows are distinct: no row "
            "gets the other attributes"
        )
    if iterations >= MAX_ITER:
        job.warnings.append(f"the centres still moved after {MAX_ITER} iterations")
    names = best_assignment(centers)
    centers_AA, counts_A = np.full((num_attributes, num_attributes), np.inf), np.zeros(num_attributes, np.int64)
    centers_AA[names], counts_A[names] = centers, counts
    variance = inertia / (int(counts.sum()) * (num_attributes - 1))
    assign_nearest(job.logits, centers_AA, variance, **job.assign_arguments)
    return job.result("kmeans", clusters=Clusters(centers_AA, counts_A, inertia, iterations))


def _best_of_sample(job: Job) -> Array:
    """Return centres (k, A) of a sample of the rows."""
    logits_NA = job.sample()
    centred_NA = logits_NA - logits_NA.mean(axis=1, keepdims=True)
    return _best_of_starts(logits_NA, centred_NA, logits_NA.shape[1], job.seed, job.num_threads)


def centers_of_points(points_ND: Array, number: int, seed: int) -> Array:
    """Return ``number`` centres (K, D) of any points, of which nothing is subtracted; fewer if fewer are distinct.

    `_core.kmeans` subtracts the mean of each row. So the points are turned into the hyperplane of D + 1 dimensions in
    which the mean of a row is 0. Distances stay the same.
    """
    width = points_ND.shape[1]
    turn = np.hstack([np.eye(width) - (1 - (width + 1) ** -0.5) / width, np.full((width, 1), -((width + 1) ** -0.5))])
    turned_NE: Array = points_ND @ turn
    found: Array = _best_of_starts(turned_NE, turned_NE, number, seed, arguments.num_threads(None)) @ turn.T
    return found


def _best_of_starts(rows_NE: Array, centred_NE: Array, number: int, seed: int, num_threads: int) -> Array:
    """Return centres (k, E), the best by inertia of `N_INIT` runs on rows, which are also given row-centred."""
    single = np.ascontiguousarray(rows_NE, np.float32)
    # NumPy promises that a bit generator's stream is stable, but not those of numpy.random.Generator.
    uniform = (np.random.PCG64(seed).random_raw((N_INIT, number)) >> np.uint64(11)) * 2.0**-53
    runs = [
        kmeans(single, starting_centers(centred_NE, uniform_K), max_iter=MAX_ITER, num_threads=num_threads)
        for uniform_K in uniform
    ]
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
