"""Which rows are trained on, which choose the epoch, and what a user should know about the groups in each."""

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.data import SPLITS, Dataset
from dbpt.errors import InputError
from dbpt.groups import group_counts
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig

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


def training_counts(dataset: Dataset, splits: NDArray[np.int64], attributes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(G,) training rows of each group under ``attributes``, true or pseudo."""
    return group_counts(dataset.groups(attributes)[splits == SPLITS.index("train")], dataset.num_groups)


def shown_average(asked: str | None, dataset: Dataset, train_counts: NDArray[np.int64]) -> str:
    """Return which average tables show: the one ``asked`` for with ``--average``, else that of the data set.

    Raises `InputError` if the adjusted one was asked for and no training row has a group.
    """
    if train_counts.any():
        return asked or dataset.average
    if asked == "adjusted":
        raise InputError(
            f"--average adjusted: {dataset.source} has no training row of a known group, and the groups' shares of the "
            "training images are the weights; choose --average plain"
        )
    return "plain"


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
    dataset: Dataset, config: FitConfig, pseudo_groups: NDArray[np.int64], splits: NDArray[np.int64]
) -> list[str]:
    """What a user should know about groups without a row to learn from, and with few or none to choose an epoch by.

    Of the groups that are trained on, and those that ``select`` judges by; nothing of validation where it judges by
    none.
    """
    learnt, kind = _trained_on(dataset, config, pseudo_groups)
    trains_on = OBJECTIVES[config.objective].trains_on
    elsewhere = "val" if trains_on == "train" else "train"
    train_G, other_G = (_rows_per_group(dataset, learnt, splits, split) for split in (trains_on, elsewhere))
    warnings = []
    if few := _listed(dataset, train_G == 0, other_G, elsewhere):
        warnings.append(
            f"{kind}-groups with no row in split {trains_on!r}: {few}; nothing is learnt about them, add rows of them"
        )
    if not config.select.endswith("-wga"):
        return warnings
    kind = config.select.removesuffix("-wga")
    judged = dataset.groups(dataset.attributes) if kind == "true" else pseudo_groups
    train_G, val_G = (_rows_per_group(dataset, judged, splits, split) for split in ("train", "val"))
    if few := _listed(dataset, (val_G == 0) & (train_G > 0), train_G, "train"):
        warnings.append(
            f"{kind}-groups with no row in split 'val': {few}; the epoch is chosen without them, as if they did not "
            "exist: add rows of them, or choose with --select last"
        )
    if few := _listed(dataset, (val_G > 0) & (val_G < SMALL_VALIDATION_GROUP), val_G, "val"):
        warnings.append(
            f"{kind}-groups with under {SMALL_VALIDATION_GROUP} rows in split 'val': {few}; a few images decide which "
            "epoch is kept: add rows of them, or choose with --select average or last"
        )
    return warnings


def _trained_on(dataset: Dataset, config: FitConfig, pseudo_groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    if config.group_source == "true":
        return dataset.groups(dataset.attributes), "true"
    return pseudo_groups, "pseudo"


def _rows_per_group(
    dataset: Dataset, groups: NDArray[np.int64], splits: NDArray[np.int64], split: str
) -> NDArray[np.int64]:
    return group_counts(groups[splits == SPLITS.index(split)], dataset.num_groups)


def _listed(dataset: Dataset, chosen: NDArray[np.bool_], rows: NDArray[np.int64], split: str) -> str:
    """The chosen groups by name, each with its rows in ``split``."""
    return ", ".join(f"{dataset.group_names[g]} ({rows[g]} in {split!r})" for g in np.flatnonzero(chosen).tolist())
