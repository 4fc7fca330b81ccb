"""The rows of an epoch, in order: each row to train on once, or drawn by the weights of the objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dbpt._core import GroupIndex, GroupStream, Stream
from dbpt.objectives import Objective

if TYPE_CHECKING:
    from dbpt.sampling import GroupSampler, WeightedSampler

Draws: TypeAlias = "Stream | GroupSampler | WeightedSampler"


def draws_of_epoch(objective: Objective, seed: int, epoch: int) -> Draws:
    """Return the rows of ``epoch`` (from 0), a pure function of the seed, the epoch and the objective's state.

    A sampler made anew in each epoch is as fair over the epochs as one that is kept: its quotas depend on the epoch.
    """
    if objective.apply == "sampling" and (sampler := objective.sampler(seed)) is not None:
        sampler.set_epoch(epoch)
        return sampler
    part = np.zeros(len(objective.training.labels), dtype=np.int64)
    if (subset := objective.subset(seed)) is not None:
        part -= 1
        part[subset] = 0
    index = GroupIndex(part, 1)
    return GroupStream(index, index.counts, seed, epoch)
