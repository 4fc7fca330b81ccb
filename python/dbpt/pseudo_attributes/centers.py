"""Centres of clusters: several runs of k-means from k-means++ starts, of which the best counts."""

from collections.abc import Sequence

import numpy as np

from dbpt import arguments
from dbpt._core import kmeans
from dbpt.pseudo_attributes.mixture import Array

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
    starts = [start_KD @ turn for start_KD in starting_points(points_ND, number, seed)]
    found: Array = best_of_starts(points_ND @ turn, starts, arguments.num_threads(None)) @ turn.T
    return found


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
        rows.append(int(np.searchsorted(running_N, uniform * running_N[-1], side="right").clip(0, len(running_N) - 1)))
    return centred_NA[rows]
