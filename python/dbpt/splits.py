"""Which rows are trained on, which choose the epoch, and what a user should know about the groups in each."""

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.config import FitConfig
from dbpt.data import SPLITS, Dataset
from dbpt.errors import InputError

SMALL_VALIDATION_GROUP = 10


def knows_true_groups(dataset: Dataset, splits: NDArray[np.int64]) -> bool:
    """Whether figures can be over true groups: at least half of each class's judged rows have a true attribute.

    Judged rows are those of the test split, of validation where there is no test split, else of training.
    """
    split = next(number for number in (2, 1, 0) if (splits == number).any())
    labels = dataset.labels[splits == split]
    known = dataset.attributes[splits == split] >= 0
    rows_C = np.bincount(labels, minlength=dataset.num_classes)
    known_C = np.bincount(labels[known], minlength=dataset.num_classes)
    return bool((2 * known_C >= rows_C).all())


def with_validation(
    dataset: Dataset, pseudo_groups: NDArray[np.int64], config: FitConfig
) -> tuple[NDArray[np.int64], list[str]]:
    """The data set's splits, or, if none is validation, with ``val_fraction`` of each training group set aside."""
    if (dataset.splits == SPLITS.index("val")).any():
        return dataset.splits, []
    splits = dataset.splits.copy()
    strata = np.where(pseudo_groups >= 0, pseudo_groups, dataset.num_groups + dataset.labels)
    for stratum in np.unique(strata[splits == 0]):
        members = np.flatnonzero((splits == 0) & (strata == stratum))
        shuffled = GroupStream(GroupIndex(np.zeros_like(members), 1), np.array([len(members)]), config.seed, 0)
        num_val = min(max(1, round(config.val_fraction * len(members))), len(members) - 1)
        splits[members[shuffled.indices(0, num_val)]] = SPLITS.index("val")
    num_val = int((splits == SPLITS.index("val")).sum())
    if num_val == 0:
        raise InputError(f"{dataset.source}: too few training rows to set some aside for validation; add a val split")
    note = (
        f"no validation split: {num_val} of the training rows, stratified by class and pseudo attribute, serve as one"
    )
    return splits, [note]


def group_warnings(
    dataset: Dataset, pseudo_groups: NDArray[np.int64], splits: NDArray[np.int64], *, trains_on: str = "train"
) -> list[str]:
    """What a user should know about pseudo-groups that are empty in training or too small to choose an epoch by.

    ``trains_on`` is the split that the objective learns from.
    """
    warnings = []
    for split, enough, consequence in (
        (trains_on, 1, "nothing is learnt about them"),
        ("val", SMALL_VALIDATION_GROUP, "a few images decide which epoch is kept"),
    ):
        in_split = pseudo_groups[(splits == SPLITS.index(split)) & (pseudo_groups >= 0)]
        few = [
            f"{dataset.class_names[group // dataset.num_attributes]} · "
            f"{dataset.attribute_names[group % dataset.num_attributes]} ({n})"
            for group, n in enumerate(np.bincount(in_split, minlength=dataset.num_groups))
            if n < enough
        ]
        if few:
            how_many = "no row" if enough == 1 else f"under {enough} rows"
            warnings.append(f"pseudo-groups with {how_many} in split {split!r}: {', '.join(few)}; {consequence}")
    return warnings
