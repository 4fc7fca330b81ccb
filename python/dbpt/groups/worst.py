"""The worst group: the lowest accuracy, or the lowest mean of another figure, of a group with rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.groups import ids

SMALL_GROUP = 30
"""The accuracy of a group with fewer rows gets a warning."""


def worst_group(correct: NDArray[np.int64], counts: NDArray[np.int64]) -> int | None:
    """Return the group with the lowest accuracy, the first if tied.

    Args:
        correct: (G,) int64, the correctly classified rows of each group.
        counts: (G,) int64, all rows of each group.

    Returns:
        The index of the group; None if no group has a row.

    Raises:
        InputError: for arrays of other shapes or dtypes.
    """
    counts = arguments.vector("counts", counts, "iu")
    correct = arguments.vector("correct", correct, "iu", len(counts))
    present = np.flatnonzero(counts)
    return int(present[(correct[present] / counts[present]).argmin()]) if present.size else None


def worst_group_accuracy(correct: NDArray[np.bool_], groups: NDArray[np.int64]) -> float | None:
    """Return the lowest accuracy of a non-empty group.

    Args:
        correct: (N,) bool, the rows that are classified correctly.
        groups: (N,) int64, the group of each row; -1 where unknown.

    Returns:
        A fraction; None if no row has a group.

    Raises:
        InputError: for arrays of other shapes or dtypes.
    """
    return worst_group_mean(arguments.vector("correct", correct, "b"), groups)


def worst_group_mean(values: NDArray[Any], groups: NDArray[np.int64]) -> float | None:
    """Return the lowest mean of a value in a non-empty group.

    Args:
        values: (N,) numbers or booleans.
        groups: (N,) int64, the group of each row; -1 where unknown.

    Returns:
        The mean; None if no row has a group.

    Raises:
        InputError: for arrays of other shapes or dtypes.
    """
    groups = ids.checked_indices(groups, "groups", -1, ids.MAX_GROUPS)
    values = arguments.vector("values", values, "biuf", len(groups), per="row")
    known = groups >= 0
    if not known.any():
        return None
    counts_G = np.bincount(groups[known])
    sums_G = np.bincount(groups[known], weights=values[known])
    occurring = counts_G > 0
    return float((sums_G[occurring] / counts_G[occurring]).min())
