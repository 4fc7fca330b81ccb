"""Soft membership: a sample of class y is in each group (y, a) to the share that the posterior gives a."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.group_weights.tensors import to_host

_MAX_CLASSES = 2**31 - 1


def soft_counts(posterior: ArrayLike, labels: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    """Return N_g (C·A,) float64 under soft membership: the sum of the posteriors of each group g = label·A + a.

    Posteriors are rounded to multiples of 2⁻³² and added exactly: the same bits for any order of the rows. One-hot
    rows give the counts of hard groups.

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
    rows = posteriors(posterior)
    num_classes = arguments.integer("num_classes", num_classes, 1, _MAX_CLASSES // rows.shape[1])
    return _core.soft_counts(rows, arguments.integers("labels", to_host(labels)), num_classes)


def posteriors(posterior: ArrayLike) -> NDArray[np.float64]:
    """Return posteriors, of an array or tensor, as contiguous float64 (N, A)."""
    found = arguments.array("posterior", to_host(posterior))
    if found.ndim != 2 or found.shape[1] == 0 or found.dtype.kind not in "iuf":
        raise InputError(f"posterior has shape {found.shape} and dtype {found.dtype}; expected (N, A) numbers")
    return np.ascontiguousarray(found, dtype=np.float64)


def check_columns(shape: Sequence[int], num_groups: int) -> None:
    """Refuse posteriors whose columns cannot be the attributes of ``num_groups`` = C·A groups."""
    if shape[1] == 0 or num_groups % shape[1]:
        raise InputError(
            f"posterior has shape {tuple(shape)}; expected (N, A) where there are C·A = {num_groups} groups"
        )
