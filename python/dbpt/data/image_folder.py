"""Images in a folder for each class, as torchvision's ImageFolder has them: ``split/class/*.jpg``, or ``class/*.jpg``.

Folders may lie deeper below a class. Nothing says what the attribute is: it is unknown for every row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dbpt.data.columns import Columns, shortened
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.labels import SPLIT_FOLDERS, coded_dataset
from dbpt.data.paths import leads_to_folder, list_entries
from dbpt.data.request import DataRequest
from dbpt.errors import InputError

# Formats that can be decoded. A file with another ending is no image, or one that would fail anyway.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass
class _Found:
    """Images row by row, and what else is there; hidden entries are neither."""

    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_image_folder(folder: Path, request: DataRequest) -> Dataset:
    """List the images; folder names are the labels, rows are in the order of split and path.

    The folder holds folders of splits (train; val, valid or validation; test) with the class folders in them, or class
    folders, whose images are all of split train.
    """
    found, notes = _Found(), []
    folders = _split_folders(folder)
    for name, split in sorted(folders.items(), key=lambda item: (item[1], item[0])):
        _list_classes(folder, f"{name}/", split, found)
    if not folders:
        _list_classes(folder, "", SPLITS.index("train"), found)
        notes.append("no folders train, val, test: all images are of split train, and there is no test split")
    if not found.paths:
        expected = f"split/class/*.jpg or class/*.jpg (or {', '.join(ENDINGS[1:])})"
        raise InputError(f"{folder}: no image in it; expected {expected}")
    if found.left_out:
        notes.append(f"{len(found.left_out)} entries are no images in a class folder: {shortened(found.left_out, 3)}")
    columns = Columns.without_lines(folder, found.paths, {"label": found.labels})
    splits = np.array(found.splits, dtype=np.int64)
    return coded_dataset(request, columns, found.paths, name=folder.name, root=folder, splits=splits, notes=notes)


def _split_folders(folder: Path) -> dict[str, int]:
    """Return the folders of splits by name, none if there are class folders instead."""
    names = [entry.name for entry in list_entries(folder) if leads_to_folder(entry)]
    splits = {name: SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS}
    others = [name for name in names if name not in splits]
    if splits and others:
        expected = "either splits, with the classes in each, or classes alone"
        raise InputError(f"{folder}: {shortened(others, 3)} beside {shortened(splits)}; expected {expected}")
    return splits


def _list_classes(root: Path, prefix: str, split: int, found: _Found) -> None:
    for entry in list_entries(root / prefix):
        if not leads_to_folder(entry):
            found.left_out.append(prefix + entry.name)
            continue
        for path in _files(root, prefix + entry.name):
            if path.lower().endswith(ENDINGS):
                found.paths.append(path)
                found.labels.append(entry.name)
                found.splits.append(split)
            else:
                found.left_out.append(path)


def _files(root: Path, folder: str) -> Iterator[str]:
    """Yield the paths below ``root`` of the files in a folder and in those below it, however deep.

    Links to folders may lead in circles, and are given as they are.
    """
    waiting = [(folder, entry) for entry in reversed(list_entries(root / folder))]
    while waiting:
        above, entry = waiting.pop()
        path = f"{above}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            waiting += [(path, below) for below in reversed(list_entries(root / path))]
        else:
            yield path
