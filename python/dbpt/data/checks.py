"""Whether a data set can be used: rows in the splits that need them, every class present, every image there.

The checks see a ``Dataset`` and the folder's listing; no image is opened.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dbpt.data.dataset import SPLITS, Dataset
from dbpt.errors import InputError
from dbpt.tar_members import find_member

GroupCounts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Rows per group, in group order, of train, val and test."""


def check_dataset(dataset: Dataset, *, training: bool = True, images: bool = True) -> None:
    """Refuse a data set that can't be trained on (or, without ``training``, evaluated); ``images``: that lacks files.

    Raises:
        InputError: a path twice, a class without rows or without training rows, no training rows, a missing image.
    """
    check_unique(dataset)
    if training:
        check_classes(dataset)
    if images:
        check_images(dataset)


def check_unique(dataset: Dataset) -> None:
    """Refuse a path that occurs twice, naming both lines."""
    if len(set(dataset.paths)) == len(dataset):
        return
    first: dict[str, int] = {}
    for row, path in enumerate(dataset.paths):
        if first.setdefault(path, row) != row:
            raise InputError(f"{dataset.where(row)}: {path!r} stands already at {dataset.where(first[path])}; keep one")


def check_classes(dataset: Dataset) -> None:
    """Refuse a data set without training rows, or with a class that has no row, or none in training."""
    train = dataset.splits == SPLITS.index("train")
    if not train.any():
        found = ", ".join(name for index, name in enumerate(SPLITS) if (dataset.splits == index).any())
        raise InputError(f"{dataset.source}: no rows of split 'train' (splits found: {found}); mark the training rows")
    everywhere = np.bincount(dataset.labels, minlength=dataset.num_classes)
    in_training = np.bincount(dataset.labels[train], minlength=dataset.num_classes)
    for name, n, n_train in zip(dataset.class_names, everywhere, in_training, strict=True):
        if n == 0:
            raise InputError(
                f"{dataset.source}: class {name!r} occurs in no row; drop it from the classes or add images"
            )
        if n_train == 0:
            raise InputError(
                f"{dataset.source}: class {name!r} has {n} rows but none in training; move some to split 'train'"
            )


def check_images(dataset: Dataset) -> None:
    """Refuse a data set with rows whose image file is missing, naming the first and how many there are."""
    missing = _missing_images(dataset.root, dataset.paths)
    if not missing:
        return
    path = dataset.paths[missing[0]]
    way_out = "complete the images or take the rows out"
    if len(missing) == len(dataset):
        way_out = "is the root the folder that the paths are relative to?"
    elif "\\" in path:
        way_out = "write paths with '/'"
    raise InputError(
        f"{dataset.where(missing[0])}: image {path!r} is not in {dataset.root} "
        f"({len(missing)} of {len(dataset)} images are missing); {way_out}"
    )


def _missing_images(root: Path, paths: Sequence[str]) -> list[int]:
    listings: dict[str, set[str]] = {}
    missing: list[int] = []
    for row, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        if folder not in listings:
            listings[folder] = _file_names(root / folder)
        if name not in listings[folder]:
            missing.append(row)
    # Links are not in the listings, and a file system may take other spellings (case, Unicode forms): ask it,
    # through os.path, which answers False to a name that is too long where Path raises.
    return [row for row in missing if not os.path.isfile(root / paths[row]) and not find_member(root / paths[row])]  # noqa: PTH113


def _file_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return set()
        raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from None


def published_note(dataset: Dataset, published: GroupCounts) -> str | None:
    """A note if the group counts are not the published ones, else None."""
    groups = dataset.groups(dataset.attributes)
    differing = []
    for split, expected in enumerate(published):
        chosen = groups[(dataset.splits == split) & (groups >= 0)]
        counts = tuple(np.bincount(chosen, minlength=dataset.num_groups).tolist())
        if counts != expected:
            differing.append(f"{SPLITS[split]} {_listed(counts)} (published {_listed(expected)})")
    return f"counts differ from the published ones: {'; '.join(differing)}" if differing else None


def _listed(counts: Sequence[int]) -> str:
    return "/".join(str(count) for count in counts)
