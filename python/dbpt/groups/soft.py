"""Soft membership: a sample of class y is in each group (y, a) to the share that the posterior gives a."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.sums import MEMBERSHIPS, UNIT, sum_by_group
from dbpt.groups.tensors import beside, check_length, is_tensor, to_host, where

_TOLERANCE = 0.01
"""How far a row of a posterior may be from adding up to 1, so that half precision is accepted."""
_ROWS_AT_ONCE = 1 << 16
_MAX_GROUPS = 2**24


def soft_counts(posterior: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    """Return N_g (C·A,) float64 under soft membership: the sum of the posteriors of each group g = label·A + a.

    Each row is divided by its sum, so that it counts as one sample. Memberships are rounded to multiples of 2⁻³⁰ and
    added up exactly: the same bits for any order of the rows. One-hot rows give the counts of hard groups.

    Args:
        posterior: (N, A) probabilities of the attributes, each row adding up to 1 (within 0.01), or NaN throughout for
            an unlabelled row, which doesn't count.
        labels: (N,) class of each row, integers from 0 to C - 1.
        num_classes: C.

    Raises:
        InputError: an argument is wrong; the message names it, the row, and what was expected.

    Example:
        >>> soft_counts([[0.75, 0.25], [0.5, 0.5], [float("nan")] * 2], [0, 0, 1], num_classes=2).tolist()
        [1.25, 0.75, 0.0, 0.0]
    """
    rows_NA = arguments.matrix("posterior", to_host(posterior))
    num_classes = arguments.integer("num_classes", num_classes, 1, _MAX_GROUPS // rows_NA.shape[1])
    labels_N = arguments.integers("labels", to_host(labels))
    check_length("labels", len(labels_N), len(rows_NA), "the rows of posterior")
    num_groups = num_classes * rows_NA.shape[1]
    total: NDArray[np.int64] = np.zeros((num_groups, 3), dtype=np.int64)
    for begin in range(0, len(rows_NA), _ROWS_AT_ONCE):
        part = slice(begin, begin + _ROWS_AT_ONCE)
        groups, memberships = flat_memberships(rows_NA[part], labels_N[part], num_classes, first_row=begin)
        total = total + sum_by_group(groups, memberships.reshape(-1), num_groups, MEMBERSHIPS)[:num_groups]
    counts: NDArray[np.float64] = total[:, 0].astype(np.float64) * 2.0**32 + total[:, 1]
    return counts / UNIT


def flat_memberships(posterior_BA: Any, labels_B: Any, num_classes: int, *, first_row: int = 0) -> tuple[Any, Any]:
    """Return the groups (B·A,) of all rows' attributes, and the memberships (B, A) of the rows in them.

    A row of NaN is in group -1. A bad row is refused; on a device, which isn't waited for, it is in group -2.
    """
    columns = posterior_BA.shape[1]
    memberships_BA, proper_B, unlabelled_B = as_memberships(posterior_BA)
    known_B = (labels_B >= 0) & (labels_B < num_classes)
    if not is_tensor(labels_B):
        check_rows(posterior_BA, labels_B, num_classes, proper_B | unlabelled_B, first_row)
    groups_BA = labels_B[:, None] * columns + beside(np.arange(columns), labels_B)
    none_B = where(known_B & unlabelled_B, -1, -2)
    return where((known_B & proper_B)[:, None], groups_BA, none_B[:, None]).reshape(-1), memberships_BA


def as_memberships(posterior_BA: Any) -> tuple[Any, Any, Any]:
    """Return the rows (B, A) divided by their sums, float64, which rows are probabilities, and which are unlabelled.

    Rows that are no probabilities become 0; unlabelled ones are NaN throughout. Columns are added up one by one, which
    gives the same bits in NumPy and on a device.
    """
    rows_BA = posterior_BA if is_tensor(posterior_BA) else posterior_BA.astype(np.float64)
    total_B: Any
    proper_B: Any
    unlabelled_B: Any
    total_B, proper_B, unlabelled_B = 0.0, True, True
    with np.errstate(all="ignore"):
        for column_B in rows_BA.T:
            total_B = total_B + column_B
            proper_B = proper_B & (column_B >= 0)
            unlabelled_B = unlabelled_B & (column_B != column_B)
        proper_B = proper_B & (abs(total_B - 1) <= _TOLERANCE)
        memberships_BA = where(proper_B[:, None], rows_BA / total_B[:, None], 0.0)
    return memberships_BA, proper_B, unlabelled_B


def check_rows(
    posterior_BA: NDArray[Any], labels_B: NDArray[np.int64], num_classes: int, good_B: NDArray[np.bool_], first_row: int
) -> None:
    """Refuse labels out of range and bad rows of a posterior, the first of them by name."""
    bad = np.flatnonzero((labels_B < 0) | (labels_B >= num_classes))
    if bad.size:
        row = bad[0]
        raise InputError(f"labels[{first_row + row}] is {labels_B[row]}; expected a class from 0 to {num_classes - 1}")
    bad = np.flatnonzero(~good_B)
    if bad.size:
        row = bad[0]
        found = arguments.in_one_line(posterior_BA[row].tolist())
        raise InputError(
            f"posterior[{first_row + row}] is {found}; expected probabilities that add up to 1, or NaN throughout for "
            "an unlabelled row"
        )


def check_columns(shape: tuple[int, ...], num_groups: int) -> None:
    """Refuse posteriors whose columns cannot be the attributes of ``num_groups`` = C·A groups."""
    if shape[1] == 0 or num_groups % shape[1]:
        raise InputError(
            f"posterior has shape {tuple(shape)}; expected (N, A) where there are C·A = {num_groups} groups"
        )
