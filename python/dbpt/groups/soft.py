"""Soft membership: a sample of class y belongs to each group (y, a) with probability posterior[a]."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.sums import MEMBERSHIPS, UNIT, sum_by_group
from dbpt.groups.tensors import check_length, integers, to_host

_TOLERANCE = 0.01
"""Accepted difference between 1 and the sum of a posterior's row; half precision needs it."""
_ROWS_AT_ONCE = 1 << 16
_MAX_GROUPS = 2**24


def soft_counts(posterior: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    """Return N_g (C·A,) float64 under soft membership: the sum of the posteriors in each group g = label·A + a.

    Each row is divided by its sum, so it counts as one sample. Memberships are rounded to multiples of 2⁻³⁰ and added
    exactly, so the result has the same bits for any order of the rows. One-hot rows give the counts of hard groups.

    Args:
        posterior: (N, A) probabilities of the attributes. Each row adds up to 1 (within 0.01), or is NaN for an
            unlabelled row, which doesn't count.
        labels: (N,) class of each row, integers from 0 to C - 1.
        num_classes: C.

    Example:
        >>> soft_counts([[0.75, 0.25], [0.5, 0.5], [float("nan")] * 2], [0, 0, 1], num_classes=2).tolist()
        [1.25, 0.75, 0.0, 0.0]
    """
    rows_NA = arguments.matrix("posterior", to_host("posterior", posterior))
    num_classes = arguments.integer("num_classes", num_classes, 1, _MAX_GROUPS // rows_NA.shape[1])
    labels_N = integers("labels", labels)
    check_length("labels", len(labels_N), len(rows_NA), "the rows of posterior")
    num_groups = num_classes * rows_NA.shape[1]
    total: NDArray[np.int64] = np.zeros((num_groups, 3), dtype=np.int64)
    for begin in range(0, len(rows_NA), _ROWS_AT_ONCE):
        part = slice(begin, begin + _ROWS_AT_ONCE)
        groups, memberships = flat_memberships(rows_NA[part], labels_N[part], num_classes, first_row=begin)
        total = total + sum_by_group(groups, memberships.reshape(-1), num_groups, MEMBERSHIPS)
    counts: NDArray[np.float64] = total[:, 0].astype(np.float64) * 2.0**32 + total[:, 1]
    return counts / UNIT


def flat_memberships(
    posterior_BA: NDArray[Any], labels_B: NDArray[np.int64], num_classes: int, *, first_row: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the group of each row and attribute, (B·A,), -1 for unlabelled rows, and the memberships (B, A)."""
    columns = posterior_BA.shape[1]
    memberships_BA, unlabelled_B = memberships(posterior_BA, labels_B, num_classes, first_row=first_row)
    groups_BA = labels_B[:, None] * columns + np.arange(columns)
    return np.where(unlabelled_B[:, None], -1, groups_BA).reshape(-1), memberships_BA


def memberships(
    posterior_BA: NDArray[Any], labels_B: NDArray[np.int64], num_classes: int, *, first_row: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the rows (B, A) divided by their sums, 0 where unlabelled, and which rows (B,) are unlabelled.

    Raises `InputError` for a label out of range or a row of no probabilities. Messages count from ``first_row``.
    """
    rows_BA = posterior_BA.astype(np.float64)
    with np.errstate(all="ignore"):
        total_B = rows_BA.cumsum(axis=1)[:, -1]  # in column order; sum() adds in another order, with other bits
        proper_B = (rows_BA >= 0).all(axis=1) & (abs(total_B - 1) <= _TOLERANCE)
        memberships_BA = np.where(proper_B[:, None], rows_BA / total_B[:, None], 0.0)
    unlabelled_B: Any = np.isnan(rows_BA).all(axis=1)
    check_classes(labels_B, num_classes, first_row)
    for row in np.flatnonzero(~(proper_B | unlabelled_B))[:1]:
        found = arguments.in_one_line(posterior_BA[row].tolist())
        raise InputError(
            f"posterior[{first_row + row}] is {found}; expected probabilities that add up to 1, or NaN throughout for "
            "an unlabelled row"
        )
    return memberships_BA, unlabelled_B


def check_classes(labels_B: NDArray[np.int64], num_classes: int, first_row: int = 0) -> None:
    """Refuse a label (B,) that is no class. The message counts from ``first_row``."""
    valid_B = (labels_B >= 0) & (labels_B < num_classes)
    arguments.check_each("labels", labels_B, valid_B, f"a class from 0 to {num_classes - 1}", first_row)
