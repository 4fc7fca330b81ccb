"""Which epoch is kept. Always judged on validation rows, never on the test split."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError

Selection = Literal["pseudo-wga", "true-wga", "average", "last"]
SELECTIONS: tuple[Selection, ...] = ("pseudo-wga", "true-wga", "average", "last")


def validation_score(
    select: Selection, epoch: int, correct: NDArray[np.bool_], groups: NDArray[np.int64]
) -> tuple[float, float]:
    """Score of an epoch, larger is better, ties broken by the second entry and then by the earlier epoch.

    correct: (N,) bool, whether each validation row was classified rightly.
    groups: (N,) int64 of the same rows, -1 unknown; pseudo or true as ``select`` says; ignored by the other two.
    """
    average = float(correct.mean())
    if select == "last":
        return float(epoch), average
    if select == "average":
        return average, 0.0
    return worst_group_accuracy(correct, groups), average


def worst_group_accuracy(correct: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Smallest accuracy among the groups that have rows. Raises `InputError` if no row has a group."""
    known = groups >= 0
    if not known.any():
        raise InputError(
            "no validation row has a group, so worst-group accuracy cannot choose an epoch: use --select average"
        )
    counts = np.bincount(groups[known])
    right = np.bincount(groups[known], weights=correct[known])
    return float((right[counts > 0] / counts[counts > 0]).min())
