"""Images in a folder for each class, as for torchvision's ImageFolder.

Folders are ``split/class/*.jpg``, or ``class/*.jpg``; a class may have folders below its own, and the attribute of
every row is unknown.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dbpt.data.columns import Columns, DataRequest, shortened
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.labels_and_splits import SPLIT_FOLDERS, coded_dataset
from dbpt.data.paths import ENDINGS, leads_to_folder, list_entries
from dbpt.errors import InputError


def read_image_folder(folder: Path, request: DataRequest) -> Dataset:
    """List the images. Folder names are the labels; rows are sorted by split and path.

    Without folders of splits (`SPLIT_FOLDERS`), all images are in split train. Hidden entries are ignored.
    """
    folders = _split_folders(folder)
    ordered = sorted(folders, key=lambda name: (folders[name], name))
    entries = [(path, label, folders[name]) for name in ordered for path, label in _entries(folder, name)]
    images = [(path, label, split) for path, label, split in entries if label is not None]
    left_out = [path for path, label, _ in entries if label is None]
    notes: list[str] = []
    inner = sorted({path.split("/")[1] for path, label, _ in entries if label and path.count("/") > 1})
    if "" in folders and (inner_splits := [name for name in inner if name.lower() in SPLIT_FOLDERS]):
        expected = "expected split/class/*.jpg; move the splits above the classes"
        raise InputError(f"{folder}: {shortened(inner_splits)} inside the folders of classes; {expected}")
    if "" in folders:
        notes.append("no folders train, val, test: all images are in split train, and there is no test split")
    if not images:
        expected = f"split/class/*.jpg or class/*.jpg (or {', '.join(ENDINGS[1:])}), or a table that names the images"
        raise InputError(f"{folder}: no image in a folder of its class; expected {expected}")
    if left_out:
        notes.append(f"{len(left_out)} entries are not images in a class folder: {shortened(left_out, 3)}")
    paths, labels, splits = map(list, zip(*images, strict=True))
    columns = Columns(folder, [0] * len(paths), {"label": labels}, names=paths)
    codes = np.array(splits, dtype=np.int64)
    return coded_dataset(request, columns, paths, name=folder.name, root=folder, splits=codes, notes=notes)


def _split_folders(folder: Path) -> dict[str, int]:
    """Return the folders of splits by name, or the folder itself under "" if it has class folders instead."""
    names = [entry.name for entry in list_entries(folder) if leads_to_folder(entry)]
    splits = {name: SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS}
    others = [name for name in names if name not in splits]
    if splits and others:
        expected = "either splits, with the classes in each, or classes alone"
        raise InputError(f"{folder}: {shortened(others, 3)} beside {shortened(splits)}; expected {expected}")
    return splits or {"": SPLITS.index("train")}


def _entries(root: Path, split_folder: str) -> Iterator[tuple[str, str | None]]:
    """Yield every path in the class folders, relative to ``root``, and its label; None if it is no image."""
    prefix = f"{split_folder}/" if split_folder else ""
    for entry in list_entries(root / prefix):
        if not leads_to_folder(entry):
            yield prefix + entry.name, None
            continue
        for path in files_below(root, prefix + entry.name):
            yield path, entry.name if path.lower().endswith(ENDINGS) else None


def files_below(root: Path, folder: str) -> Iterator[str]:
    """Yield the files in a folder and in those below it, relative to ``root``, sorted and without hidden entries.

    Links to folders are not followed, since they may be circular; they are yielded themselves.
    """
    waiting = [(folder, entry) for entry in reversed(list_entries(root / folder))]
    while waiting:
        above, entry = waiting.pop()
        path = f"{above}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            waiting += [(path, below) for below in reversed(list_entries(root / path))]
        else:
            yield path
