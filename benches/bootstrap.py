"""Draws of the training and validation rows with replacement, for tables that compare means over draws."""

from dataclasses import replace

import numpy as np

from dbpt.data import SPLITS
from dbpt.study.study import Study


def bootstrapped(study: Study, seed: int) -> Study:
    """Return ``study`` with as many rows of each split and pseudo-group as there are; rows may come several times.

    Rows of unknown group are drawn by class, and test rows stay.
    """
    groups = study.grouping("pseudo").groups
    strata = np.where(groups >= 0, groups, groups.max(initial=0) + 1 + study.dataset.labels)
    random, drawn = np.random.PCG64([0x7265, seed]), []
    for split in ("train", "val"):
        rows = np.flatnonzero(study.splits == SPLITS.index(split))
        for stratum in np.unique(strata[rows]):
            members = rows[strata[rows] == stratum]
            uniform = (random.random_raw(len(members)) >> np.uint64(11)) * 2.0**-53
            drawn.append(members[(uniform * len(members)).astype(np.int64)])
    return replace(study, drawn=np.sort(np.concatenate(drawn)))
