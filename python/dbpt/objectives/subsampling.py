"""ERM on a random subset with equally many rows of each class or group (Idrissi et al., 2022, arXiv 2110.14503)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.objectives.base import Objective


class Subg(Objective):
    """ERM on as many rows of each group as the smallest one has, drawn once from the seed, as by the authors' code.

    Groups without rows don't count. Rows of unknown group are left out.
    """

    name = "subg"
    title = "SUBG"
    uses_groups = True
    leaves_unknown_out = True
    part = "group"

    @property
    def parts(self) -> NDArray[np.int64]:
        """(N,) the part of each training row, of which the subset has equally many rows; -1 leaves a row out."""
        return self.training.groups

    def subset(self, seed: int) -> NDArray[np.int64]:
        """Return the rows of the subset."""
        (rows,) = balanced_subsets(self.parts, seed, 1)
        return rows

    @property
    def note(self) -> str:
        """The size of the subset."""
        rows = self.subset(0)
        each = len(rows) // len(np.unique(self.parts[rows]))
        return f"trained on {len(rows)} of {len(self.parts)} rows, {each} of each {self.part}"


class Suby(Subg):
    """The same with classes in place of groups, so it uses no attribute."""

    name = "suby"
    title = "SUBY"
    uses_groups = False
    leaves_unknown_out = False
    part = "class"

    @property
    def parts(self) -> NDArray[np.int64]:
        """(N,) the classes."""
        return self.training.labels


def balanced_subsets(groups: NDArray[np.int64], seed: int, number: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of ``number`` random subsets of ``groups`` (N,), each with equally many of every group.

    A group that has rows has as many in each subset as the smallest such group. Group -1 is left out.
    """
    index = GroupIndex(groups, int(groups.max()) + 1)
    present = index.counts > 0
    quotas = np.where(present, index.counts[present].min(), 0)
    for epoch in range(number):
        yield GroupStream(index, quotas, seed, epoch).indices(0, int(quotas.sum()))
