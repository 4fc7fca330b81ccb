"""Parts of rows: random ones, evenly spaced ones, and the first of each unit."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt._core import GroupIndex, GroupStream


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
