"""Clusters by k-means, one for each attribute: the nearest centre in row-centred logits."""

from __future__ import annotations

import warnings

import numpy as np

from dbpt._core import assign_nearest, kmeans
from dbpt.pseudo_attributes.job import Job, WantedOutputs
from dbpt.pseudo_attributes.matching import best_assignment
from dbpt.pseudo_attributes.result import Clusters, PseudoAttributes
from dbpt.pseudo_attributes.shares import Array

N_INIT = 4
MAX_ITER = 500  # rows without any clusters take some 300 to come to rest


def label(job: Job, wanted: WantedOutputs) -> PseudoAttributes:
    """Label the rows; the posterior is that of equally heavy spherical Gaussians of the pooled variance."""
    outputs = wanted.allocate(job.num_attributes)
    start = _best_of_sample(job)
    centers, counts, inertia, iterations = kmeans(
        job.logits, start, rows=job.fit_rows, max_iter=MAX_ITER, num_threads=job.num_threads
    )
    centers, counts = centers[counts > 0], counts[counts > 0]
    _warn(job, len(centers), iterations)
    names = best_assignment(centers)
    clusters = Clusters(
        np.full((job.num_attributes,) * 2, np.inf), np.zeros(job.num_attributes, np.int64), inertia, iterations
    )
    clusters.centers[names], clusters.counts[names] = centers, counts
    variance = inertia / (int(counts.sum()) * (job.num_attributes - 1))
    assign_nearest(job.logits, clusters.centers, variance, **outputs.arguments(), num_threads=job.num_threads)
    return PseudoAttributes(outputs.labels, outputs.posterior, outputs.confidence, method="kmeans", clusters=clusters)


def _best_of_sample(job: Job) -> Array:
    """(k, A) the centres with the lowest inertia of a few runs on a sample of the rows."""
    logits_NA = job.sample()
    sample = np.ascontiguousarray(logits_NA, np.float32)
    centred_NA = logits_NA - logits_NA.mean(axis=1, keepdims=True)
    # A bit generator's stream is stable by promise, unlike what numpy.random.Generator makes of it.
    uniform = (np.random.PCG64(job.seed).random_raw((N_INIT, job.num_attributes)) >> np.uint64(11)) * 2.0**-53
    runs = [
        kmeans(sample, _starting_centers(centred_NA, uniform_A), max_iter=MAX_ITER, num_threads=job.num_threads)
        for uniform_A in uniform
    ]
    return min(runs, key=lambda run: run[2])[0]


def _starting_centers(centred_NA: Array, uniform_A: Array) -> Array:
    """k-means++ (Arthur and Vassilvitskii, 2007): A rows, or fewer if fewer are distinct.

    Each next one is drawn in proportion to its squared distance from those before.
    """
    rows = [int(uniform_A[0] * len(centred_NA))]
    squares_N = np.full(len(centred_NA), np.inf)
    for uniform in uniform_A[1:]:
        squares_N = np.minimum(squares_N, ((centred_NA - centred_NA[rows[-1]]) ** 2).sum(axis=1))
        running_N = np.cumsum(squares_N)
        if running_N[-1] == 0:
            break
        rows.append(int(np.searchsorted(running_N, uniform * running_N[-1], side="right").clip(0, len(running_N) - 1)))
    return centred_NA[rows]


def _warn(job: Job, found: int, iterations: int) -> None:
    if found < job.num_attributes:
        warnings.warn(
            f"kmeans: found {found} clusters for {job.num_attributes} attributes, as too few rows are distinct: no row "
            "gets the others",
            UserWarning,
            stacklevel=5,
        )
    if iterations >= MAX_ITER:
        warnings.warn(f"kmeans: the centres still moved after {MAX_ITER} iterations", UserWarning, stacklevel=5)
