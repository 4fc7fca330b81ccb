"""Labels by clusters: how many there are, which attribute or number each is, and the rows of each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dbpt._core import silhouette
from dbpt.pseudo_attributes.contrasts import contrast_matrix
from dbpt.pseudo_attributes.job import Job, Outputs, Part, WantedOutputs
from dbpt.pseudo_attributes.matching import best_assignment
from dbpt.pseudo_attributes.result import Clustering, PseudoAttributes

CRITERIA = ("bic", "silhouette")


class Fit(Protocol):
    """Clusters of the rows of a part, in A - 1 contrasts."""

    @property
    def centers(self) -> NDArray[np.float64]:
        """(k, A - 1)."""

    @property
    def sizes(self) -> NDArray[Any]:
        """(k,) by which clusters are numbered, the largest first."""

    @property
    def converged(self) -> bool:
        """Whether they had come to rest."""

    def bic(self) -> float:
        """The smaller the better."""

    def assign(self, job: Job, part: Part, names: NDArray[np.int64], outputs: Outputs) -> Clustering:
        """Give each row the name of its cluster."""


class Model(Protocol):
    """A method that finds k clusters, or fewer."""

    name: str

    def fit(self, job: Job, part: Part, k: int) -> Fit:
        """Find them."""


def label(
    job: Job, wanted: WantedOutputs, model: Model, num_clusters: int | str, max_clusters: int
) -> PseudoAttributes:
    """Cluster each part; the clusters are named if there are as many as attributes."""
    if isinstance(num_clusters, str):
        k, fits, scores = _chosen(job, model, num_clusters, max_clusters)
    else:
        k, scores = num_clusters, None
        fits = [model.fit(job, part, k) for part in job.parts()]
    named = k == job.num_attributes
    outputs = wanted.allocate(k)
    clusterings = []
    for part, fit in zip(job.parts(), fits, strict=True):
        _warn(model, part, fit, k)
        names = _names(job, fit) if named else _numbers(fit)
        clusterings.append(fit.assign(job, part, names, outputs))
    return PseudoAttributes(
        outputs.labels,
        outputs.posterior,
        outputs.confidence,
        named=named,
        clusterings=tuple(clusterings),
        num_clusters=k,
        scores=scores,
    )


def _chosen(job: Job, model: Model, criterion: str, max_clusters: int) -> tuple[int, Sequence[Fit], dict[int, float]]:
    """The number of clusters with the best criterion over all parts, its clusters, and the criterion of each number.

    The search ends where a part has too few distinct rows for more clusters.
    """
    first = 1 if criterion == "bic" else 2
    best: tuple[int, Sequence[Fit]] | None = None
    scores: dict[int, float] = {}
    for k in range(first, max_clusters + 1):
        fits = [model.fit(job, part, k) for part in job.parts()]
        short = [part for part, fit in zip(job.parts(), fits, strict=True) if len(fit.centers) < k]
        if best is not None and short:
            if len(short) < len(fits):
                _warn_of_end(short[0], k - 1)
            break
        scores[k] = sum(fit.bic() for fit in fits) if criterion == "bic" else _mean_silhouette(job, fits)
        better = min if criterion == "bic" else max
        if best is None or better(scores[k], scores[best[0]]) != scores[best[0]]:
            best = k, fits
    assert best is not None
    return *best, scores


def _warn_of_end(part: Part, k: int) -> None:
    warnings.warn(
        f"num_clusters is at most {k}, for all classes: the {part.num_rows} rows{part.where} have too few distinct "
        "logits for more",
        UserWarning,
        stacklevel=6,
    )


def _mean_silhouette(job: Job, fits: Sequence[Fit]) -> float:
    """Over the rows of all parts; 0 where there is but one cluster."""
    total = 0.0
    for part, fit in zip(job.parts(), fits, strict=True):
        if len(fit.centers) > 1:
            total += part.num_rows * silhouette(
                job.logits, fit.centers, contrasts=True, rows=part.rows, seed=job.seed, num_threads=job.num_threads
            )
    return total / len(job.logits)


def _names(job: Job, fit: Fit) -> NDArray[np.int64]:
    """The attribute for which each cluster's centre stands out most, one to one."""
    return best_assignment(fit.centers @ contrast_matrix(job.num_attributes))


def _numbers(fit: Fit) -> NDArray[np.int64]:
    order = np.argsort(-fit.sizes, kind="stable")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    return numbers


def _warn(model: Model, part: Part, fit: Fit, k: int) -> None:
    if len(fit.centers) < k:
        warnings.warn(
            f"{model.name} found {len(fit.centers)} clusters, not {k}: the {part.num_rows} rows{part.where} have too "
            "few distinct logits",
            UserWarning,
            stacklevel=5,
        )
    if not fit.converged:
        warnings.warn(
            f"{model.name} had not come to rest in the {part.num_rows} rows{part.where} when its iterations ended",
            UserWarning,
            stacklevel=5,
        )
