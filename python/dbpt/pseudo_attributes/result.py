"""What `label_attributes` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PseudoAttributes:
    """What CLIP makes of N rows and A attributes."""

    pseudo_attributes: NDArray[Any]
    """(N,) int64, or of the type of ``out``: the attribute of each row, or the number of its cluster if they are not
    `named`; -1 where left unlabelled."""
    posterior: NDArray[np.float32] | None
    """(N, A) or (N, clusters) probabilities, of which the label has the largest; None if not wanted."""
    confidence: NDArray[np.float32] | None
    """(N,) posterior of the label that the method gave the row; None if not wanted."""
    named: bool = True
    """Whether the labels are attributes. Otherwise they are clusters, numbered from the largest to the smallest."""
    proportions: tuple[Proportions, ...] = ()
    """Of method "proportional": what was done over all rows, or within each class that has rows."""
    clusterings: tuple[Clustering, ...] = ()
    """Of methods "kmeans" and "gmm", likewise."""
    num_clusters: int | None = None
    """How many clusters were asked for or chosen."""
    scores: dict[int, float] | None = None
    """By what a number of clusters was chosen: the criterion of each, the sum (BIC) or mean (silhouette) of classes."""


@dataclass(frozen=True)
class Proportions:
    """The proportions under which some rows were labelled."""

    label: int | None
    """The class of the rows; None for all of them."""
    proportions: NDArray[np.float64]
    """(A,) given or estimated; they add up to 1."""
    counts: NDArray[np.int64]
    """(A,) rows that got each attribute, `min_confidence` aside."""
    offsets: NDArray[np.float64]
    """(A,) what was added to the logits; minus infinity for an attribute without rows."""


@dataclass(frozen=True)
class Clustering:
    """The k clusters of some rows."""

    label: int | None
    """The class of the rows; None for all of them."""
    cluster_names: NDArray[np.int64]
    """(k,) the label that the rows of each cluster got."""
    counts: NDArray[np.int64]
    """(k,) rows of each cluster, `min_confidence` aside."""
    centers: NDArray[np.float64]
    """(k, A) row-centred logits."""
    iterations: int
    """How often the centres or components were moved."""
    converged: bool
    """Whether the last move changed nothing, or less than the tolerance."""
    inertia: float | None = None
    """Sum of squared distances to the centres ("kmeans")."""
    weights: NDArray[np.float64] | None = None
    """(k,) of the components ("gmm"); they add up to 1."""
    covariances: NDArray[np.float64] | None = None
    """(k, A, A) of row-centred logits ("gmm")."""
    log_likelihood: float | None = None
    """Sum over the rows, of their A - 1 contrasts ("gmm")."""
