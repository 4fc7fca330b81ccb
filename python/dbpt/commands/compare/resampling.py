"""Random halves of the rows, for `--resample`: by their spread, differences have intervals over the images."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS
from dbpt.study.study import Study

RESAMPLING = 0x7265
"""Set apart from the other random numbers of a seed."""


def half_of(study: Study, draw: int) -> Study:
    """Return ``study`` with a random half of the training and validation rows; test rows stay.

    It is half of each split, class and pseudo attribute. Rows of unknown attribute are drawn by class.
    """
    groups = study.grouping("pseudo").groups
    strata = np.where(groups >= 0, groups, groups.max(initial=0) + 1 + study.dataset.labels)
    rows = np.flatnonzero(study.splits != SPLITS.index("test"))
    drawn = half_of_each(strata[rows] * len(SPLITS) + study.splits[rows], draw)
    return replace(study, drawn=rows[drawn])


def half_of_each(strata: NDArray[np.int64], draw: int) -> NDArray[np.bool_]:
    """Return (N,) bool: a random half of the rows of each stratum, drawn without replacement.

    The mean of half of n rows differs from that of all of them with a variance of s²/n, which is also the variance of
    the mean of n rows (McCarthy, 1969). So the spread over halves is the standard error with all rows, as it stands.
    An odd number is rounded up or down by chance, but one row of a stratum always stays.
    """
    random = np.random.PCG64([RESAMPLING, draw])  # stable in NumPy
    drawn = np.zeros(len(strata), dtype=np.bool_)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        up = int(random.random_raw()) >> 63
        order = np.argsort(random.random_raw(len(members)), kind="stable")
        drawn[members[order[: max(1, (len(members) + up) // 2)]]] = True
    return drawn
