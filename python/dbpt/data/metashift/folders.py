"""Variants of MetaShift that no table lists: images in folders which say what is on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.rows import shortened
from dbpt.errors import InputError
from dbpt.words import Words

Code = TypeVar("Code")


def list_folders(images: Path, folders: Mapping[str, Code], title: str) -> tuple[list[str], list[Code]]:
    """The ``*.jpg`` of each folder, sorted (a file system's own order differs between machines), and its code.

    Raises:
        InputError: a folder without any.
    """
    paths: list[str] = []
    codes: list[Code] = []
    for folder, code in folders.items():
        names = sorted(file.name for file in (images / folder).glob("*.jpg"))
        if not names:
            raise InputError(f"{images / folder}: no *.jpg there; {title} needs images in all of {', '.join(folders)}")
        paths += [f"{folder}/{name}" for name in names]
        codes += [code] * len(names)
    return paths, codes


def listed_dataset(
    images: Path,
    paths: list[str],
    labels: ArrayLike,
    attributes: ArrayLike,
    splits: NDArray[np.int64],
    words: Words,
    note: str,
    published: GroupCounts | None = None,
) -> Dataset:
    """The rows of `list_folders`, with a note of what else is in their folders."""
    return Dataset(
        name="metashift",
        root=images,
        source=images,
        paths=tuple(paths),
        lines=np.zeros(len(paths), dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        attributes=np.array(attributes, dtype=np.int64),
        splits=splits,
        words=words,
        notes=(note, *_left_out(images, paths)),
        published=published,
    )


def _left_out(images: Path, paths: list[str]) -> list[str]:
    """The splits are drawn over the ``*.jpg``, so another image would change which row lands where."""
    folders = dict.fromkeys(path.rpartition("/")[0] for path in paths)
    entries = (entry for folder in folders for entry in (images / folder).iterdir())
    there = {entry.relative_to(images).as_posix() for entry in entries if not entry.name.startswith(".")}
    others = sorted(there - set(paths))
    return [f"{len(others)} entries are no *.jpg and are left out: {shortened(others, 3)}"] if others else []
