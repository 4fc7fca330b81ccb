"""Which rows are in which group, from integers of any type, and what becomes of rows whose group is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupIndex
from dbpt.errors import InputError, nearest

_CHUNK_ROWS = 1 << 20
_MAX_GROUPS = 1 << 24


@dataclass(frozen=True)
class RowGroups:
    """The members of G groups and then, with ``unknown="class"``, of C more: the unknown rows of each class."""

    index: GroupIndex
    num_groups: int
    class_of_group: NDArray[np.int64]
    """(G,) the class of each group's rows, -1 where it has none; (0,) where unknown rows are refused."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) the number of members of each group."""
        return self.index.counts[: self.num_groups]

    @property
    def unknown_counts(self) -> NDArray[np.int64]:
        """(C,) the number of rows of unknown group in each class."""
        return self.index.counts[self.num_groups :]

    def with_unknown(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Append to (G,) shares those of the unknown rows, (C,).

        They weigh the mean weight of their class's known rows, or of all known rows where the class has none.
        """
        unknown = self.unknown_counts
        if not len(unknown):
            return shares
        known = self.class_of_group >= 0
        classes, counts = self.class_of_group[known], self.counts
        rows = np.bincount(classes, counts[known], len(unknown))
        mass = np.bincount(classes, shares[known], len(unknown))
        weights = np.divide(mass, rows, out=np.full(len(unknown), shares.sum() / counts.sum()), where=rows > 0)
        return np.concatenate([shares, unknown * weights])


def row_groups(
    groups: ArrayLike, num_groups: int | None, unknown: str | None, labels: ArrayLike | None, num_threads: int
) -> RowGroups:
    """Index `groups` (N,), read where they lie if they are a contiguous array.

    Rows of group -1 are refused, or with ``unknown="class"`` put into the extra group of their label.
    """
    array = _integers("groups", groups)
    if num_groups is not None:
        num_groups = arguments.integer("num_groups", num_groups, 1, _MAX_GROUPS)
    if unknown is None:
        if labels is not None:
            raise InputError("labels are given, but unknown is None; expected unknown='class', or no labels")
        index = GroupIndex(array, num_groups, num_threads)
        if index.num_outside:
            raise InputError(
                f"groups[{index.first_outside}] is -1, one of {index.num_outside} rows without a group; expected 0 or "
                "above: leave those rows out (torch.utils.data.Subset), give them a group, or say unknown='class' "
                "and their labels"
            )
        return RowGroups(index, index.num_groups, np.empty(0, np.int64))
    if unknown != "class":
        raise InputError(f"unknown is {unknown!r}; expected 'class' or None{nearest(str(unknown), ['class'])}")
    if labels is None:
        raise InputError("labels are missing; expected the class (N,) of each row with unknown='class'")
    return _with_classes(array, _integers("labels", labels), num_groups, num_threads)


def _integers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return (N,) integers of their own type, contiguous and in native byte order: not copied if they are so."""
    array = arguments.array(name, values)
    if array.ndim == 0:
        raise InputError(f"{name} is {arguments.in_one_line(values)}; expected (N,) integers: an array, tensor or list")
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; expected (N,) with at least one row")
    if array.dtype.kind not in "iu":
        way = (
            ".astype(int) makes them"
            if array.dtype.kind in "bf"
            else "numpy.unique(..., return_inverse=True) makes them"
        )
        raise InputError(f"{name} has dtype {array.dtype}; expected integers ({way})")
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _with_classes(groups: NDArray[Any], labels: NDArray[Any], num_groups: int | None, num_threads: int) -> RowGroups:
    if len(labels) != len(groups):
        raise InputError(f"labels has length {len(labels)}; expected {len(groups)}, one for each row of groups")
    most_groups = _MAX_GROUPS if num_groups is None else num_groups
    num_classes = min(int(labels.max()), _MAX_GROUPS) + 1
    if num_groups is None:
        num_groups = min(int(groups.max()), _MAX_GROUPS) + 1
    if num_groups == 0:
        raise InputError("groups is -1 in every row; expected a group for some of them")
    # As narrow as may be: one byte a row for up to 256 groups and classes.
    extended = np.empty(len(groups), np.min_scalar_type(num_groups + num_classes))
    class_of_group = np.full(num_groups, -1, np.int64)
    for start in range(0, len(groups), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        _refuse("groups", groups[rows], start, -1, most_groups - 1)
        _refuse("labels", labels[rows], start, 0, _MAX_GROUPS - 1)
        part, classes = groups[rows].astype(np.int64), labels[rows].astype(np.int64)
        known = part >= 0
        _read_classes(class_of_group, part, classes, known, start)
        extended[rows] = np.where(known, part, num_groups + classes)
    if (class_of_group < 0).all():
        raise InputError("groups is -1 in every row; expected a group for some of them")
    index = GroupIndex(extended, num_groups + num_classes, num_threads)
    return RowGroups(index, num_groups, class_of_group)


def _refuse(name: str, part: NDArray[Any], start: int, low: int, high: int) -> None:
    outside = (part < low) | (part > high)
    if outside.any():
        row = int(outside.argmax())
        raise InputError(f"{name}[{start + row}] is {part[row]}; expected an integer from {low} to {high}")


def _read_classes(
    class_of_group: NDArray[np.int64],
    part: NDArray[np.int64],
    classes: NDArray[np.int64],
    known: NDArray[np.bool_],
    start: int,
) -> None:
    """Note the class of each group that is met for the first time; refuse a group with rows of two classes."""
    rows = np.flatnonzero(known)
    fresh = rows[class_of_group[part[rows]] < 0]
    groups, first = np.unique(part[fresh], return_index=True)
    class_of_group[groups] = classes[fresh[first]]
    mixed = rows[class_of_group[part[rows]] != classes[rows]]
    if mixed.size:
        row, group = int(mixed[0]), int(part[mixed[0]])
        raise InputError(
            f"labels[{start + row}] is {classes[row]}, but group {group} began with class {class_of_group[group]}; "
            "expected rows of one class in each group"
        )
