"""Clusters of logits by k-means."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from dbpt._core import assign_argmax
from dbpt._core import kmeans as core_kmeans
from dbpt.pseudo_attributes.job import Job, WantedOutputs
from dbpt.pseudo_attributes.matching import best_assignment
from dbpt.pseudo_attributes.result import PseudoAttributes

_MAX_ITER = 100
_N_INIT = 4


def label(job: Job, wanted: WantedOutputs) -> PseudoAttributes:
    """Cluster each part."""
    outputs = wanted.allocate(job.num_attributes)
    posterior = np.empty(job.logits.shape, np.float32) if outputs.posterior is None else outputs.posterior
    assign_argmax(job.logits, labels_out=outputs.labels, posterior_out=posterior, num_threads=job.num_threads)
    for part in job.parts():
        rows = slice(None) if part.rows is None else part.rows
        outputs.labels[rows] = _cluster(job.logits[rows], job.seed, job.num_threads)
    if outputs.confidence is not None:
        outputs.confidence[:] = np.take_along_axis(posterior, outputs.labels[:, None], axis=1)[:, 0]
    return PseudoAttributes(outputs.labels, outputs.posterior, outputs.confidence)


def _cluster(logits_NA: NDArray[np.float16] | NDArray[np.float32], seed: int, num_threads: int) -> NDArray[np.int64]:
    """Attributes of the rows by k-means on row-centred logits."""
    centred = logits_NA - logits_NA.mean(axis=1, keepdims=True, dtype=np.float64)
    points = np.ascontiguousarray(centred, dtype=np.float32)
    attributes = points.shape[1]
    k = min(attributes, len(points))
    clusters, centers, _, _ = core_kmeans(points, k, seed, _MAX_ITER, _N_INIT, num_threads)
    if len(centers) < attributes:
        warnings.warn(
            f"kmeans found {len(centers)} clusters, not {attributes}: "
            f"the {len(points)} rows have fewer distinct logits than there are attributes",
            UserWarning,
            stacklevel=4,
        )
    return best_assignment(centers)[clusters]
