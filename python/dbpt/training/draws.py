"""The rows of an epoch, in order: each training row once, or drawn by the weights of the objective."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.objectives import Objective


class Draws(Protocol):
    """The rows of one epoch, in order."""

    def __len__(self) -> int: ...

    def indices(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the row numbers of these draws, (stop - start,) int64."""


def draws_of_epoch(objective: Objective, seed: int, epoch: int) -> Draws:
    """Return the rows of ``epoch`` (from 0), a pure function of the seed, the epoch and the objective's state."""
    if objective.apply == "sampling" and (sampler := objective.sampler(seed)) is not None:
        sampler.set_epoch(epoch)
        return sampler
    num_rows = len(objective.training.labels)
    return GroupStream(GroupIndex(np.zeros(num_rows, dtype=np.int64), 1), np.array([num_rows]), seed, epoch)
