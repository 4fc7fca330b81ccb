"""Rows held out of training: the validation split of data without one, and the draw of `--shots`."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.errors import InputError
from dbpt.groups.ids import random_part

MOST_VALIDATION_SHOTS = 4


def hold_out(
    dataset: Dataset, strata: NDArray[np.int64], fraction: float, seed: int, *, by: str
) -> tuple[NDArray[np.int64], tuple[Caution, ...]]:
    """Return the splits (N,) and a warning. If validation has no rows, it gets a part of the training rows.

    Args:
        dataset: N images.
        strata: (N,) each gives the same share of its training rows. One with a single row keeps it.
        fraction: that share.
        seed: draws the rows.
        by: what the strata are, for the warning.
    """
    if dataset.in_split("val").any():
        return dataset.splits, ()
    splits, training = dataset.splits.copy(), np.flatnonzero(dataset.in_split("train"))
    held = random_part(strata[training], lambda n: min(max(1, round(fraction * n)), n - 1), seed)
    splits[training[held]] = SPLITS.index("val")
    if not held.any():
        raise InputError(f"{dataset.source}: too few training rows for a validation split; add a val split")
    return splits, (caution("held out", n=int(held.sum()), by=by),)


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
    drew = f"few shots: {shots} training and {for_validation} validation images of each class, drawn with the seed"
    drawn = replace(dataset, splits=splits, notes=(*dataset.notes, *map(str, notes), drew), average="plain")
    return replace(drawn.take(rows := np.flatnonzero(kept)), places=rows, num_listed=len(dataset))
