"""Checks that a data set can be used: training rows, all classes, all image files. No image is opened."""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.archives import find_member
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.errors import InputError, first_few
from dbpt.storage.files import reason_of


def check_dataset(dataset: Dataset, *, training: bool = True, images: bool = True) -> None:
    """Refuse repeated paths; for ``training`` missing classes and training rows; with ``images`` missing files."""
    for problem in repeated_paths(dataset):
        raise InputError(problem)
    if training:
        check_classes(dataset)
    if images:
        _check_images(dataset)


def check_names(dataset: Dataset) -> None:
    """Refuse a name that is not UTF-8, which tables, reports and run folders can't store."""
    for row, path in enumerate(dataset.paths):
        if not path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path):
            raise InputError(f"{dataset.source}: the name of image {path!a} (row {row + 1}) is not UTF-8; rename it")


def check_possible(
    dataset: Dataset, codes: Sequence[NDArray[np.int64]] | None = None, source: str | None = None
) -> None:
    """Refuse a value that the vocabulary of a row's class excludes: a true one, or the ``codes`` of each suspect.

    These are (N,) each, from the file ``source``.
    """
    for factor, codes_N in zip(dataset.words.suspects, codes or dataset.factor_attributes, strict=True):
        for name, values in factor.of_class.items():
            of_class = (dataset.labels == dataset.class_names.index(name)) & (codes_N >= 0)
            for row in np.flatnonzero(of_class & ~np.isin(codes_N, factor.possible(name)))[:1].tolist():
                where = dataset.where(row) if source is None else f"{source}: image {dataset.paths[row]!r}"
                found = f"{factor.name} is {list(factor.values)[codes_N[row]]!r}, but class {name!r} has only"
                raise InputError(f"{where}: {found} {', '.join(values)}; mend the value or --factors")


def spelled_as_on_disk(dataset: Dataset) -> Dataset:
    """Return the data set with names in the Unicode normal form that the file system uses.

    An accented letter is one code point in most tables (NFC), and a letter and a mark in file names from a Mac (NFD).
    """
    if all(map(str.isascii, dataset.paths)):
        return dataset
    paths = tuple(path if path.isascii() else _on_disk(dataset.root, path) for path in dataset.paths)
    return dataset if paths == dataset.paths else replace(dataset, paths=paths)


def _on_disk(root: Path, path: str) -> str:
    spellings = (path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))
    return next((name for name in spellings if os.path.isfile(root / name)), path)  # noqa: PTH113 (Path.is_file raises on a name that is too long)


def repeated_paths(dataset: Dataset) -> Iterator[str]:
    """Yield a line for each row whose path occurs in an earlier row."""
    if len(set(dataset.paths)) == len(dataset):
        return
    first: dict[str, int] = {}
    for row, path in enumerate(dataset.paths):
        if (earlier := first.setdefault(path, row)) != row:
            yield f"{dataset.where(row)}: {path!r} is already at {dataset.where(earlier)}; keep one"


def check_classes(dataset: Dataset) -> None:
    """Refuse a data set without training rows, or with a class without rows or training rows."""
    train = dataset.splits == SPLITS.index("train")
    if not train.any():
        found = ", ".join(name for index, name in enumerate(SPLITS) if (dataset.splits == index).any())
        raise InputError(f"{dataset.source}: no rows of split 'train' (splits found: {found}); mark the training rows")
    everywhere = np.bincount(dataset.labels, minlength=dataset.num_classes)
    in_training = np.bincount(dataset.labels[train], minlength=dataset.num_classes)
    for name, n, n_train in zip(dataset.class_names, everywhere, in_training, strict=True):
        where = f"{dataset.source}: class {name!r}"
        if n == 0:
            raise InputError(f"{where} occurs in no row; drop it from the classes or add images")
        if n_train == 0:
            raise InputError(f"{where} has {n} rows but none in training; move some to split 'train'")


def _check_images(dataset: Dataset) -> None:
    """Refuse a data set with missing image files. The error names the first and the number of them."""
    missing = missing_rows(dataset)
    if not missing:
        return
    path, way_out = dataset.paths[missing[0]], "complete the images or take the rows out; dbpt data check lists them"
    if others := [repr(dataset.paths[row]) for row in missing[1:]]:
        way_out = f"others: {first_few(others, 3)}; {way_out}"
    if len(missing) == len(dataset):
        way_out = "is the root the folder that the paths are relative to?"
    elif "\\" in path:
        way_out = "write paths with '/'"
    found = f"{why_missing(dataset, missing[0])} ({len(missing)} of {len(dataset)} images cannot be found)"
    raise InputError(f"{dataset.where(missing[0])}: image {path!r} {found}; {way_out}")


def why_missing(dataset: Dataset, row: int) -> str:
    """Return what is wrong with the image of one of the `missing_rows`: it isn't there, or is something else."""
    path = dataset.root / dataset.paths[row]
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError) as error:
        is_loop = isinstance(error, OSError) and error.errno == errno.ELOOP
        is_dangling = not is_loop and not isinstance(error, ValueError) and os.path.islink(path)  # noqa: PTH114
        if is_loop or is_dangling:
            return f"is a link {'that leads to itself' if is_loop else f'to {os.readlink(path)}, which is missing'}"  # noqa: PTH115
        return f"is not in {dataset.root}"
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return f"is {kinds.get(stat.S_IFMT(mode), 'a device')}, not an image file"


def missing_rows(dataset: Dataset) -> list[int]:
    """Return the rows without an image file in the root."""
    root, paths = dataset.root, dataset.paths
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    unlisted = {(folder, name) for folder, names in folders.items() for name in set(names) - _file_names(root / folder)}
    if not unlisted:
        return []
    # Listings leave out links, and a file system may accept other spellings (case, Unicode forms), so ask it.
    absent = {
        f"{folder}/{name}" if folder else name for folder, name in unlisted if not _is_there(root / folder / name)
    }
    return [row for row, path in enumerate(paths) if path in absent]


def _is_there(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (once an image)
    except PermissionError:  # it exists; reading it reports the error
        return True
    except (OSError, ValueError):
        return find_member(path) is not None


def _file_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return set()
        raise InputError(f"{folder}: cannot be listed: {reason_of(error)}") from None


def published_notes(dataset: Dataset) -> list[str]:
    """Return a note for each split whose group counts differ from the published ones."""
    groups, notes = dataset.groups(dataset.attributes), []
    for split, expected in enumerate(dataset.published or ()):
        chosen = groups[(dataset.splits == split) & (groups >= 0)]
        counts = tuple(np.bincount(chosen, minlength=dataset.num_groups).tolist())
        if counts != expected:
            shown, published = ("/".join(map(str, numbers)) for numbers in (counts, expected))
            notes.append(f"{SPLITS[split]}: group counts {shown} differ from the published {published}")
    return notes
