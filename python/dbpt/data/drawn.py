"""Rows that the seed draws from the training split: a validation split, and a few shots of each class."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.data.dataset import SPLITS, Dataset
from dbpt.errors import InputError
from dbpt.groups.permutation import random_part

MOST_VALIDATION_SHOTS = 4


def hold_out(
    dataset: Dataset, strata: NDArray[np.int64], fraction: float, seed: int, *, by: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the splits (N,) and a note: without validation rows, ``fraction`` of each training stratum becomes them.

    ``strata`` are (N,), the ``by`` of the note. One with a single row keeps it.
    """
    train, val = SPLITS.index("train"), SPLITS.index("val")
    if (dataset.splits == val).any():
        return dataset.splits, ()
    splits, training = dataset.splits.copy(), np.flatnonzero(dataset.splits == train)
    held = random_part(strata[training], lambda n: min(max(1, round(fraction * n)), n - 1), seed)
    splits[training[held]] = val
    if not held.any():
        raise InputError(f"{dataset.source}: too few training rows for a validation split; add a val split")
    return splits, (f"no validation split: {held.sum()} of the training rows, stratified by {by}, serve as one",)


def few_shots(dataset: Dataset, shots: int, *, val_fraction: float, seed: int) -> Dataset:
    """Return the data set with ``shots`` training and at most 4 validation rows of each class, and all test rows.

    The few-shot protocol of CoOp (Zhou et al., 2022), as in its authors' code, but with our random numbers. Data
    without validation rows get some first, by class. A class with fewer rows keeps them all.
    """
    splits, notes = hold_out(dataset, dataset.labels, val_fraction, seed, by="class")
    for_validation = min(shots, MOST_VALIDATION_SHOTS)
    kept = splits == SPLITS.index("test")
    for split, most in (("train", shots), ("val", for_validation)):
        rows = np.flatnonzero(splits == SPLITS.index(split))
        kept[rows[random_part(dataset.labels[rows], lambda n, most=most: min(n, most), seed)]] = True  # type: ignore[misc]
    drew = f"few shots: {shots} training and {for_validation} validation images of each class, drawn by the seed"
    drawn = replace(dataset, splits=splits, notes=(*dataset.notes, *notes, drew), average="plain")
    return replace(drawn.take(rows := np.flatnonzero(kept)), places=rows, num_listed=len(dataset))
