"""The rows of each group."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupIndex
from dbpt.errors import InputError, nearest
from dbpt.groups.ids import MAX_GROUPS


@dataclass(frozen=True)
class RowGroups:
    """The members of G groups. With ``unknown="class"``, C more groups follow: the unknown rows of each class."""

    index: GroupIndex
    num_groups: int
    class_of_group: NDArray[np.int64]
    """(G,) the class of each group's rows, -1 for an empty group; (0,) if unknown rows are refused."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) the number of members of each group."""
        return self.index.counts[: self.num_groups]

    @property
    def unknown_counts(self) -> NDArray[np.int64]:
        """(C,) the number of rows of unknown group in each class."""
        return self.index.counts[self.num_groups :]

    def with_unknown(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Append the shares (C,) of the unknown rows to ``shares`` (G,).

        Their weight is the mean weight of the known rows of their class, or of all known rows if the class has none.
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
    """Index the rows of each group, without a copy if ``groups`` are a contiguous array.

    Args:
        groups: (N,) integers, -1 for rows without a group.
        num_groups: G, by default the largest group plus 1.
        unknown: None refuses rows without a group; "class" puts them into the extra group of their label.
        labels: (N,) class index, only with ``unknown="class"``.
        num_threads: threads of the core.
    """
    array = _integers("groups", groups)
    if num_groups is not None:
        num_groups = arguments.integer("num_groups", num_groups, 1, MAX_GROUPS)
    if unknown is None:
        if labels is not None:
            raise InputError("labels are given, but unknown is None; expected unknown='class', or no labels")
        index = GroupIndex(array, num_groups, num_threads)
        if index.num_outside:
            raise InputError(
                f"groups[{index.first_outside}] is -1, one of {index.num_outside} rows without a group; expected 0 or "
                "above: leave those rows out (torch.utils.data.Subset), give them a group, or pass unknown='class' "
                "and their labels"
            )
        return RowGroups(index, index.num_groups, np.empty(0, np.int64))
    if unknown != "class":
        raise InputError(f"unknown is {unknown!r}; expected 'class' or None{nearest(str(unknown), ['class'])}")
    if labels is None:
        raise InputError("labels are missing; expected the class (N,) of each row with unknown='class'")
    return _with_classes(array, _integers("labels", labels), num_groups, num_threads)


def _integers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return (N,) integers of their own type, contiguous and in native byte order, without a copy if possible."""
    array = arguments.vector(name, values, "iu", unknown=name == "groups")
    if array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; expected (N,) with at least one row")
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _with_classes(groups: NDArray[Any], labels: NDArray[Any], num_groups: int | None, num_threads: int) -> RowGroups:
    if len(labels) != len(groups):
        raise InputError(f"labels has length {len(labels)}; expected {len(groups)}, one for each row of groups")
    _check_range("groups", groups, -1, MAX_GROUPS - 1 if num_groups is None else num_groups - 1)
    _check_range("labels", labels, 0, MAX_GROUPS - 1)
    known = groups >= 0
    if not known.any():
        raise InputError("groups is -1 in every row; expected a group for some of them")
    num_groups = int(groups.max()) + 1 if num_groups is None else num_groups
    num_classes = int(labels.max()) + 1
    class_of_group = np.full(num_groups, -1, np.int64)
    rows = np.flatnonzero(known)
    class_of_group[groups[rows[::-1]]] = labels[rows[::-1]]  # reversed, so that the first row of a group wins
    mixed = rows[class_of_group[groups[rows]] != labels[rows]]
    if mixed.size:
        row, group = int(mixed[0]), int(groups[mixed[0]])
        raise InputError(
            f"labels[{row}] is {labels[row]}, but group {group} began with class {class_of_group[group]}; "
            "expected rows of one class in each group"
        )
    # The narrowest type: one byte per row for up to 256 groups and classes.
    extended = np.empty(len(groups), np.min_scalar_type(num_groups + num_classes))
    np.add(labels, num_groups, out=extended, where=~known, casting="unsafe", dtype=np.int64)
    np.copyto(extended, groups, where=known, casting="unsafe")
    return RowGroups(GroupIndex(extended, num_groups + num_classes, num_threads), num_groups, class_of_group)


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    arguments.check_each(name, values, (values >= low) & (values <= high), f"an integer from {low} to {high}")
