"""Draws of the training and validation rows: how far the results would differ with other images of the same kind."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS
from dbpt.experiments.figures import Labelled

RESAMPLING = 0x7265
"""Set apart from the other random numbers of a seed."""


def resampled(labelled: Labelled, seed: int) -> Labelled:
    """Return ``labelled`` with the training and validation rows of draw ``seed``; test rows stay.

    A bootstrap (Efron, 1979): in each split and pseudo-group as many rows as there are, drawn with replacement. Rows of
    unknown group are drawn by class.
    """
    dataset, groups = labelled.dataset, labelled.groups("pseudo")
    strata = np.where(groups >= 0, groups, groups.max(initial=0) + 1 + dataset.labels)
    random = np.random.PCG64([RESAMPLING, seed])  # whose raw numbers NumPy keeps stable
    drawn: list[NDArray[np.int64]] = []
    for split in ("train", "val"):
        rows = np.flatnonzero(labelled.splits == SPLITS.index(split))
        for stratum in np.unique(strata[rows]):
            members = rows[strata[rows] == stratum]
            uniform = (random.random_raw(len(members)) >> np.uint64(11)) * 2.0**-53
            drawn.append(members[(uniform * len(members)).astype(np.int64)])
    return replace(labelled, drawn=np.sort(np.concatenate(drawn)))
