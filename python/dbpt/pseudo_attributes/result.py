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
    """(N,) int64, or of the type of ``out``: the attribute of each row; -1 where left unlabelled."""
    posterior: NDArray[np.float32] | None
    """(N, A) probabilities, of which the label has the largest; None if not wanted."""
    confidence: NDArray[np.float32] | None
    """(N,) posterior of the label that the method gave the row; None if not wanted."""
    method: str
    """The method that gave the labels."""
    shares: NDArray[np.float64] | None = None
    """(A,) of method "proportional": the share of each attribute, given or estimated; they add up to 1. None where no
    two attributes could be told apart, so that the labels are those of argmax."""
    offsets: NDArray[np.float64] | None = None
    """(A,) of method "proportional": what was added to the logits; minus infinity for an attribute without a share."""
    clusters: Clusters | None = None
    """Of method "kmeans"."""


@dataclass(frozen=True)
class Clusters:
    """The clusters of "kmeans" among the rows that it was fitted on, one for each attribute."""

    centers: NDArray[np.float64]
    """(A, A) row-centred logits; infinite for an attribute without a cluster."""
    counts: NDArray[np.int64]
    """(A,) rows of each cluster."""
    inertia: float
    """Sum of squared distances to the centres."""
    iterations: int
    """How often the centres of all rows were moved."""
