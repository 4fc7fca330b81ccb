"""A random order of rows by the core's generator, which gives the same on every machine."""

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream


def permutation(n: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """Return the numbers 0..n-1 in random order, (n,) int64: the draws of a group stream of one group in ``epoch``."""
    stream = GroupStream(GroupIndex(np.zeros(n, dtype=np.int64), 1), np.array([n]), seed, epoch)
    return stream.indices(0, n)
