"""Clusters by k-means: the nearest centre in row-centred logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt._core import assign_centers, kmeans
from dbpt.pseudo_attributes.contrasts import contrast_matrix
from dbpt.pseudo_attributes.job import Job, Outputs, Part
from dbpt.pseudo_attributes.result import Clustering

MAX_ITER = 500  # rows without any clusters take some 300 to come to rest
N_INIT = 4
_SMALLEST = 1e-30  # so that clusters without any spread have a likelihood too


@dataclass(frozen=True)
class KMeansModel:
    """The method "kmeans", for `clustering.label`."""

    name = "kmeans"

    def fit(self, job: Job, part: Part, k: int) -> KMeansFit:
        """The best of a few runs of Lloyd's algorithm."""
        centers, counts, inertia, iterations = kmeans(
            job.logits,
            min(k, part.num_rows),
            contrasts=True,
            rows=part.rows,
            seed=job.seed,
            max_iter=MAX_ITER,
            n_init=N_INIT,
            num_threads=job.num_threads,
        )
        return KMeansFit(centers, counts, inertia, iterations)


@dataclass(frozen=True)
class KMeansFit:
    """k clusters of M rows in W = A - 1 contrasts."""

    centers: NDArray[np.float64]
    counts: NDArray[np.int64]
    inertia: float
    iterations: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(k,) by which clusters are numbered."""
        return self.counts

    @property
    def converged(self) -> bool:
        """Whether the last pass changed no label."""
        return self.iterations < MAX_ITER

    @property
    def variance(self) -> float:
        """The pooled variance in one direction."""
        return self.inertia / (int(self.counts.sum()) * int(self.centers.shape[1]))

    def bic(self) -> float:
        """The Bayesian information criterion of X-means (Pelleg and Moore, 2000), the smaller the better.

        Clusters are spherical Gaussians of one variance, with their shares of the rows as weights.
        """
        (k, width), rows = map(int, self.centers.shape), int(self.counts.sum())
        variance = max(self.variance, _SMALLEST)
        log_likelihood = float((self.counts * np.log(self.counts / rows)).sum())
        log_likelihood -= rows * width / 2 * (math.log(2 * math.pi * variance) + 1)
        return -2 * log_likelihood + (k - 1 + k * width + 1) * math.log(rows)

    def assign(self, job: Job, part: Part, names: NDArray[np.int64], outputs: Outputs) -> Clustering:
        """Label the rows; the posterior is that of equally heavy spherical Gaussians of the pooled variance."""
        assign_centers(
            job.logits,
            self.centers,
            self.variance,
            contrasts=True,
            rows=part.rows,
            names=names,
            **outputs.arguments(),
            num_threads=job.num_threads,
        )
        return Clustering(
            label=part.label,
            cluster_names=names,
            counts=self.counts,
            centers=self.centers @ contrast_matrix(job.num_attributes),
            iterations=self.iterations,
            converged=self.converged,
            inertia=self.inertia,
        )
