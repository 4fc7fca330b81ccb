"""How common each attribute is: the weights of a mixture of Gaussians of one common covariance.

The mixture sees where rows lie together, not on which side of CLIP's threshold: to add to an attribute's logits, or to
scale all of them, changes no share. The softmax of the logits could not tell a threshold that is off from an attribute
that is rare. A covariance for each cluster would let a wide one take rows from a rare one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbpt._core import gmm
from dbpt.pseudo_attributes.contrasts import contrast_matrix
from dbpt.pseudo_attributes.job import Job, Part
from dbpt.pseudo_attributes.kmeans import KMeansFit, KMeansModel
from dbpt.pseudo_attributes.matching import best_assignment

MOST_ROWS = 1 << 16  # the standard error of a share is then below 0.002
MAX_ITER = 300
TOLERANCE = 1e-5
_REGULARISATION = 1e-6  # of the variance of all rows
_GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ by the golden ratio


@dataclass(frozen=True)
class Mixture:
    """k Gaussians in W = A - 1 contrasts that have one covariance."""

    weights: NDArray[np.float64]
    """(k,)."""
    means: NDArray[np.float64]
    """(k, W)."""
    mean_log_likelihood: float
    """Of a row, before the last step."""
    iterations: int
    converged: bool
    """Whether no weight, nor the mean log likelihood, moved by more than the tolerance in the last step."""

    def bic(self, num_rows: int) -> float:
        """The Bayesian information criterion (Schwarz, 1978), the smaller the better."""
        k, width = map(int, self.means.shape)
        parameters = k - 1 + k * width + width * (width + 1) // 2
        return -2 * num_rows * self.mean_log_likelihood + parameters * math.log(num_rows)


@dataclass(frozen=True)
class EstimatedShares:
    """What `estimate_shares` returns."""

    shares: NDArray[np.float64]
    """(A,) of the attributes; they add up to 1."""
    mixture: Mixture


def estimate_shares(job: Job, part: Part) -> EstimatedShares:
    """Estimate the shares of the attributes among the rows of a part, from at most `MOST_ROWS` of them.

    Of 2 to A clusters the number with the smallest BIC; each is the attribute for which its mean stands out. One that
    no cluster stands out for has share 0. If all rows are alike, there is one cluster, of any attribute.
    """
    rows = _sample(part)
    best: Mixture | None = None
    for k in range(2, job.num_attributes + 1):
        start = KMeansModel().fit(job, rows, k)
        if best is not None and len(start.centers) < k:
            break
        mixture = _mixture(job, rows, start)
        if best is None or mixture.bic(rows.num_rows) < best.bic(rows.num_rows):
            best = mixture
    assert best is not None
    logits = best.means @ contrast_matrix(job.num_attributes)
    shares = np.zeros(job.num_attributes)
    # Against the other clusters: an attribute whose logit is large everywhere is none that a cluster stands out for.
    shares[best_assignment(logits - logits.mean(axis=0))] = best.weights
    return EstimatedShares(shares, best)


def _mixture(job: Job, part: Part, start: KMeansFit) -> Mixture:
    """Expectation maximisation (McLachlan and Peel, "Finite Mixture Models", 2000, section 3.9.2)."""
    weights, means = start.counts / part.num_rows, start.centers
    spread = weights @ (means - weights @ means) ** 2
    regularisation = _REGULARISATION * (start.variance + float(spread.mean()))
    covariance = (start.variance + regularisation) * np.eye(means.shape[1])
    found = Mixture(weights, means, -math.inf, 0, len(weights) == 1)
    while not found.converged and found.iterations < MAX_ITER:
        k, weights = len(found.weights), found.weights
        moved, means, covariances, mean_log_likelihood, *_ = gmm(
            job.logits,
            k,
            contrasts=True,
            rows=part.rows,
            weights=weights,
            means=found.means,
            precisions=np.repeat(np.linalg.inv(covariance)[None], k, axis=0),
            reg_covar=regularisation,
            max_iter=1,
            num_threads=job.num_threads,
        )
        covariance = np.einsum("k,kij->ij", moved, covariances)
        gain = mean_log_likelihood - found.mean_log_likelihood
        at_rest = len(moved) == k and max(gain, np.abs(moved - weights).max()) <= TOLERANCE
        found = Mixture(moved, means, mean_log_likelihood, found.iterations + 1, at_rest)
    return found


def _sample(part: Part) -> Part:
    """One row of each of `MOST_ROWS` equal stretches, at uneven places, so that rows that repeat are met evenly too."""
    if part.num_rows <= MOST_ROWS:
        return part
    number = np.arange(MOST_ROWS + 1)
    edges = number * (part.num_rows // MOST_ROWS) + number * (part.num_rows % MOST_ROWS) // MOST_ROWS
    place = (number[:-1].astype(np.uint64) * np.uint64(_GOLDEN) >> np.uint64(11)) * 2.0**-53
    chosen = edges[:-1] + (place * np.diff(edges)).astype(np.int64)
    return replace(part, rows=chosen if part.rows is None else part.rows[chosen], num_rows=MOST_ROWS)
