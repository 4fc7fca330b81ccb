"""Pseudo attributes: the spurious attribute of each row, as CLIP sees it, from cached zero-shot logits.

No true attribute comes in here, and no torch.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import assign_centers, kmeans, softmax_argmax
from dbpt.errors import InputError, nearest

__all__ = ["PseudoAttributes", "label_attributes"]

METHODS = ("argmax", "kmeans")
_MAX_ITER = 100
_N_INIT = 4


@dataclass(frozen=True)
class PseudoAttributes:
    """What CLIP makes of N rows and A attributes."""

    pseudo_attributes: NDArray[np.int64]
    """(N,) attribute of each row, -1 where left unlabelled."""
    posterior: NDArray[np.float32]
    """(N, A) softmax of the logits, whatever the method."""
    confidence: NDArray[np.float32]
    """(N,) posterior of the attribute that the method gave the row."""


def label_attributes(
    logits: ArrayLike,
    *,
    method: str = "argmax",
    labels: ArrayLike | None = None,
    within_class: bool = False,
    min_confidence: float = 0.0,
    seed: int = 0,
    num_threads: int | None = None,
) -> PseudoAttributes:
    """Label each row with one of A attributes.

    "argmax" takes the largest logit. "kmeans" clusters the row-centred logits into A clusters and gives each cluster
    the attribute for which its centre stands out (the one-to-one assignment with the largest sum of centre
    logits), so that a zero-shot threshold that is off doesn't swallow the minority. Posterior and confidence are
    CLIP's own for both, so a row that kmeans labels against CLIP has a confidence below one half.

    Args:
        logits: (N, A) floats, exp(logit_scale) times cosine (plus the bias, if the model has one); never bare cosines.
        method: "argmax" or "kmeans".
        labels: (N,) class of each row, integers from 0; needed by `within_class` only.
        within_class: cluster each class for itself ("kmeans" only).
        min_confidence: rows whose confidence is below this get -1.
        seed: of the k-means++ starts.
        num_threads: by default the number of processors. The result doesn't depend on it.

    Raises:
        InputError: an argument is wrong; for a NaN or infinite logit the message names the row.

    Warns:
        UserWarning: "kmeans" found fewer clusters than attributes, as there are fewer distinct rows.

    Example:
        >>> label_attributes(np.array([[20.0, 22.0], [25.0, 21.0]])).pseudo_attributes
        array([1, 0])
    """
    logits_NA = _checked_logits(logits)
    if method not in METHODS:
        raise InputError(f"method is {method!r}; expected 'argmax' or 'kmeans'{nearest(str(method), list(METHODS))}")
    min_confidence = arguments.probability("min_confidence", min_confidence)
    if within_class and method != "kmeans":
        raise InputError("within_class is True with method 'argmax'; expected method 'kmeans', or leave it out")
    seed, threads = arguments.seed(seed), arguments.num_threads(num_threads)
    pseudo_attributes, posterior, confidence = softmax_argmax(logits_NA, threads)
    if method == "kmeans":
        rows_of_parts = _rows_of_classes(labels, len(logits_NA)) if within_class else [np.arange(len(logits_NA))]
        for rows in rows_of_parts:
            pseudo_attributes[rows] = _cluster(logits_NA[rows], seed, threads)
        confidence = np.take_along_axis(posterior, pseudo_attributes[:, None], axis=1)[:, 0]
    pseudo_attributes[confidence < min_confidence] = -1
    return PseudoAttributes(pseudo_attributes, posterior, confidence)


def _cluster(logits_NA: NDArray[np.float32], seed: int, num_threads: int) -> NDArray[np.int64]:
    """Attributes of the rows by k-means on row-centred logits."""
    centred = logits_NA - logits_NA.mean(axis=1, keepdims=True, dtype=np.float64)
    points = np.ascontiguousarray(centred, dtype=np.float32)
    attributes = points.shape[1]
    k = min(attributes, len(points))
    centers, _, _, _ = kmeans(points, k, seed=seed, max_iter=_MAX_ITER, n_init=_N_INIT, num_threads=num_threads)
    clusters = np.empty(len(points), dtype=np.int64)
    assign_centers(points, centers, 0.0, labels_out=clusters, num_threads=num_threads)
    if len(centers) < attributes:
        warnings.warn(
            f"kmeans found {len(centers)} clusters, not {attributes}: "
            f"the {len(points)} rows have fewer distinct logits than there are attributes",
            UserWarning,
            stacklevel=3,
        )
    return _best_assignment(centers)[clusters]


def _best_assignment(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Column of each row so that no column is used twice and the sum of scores is largest; rows <= columns.

    The Hungarian algorithm by shortest augmenting paths (Jonker and Volgenant, 1987), O(rows² · columns).
    """
    rows, columns = scores.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    row_of = np.full(columns + 1, -1)  # the last column is the root of each search
    for row in range(rows):
        distance, previous = np.full(columns, np.inf), np.full(columns, columns)
        done = np.zeros(columns + 1, dtype=bool)
        column, row_of[columns] = columns, row
        while row_of[column] >= 0:
            done[column] = True
            at = row_of[column]
            reduced = -scores[at] - row_price[at] - column_price[:columns]
            shorter = ~done[:columns] & (reduced < distance)
            distance[shorter], previous[shorter] = reduced[shorter], column
            step = np.where(done[:columns], np.inf, distance)
            column = int(step.argmin())
            row_price[row_of[done]] += step[column]
            column_price[done] -= step[column]
            distance[~done[:columns]] -= step[column]
        while column != columns:
            row_of[column] = row_of[previous[column]]
            column = int(previous[column])
    assigned = np.empty(rows, dtype=np.int64)
    used = np.flatnonzero(row_of[:columns] >= 0)
    assigned[row_of[used]] = used
    return assigned


def _checked_logits(logits: ArrayLike) -> NDArray[np.float32]:
    array = arguments.array("logits", logits)
    if array.ndim != 2 or array.shape[0] == 0:
        raise InputError(f"logits has shape {array.shape}; expected (N, A) with at least one row")
    if array.shape[1] < 2:
        raise InputError(f"logits has {array.shape[1]} column; expected at least 2 attributes to tell apart")
    if array.dtype.kind != "f":
        raise InputError(f"logits has dtype {array.dtype}; expected floats")
    with np.errstate(over="ignore"):  # what becomes infinite is refused by the core, with its row
        return np.ascontiguousarray(array, dtype=np.float32)


def _rows_of_classes(labels: ArrayLike | None, num_rows: int) -> list[NDArray[np.int64]]:
    if labels is None:
        raise InputError("labels is None with within_class=True; expected the class of each row")
    array = arguments.array("labels", labels)
    if array.shape != (num_rows,) or array.dtype.kind not in "iu":
        raise InputError(f"labels has shape {array.shape} and dtype {array.dtype}; expected ({num_rows},) integers")
    negative = np.flatnonzero(array < 0)
    if negative.size:
        raise InputError(f"labels[{negative[0]}] is {array[negative[0]]}; expected a class, 0 or above")
    return [np.flatnonzero(array == label) for label in np.unique(array)]
