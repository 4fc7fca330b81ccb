"""Clusters by a mixture of Gaussians in the contrasts of the logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt._core import assign_gmm, gmm
from dbpt.pseudo_attributes.contrasts import contrast_matrix
from dbpt.pseudo_attributes.job import Job, Outputs, Part
from dbpt.pseudo_attributes.kmeans import KMeansModel
from dbpt.pseudo_attributes.result import Clustering

COVARIANCES = ("full", "diagonal")
MAX_ITER = 300
TOLERANCE = 1e-5


@dataclass(frozen=True)
class GmmModel:
    """The method "gmm", for `clustering.label`."""

    covariance: str
    name = "gmm"

    def fit(self, job: Job, part: Part, k: int) -> GmmFit:
        """Expectation maximisation from the clusters of k-means."""
        start = KMeansModel().fit(job, part, k)
        weights, means, covariances, mean_log_likelihood, iterations, converged = gmm(
            job.logits,
            len(start.centers),
            covariance=self.covariance,
            contrasts=True,
            rows=part.rows,
            centers=start.centers,
            tol=TOLERANCE,
            max_iter=MAX_ITER,
            num_threads=job.num_threads,
        )
        log_likelihood = mean_log_likelihood * part.num_rows
        return GmmFit(weights, means, covariances, log_likelihood, part.num_rows, iterations, converged)


@dataclass(frozen=True)
class GmmFit:
    """k components in W = A - 1 contrasts."""

    weights: NDArray[np.float64]
    centers: NDArray[np.float64]
    covariances: NDArray[np.float64]
    log_likelihood: float
    num_rows: int
    iterations: int
    converged: bool

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(k,) by which clusters are numbered."""
        return self.weights

    def bic(self) -> float:
        """The Bayesian information criterion (Schwarz, 1978), the smaller the better."""
        k, width = map(int, self.centers.shape)
        of_covariance = width if self.covariances.ndim == 2 else width * (width + 1) // 2
        return -2 * self.log_likelihood + (k * (width + of_covariance) + k - 1) * math.log(self.num_rows)

    def assign(self, job: Job, part: Part, names: NDArray[np.int64], outputs: Outputs) -> Clustering:
        """Label the rows; the posterior is the responsibilities."""
        log_likelihood = assign_gmm(
            job.logits,
            self.weights,
            self.centers,
            self.covariances,
            contrasts=True,
            rows=part.rows,
            names=names,
            **outputs.arguments(),
            num_threads=job.num_threads,
        )
        contrasts = contrast_matrix(job.num_attributes)
        full = self.covariances if self.covariances.ndim == 3 else np.stack([np.diag(c) for c in self.covariances])
        return Clustering(
            label=part.label,
            cluster_names=names,
            counts=outputs.counts(part, int(names.max()) + 1)[names],
            centers=self.centers @ contrasts,
            iterations=self.iterations,
            converged=self.converged,
            weights=self.weights,
            covariances=contrasts.T @ full @ contrasts,
            log_likelihood=log_likelihood,
        )
