"""Group ids g = y·A + a, the number of rows in each group, and checks of their arrays."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError

MAX_MEASURED_GROUPS = 2**20  # each group gets its figures as an object, about half a kilobyte


def group_ids(labels: NDArray[np.int64], attributes: NDArray[np.int64], num_attributes: int) -> NDArray[np.int64]:
    """Return the groups g = y·A + a, (N,) int64, numbered as in WILDS and group_DRO; -1 where the attribute is -1."""
    return np.where(attributes < 0, -1, labels * num_attributes + attributes)


def class_and_attribute(group: int, num_attributes: int) -> tuple[int, int]:
    """Return the class y and the attribute a of the group g = y·A + a."""
    return divmod(group, num_attributes)


def group_name(class_name: str, attribute: str) -> str:
    """Return the name of the group of a class and an attribute: that of the class if the attribute has none ("")."""
    return f"{class_name} · {attribute}" if attribute else class_name


def group_counts(groups: NDArray[np.int64], num_groups: int) -> NDArray[np.int64]:
    """Return the number of rows in each group, (G,) int64; rows of group -1 are not counted."""
    return np.bincount(groups[groups >= 0], minlength=num_groups).astype(np.int64)


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
    """Return values as (N,) int64 after checking shape, dtype and low <= value < stop."""
    array = np.asarray(values)
    if array.ndim != 1 or (rows is not None and array.size != rows):
        expected = "(N,)" if rows is None else f"({rows},), a value for each prediction or pseudo attribute"
        raise InputError(f"{name} has shape {array.shape}; expected {expected}")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and np.isnan(array).any()):
        raise InputError(f"{name} has dtype {array.dtype}; expected integers in {low}..{stop - 1}")
    arguments.check_each(name, array, (array >= low) & (array < stop), f"an integer in {low}..{stop - 1}")
    return array.astype(np.int64)
