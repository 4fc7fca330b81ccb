"""Ids of groups, g = y * A + a, and their names; groups of any values as numbers; the worst group; parts of rows."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupIndex, GroupStream
from dbpt.errors import InputError

MAX_GROUPS = 1 << 24
MAX_MEASURED_GROUPS = 2**20  # each group gets its figures as an object, about half a kilobyte


def group_ids(
    labels: NDArray[np.integer[Any]], attributes: NDArray[np.integer[Any]], num_attributes: int
) -> NDArray[np.int64]:
    """Return the groups g = y·A + a, numbered as in WILDS and group_DRO.

    Args:
        labels: (N,) integers, the classes y.
        attributes: (N,) integers, the attributes a; -1 where unknown.
        num_attributes: A.

    Returns:
        (N,) int64; -1 where the attribute is -1.

    Raises:
        InputError: for arrays of other shapes or dtypes.
    """
    arguments.check_same_order(labels=labels, attributes=attributes)
    labels = arguments.integers("labels", labels)
    attributes = arguments.integers("attributes", attributes, len(labels), per="label", unknown=True)
    return np.where(attributes < 0, -1, labels * num_attributes + attributes)


def class_and_attribute(group: int, num_attributes: int) -> tuple[int, int]:
    """Return the class y and the attribute a of a group.

    Args:
        group: g = y·A + a.
        num_attributes: A.

    Returns:
        y and a.
    """
    return divmod(group, num_attributes)


def group_name(class_name: str, attribute: str) -> str:
    """Return the name of the group of a class and an attribute.

    Args:
        class_name: the name of the class.
        attribute: the name of the attribute; "" if it has none.

    Returns:
        "class · attribute", or the name of the class alone.
    """
    return f"{class_name} · {attribute}" if attribute else class_name


def group_counts(groups: NDArray[np.int64], num_groups: int) -> NDArray[np.int64]:
    """Return the number of rows in each group.

    Args:
        groups: (N,) int64; rows of group -1 are not counted.
        num_groups: G.

    Returns:
        (G,) int64.

    Raises:
        InputError: for an array of another shape or dtype, and for other groups.
    """
    groups = checked_indices(groups, "groups", -1, num_groups)
    return np.bincount(groups[groups >= 0], minlength=num_groups).astype(np.int64)


def contingency_table(
    rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Return how often each pair occurs, such as of class and attribute, or of class and prediction.

    Args:
        rows, columns: (N,) integers; a pair is not counted if its column is -1.
        shape: the numbers of different rows and columns.

    Returns:
        (rows, columns) int64.

    Raises:
        InputError: for arrays of other shapes or values.
    """
    return group_counts(group_ids(rows, columns, shape[1]), shape[0] * shape[1]).reshape(shape)


def group_codes(groups: Iterable[Any]) -> NDArray[np.int64]:
    """Return a number for each distinct value, from 0 in the order in which they appear.

    Args:
        groups: (N,) hashable values, or (N, K), such as a data frame, whose rows are the values. A value is unknown if
            it or a part of it is None, NaN, NA or -1.

    Returns:
        (N,) int64, -1 where unknown.

    Raises:
        InputError: for a value that can't be hashed, without any known value, for -1 and 1 alone, for 20 or more values
            that all differ, and for what has no order, such as a set.
    """
    # A list makes no array, as NumPy would make text of numbers beside text.
    values = map(_plain, groups if isinstance(groups, (list, tuple)) else arguments.array("groups", groups).tolist())
    parts_N = [tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else (value,) for value in values]
    numbers_of, codes_N = dict[Any, int](), np.full(len(parts_N), -1, np.int64)
    for row, parts in enumerate(parts_N):
        try:
            if not any(map(_is_unknown, parts)):
                codes_N[row] = numbers_of.setdefault(parts, len(numbers_of))
        except (TypeError, ValueError):
            expected = "a value that can be hashed, or None, NaN or -1 where unknown (columns: numpy.column_stack)"
            value = parts[0] if len(parts) == 1 else parts
            raise InputError(f"groups[{row}] is {arguments.in_one_line(value)}; expected {expected}") from None
    for column in zip(*parts_N, strict=False):
        if -1 in column and 1 in column and all(value == 1 or _is_unknown(value) for value in column):
            raise InputError("groups has -1 and 1 alone, but -1 means unknown; name them otherwise, such as 0 and 1")
    if not numbers_of:
        raise InputError(f"groups has no known value in {len(parts_N)} rows; expected a value in one at least")
    if len(numbers_of) == np.count_nonzero(codes_N >= 0) >= 20:  # a smaller table may be so
        expected = "a few that many rows share (argmax of probabilities, numpy.digitize of measured numbers)"
        raise InputError(f"groups has {len(numbers_of)} values, each in one row; expected {expected}")
    return codes_N


def _plain(value: Any) -> Any:
    """Return a tensor as numbers, since it is hashed by identity, and missing values of pandas as None."""
    if arguments.is_tensor(value):
        return arguments.to_host("groups", value).tolist()
    return None if arguments.is_missing(value) else value


def _is_unknown(value: Any) -> bool:
    return value is None or bool(value != value) or bool(value == -1)


def check_sizes(num_classes: Any, num_attributes: Any) -> tuple[int, int]:
    """Return both as ints; refuse fewer than one class or attribute, and more groups than figures are made for."""
    num_classes = arguments.integer("num_classes", num_classes, 1)
    num_attributes = arguments.integer("num_attributes", num_attributes, 1)
    if (num_groups := num_classes * num_attributes) > MAX_MEASURED_GROUPS:
        raise InputError(
            f"num_classes * num_attributes is {num_classes} * {num_attributes} = {num_groups} groups; expected up to "
            f"{MAX_MEASURED_GROUPS}"
        )
    return num_classes, num_attributes


def checked_indices(values: ArrayLike, name: str, low: int, stop: int, rows: int | None = None) -> NDArray[np.int64]:
    """Return values as (N,) int64 after checking shape, dtype and range.

    Args:
        values: (N,) integers; missing ones are -1 if that is allowed.
        name: the name of the argument, for messages.
        low, stop: each value v must satisfy low <= v < stop.
        rows: N, if another argument decides it.
    """
    array = arguments.integers(name, values, rows, per="prediction or pseudo attribute", unknown=low == -1)
    arguments.check_each(name, array, (array >= low) & (array < stop), f"an integer in {low}..{stop - 1}")
    return array


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
    groups = checked_indices(groups, "groups", -1, MAX_GROUPS)
    values = arguments.vector("values", values, "biuf", len(groups), per="row")
    known = groups >= 0
    if not known.any():
        return None
    counts_G = np.bincount(groups[known])
    sums_G = np.bincount(groups[known], weights=values[known])
    occurring = counts_G > 0
    return float((sums_G[occurring] / counts_G[occurring]).min())


def permutation(n: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """Return the numbers 0..n-1 in random order, (n,) int64: the draws of a group stream of one group in ``epoch``."""
    stream = GroupStream(GroupIndex(np.zeros(n, dtype=np.int64), 1), np.array([n]), seed, epoch)
    return stream.indices(0, n)


def random_part(strata: NDArray[np.int64], size: Callable[[int], int], seed: int) -> NDArray[np.bool_]:
    """Return (N,) bool: a random part of the rows, with ``size(n)`` of the n rows of each stratum."""
    strata, seed = arguments.integers("strata", strata), arguments.seed(seed)
    part = np.zeros(len(strata), dtype=np.bool_)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        part[members[permutation(len(members), seed)[: size(len(members))]]] = True
    return part


def evenly_spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most ``most`` of the ``rows`` (n,), at equal distances."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def first_of_unit(units: NDArray[np.int64], strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the first row with the same unit and stratum; all arrays are (N,) int64.

    Copies of an image are no independent rows: a permutation test of all of them finds a difference far too often, and
    a model that is fitted to one knows the answer for the others. So take one row of each unit.

    >>> first_of_unit(np.array([0, 0, 2, 0]), np.array([1, 1, 1, 0])).tolist()
    [0, 0, 2, 3]
    """
    joint = units * (int(strata.max(initial=0)) + 1) + strata
    _, first, same = np.unique(joint, return_index=True, return_inverse=True)
    return np.asarray(first[same])
