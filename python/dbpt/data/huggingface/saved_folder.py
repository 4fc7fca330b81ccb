"""What ``save_to_disk`` has written into a folder: the splits, their Arrow files and the features of their columns.

    dataset_dict.json                 of a DatasetDict: the names of the splits, each a folder as follows
    state.json, dataset_info.json     of a Dataset: its files in their order, its split; its features
    data-00000-of-00001.arrow ...     rows, which are not read here

A name in them that leads out of the folder is refused.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbpt.data.cell_text import cell_text
from dbpt.data.image_folder import SPLIT_FOLDERS
from dbpt.data.jsonl import json_object
from dbpt.data.rows import read_text, shortened
from dbpt.errors import InputError

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
SAVE_AGAIN = "save it again with save_to_disk, or copy it again"


@dataclass(frozen=True)
class SavedSplit:
    """A saved Dataset.

    Attributes:
        name: of its folder in a DatasetDict, else empty.
        code: index into `SPLITS`, unless a column says it.
        files: names of its Arrow files, in order.
        features: of each column, as datasets describes it in JSON.
    """

    name: str
    code: int
    files: tuple[str, ...]
    features: Mapping[str, Any]

    def kind(self, column: str) -> str:
        """The feature of a column: ``"Image"``, ``"ClassLabel"``, ``"Value"``, ..."""
        feature = self.features.get(column)
        return str(feature.get("_type")) if isinstance(feature, dict) else "list"

    def class_names(self, column: str) -> tuple[str, ...]:
        """What the numbers of a ClassLabel mean; nothing for another feature."""
        names = self.features[column]["names"] if self.kind(column) == "ClassLabel" else ()
        return tuple(name.strip() for name in names)


def is_saved_dataset(folder: Path) -> bool:
    """Whether datasets has written into this folder, be it to the end or not."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name in (DICT, STATE, INFO) or entry.name.endswith(".arrow") for entry in entries)
    except OSError:
        return False


def find_splits(folder: Path) -> list[SavedSplit]:
    """The splits of a saved DatasetDict in their order, or the one of a saved Dataset, whose split may have a name.

    Raises:
        InputError: a folder that was not saved to its end, damaged JSON, a split of another name.
    """
    if not (folder / DICT).exists():
        return [_saved_split(folder, "", None)]
    names: Any = json_object(read_text(folder / DICT), str(folder / DICT)).get("splits")
    if not _are_names(names):
        raise InputError(f"{folder / DICT}: its 'splits' are no names; {SAVE_AGAIN}")
    check_split_names(names, str(folder))
    return [_saved_split(folder / name, name, SPLIT_FOLDERS[name.lower()]) for name in names]


def check_split_names(names: Iterable[str], where: str) -> None:
    """Refuse splits that are not called train, val, valid, validation or test, in letters of any case."""
    others = [name for name in names if name.lower() not in SPLIT_FOLDERS]
    if others:
        raise InputError(
            f"{where}: split {shortened(others, 3)} is none of {', '.join(SPLIT_FOLDERS)}; rename or drop it in the "
            "DatasetDict"
        )


def _saved_split(folder: Path, name: str, code: int | None) -> SavedSplit:
    missing = [file for file in (STATE, INFO) if not (folder / file).is_file()]
    if missing:
        raise InputError(f"{folder}: has no {missing[0]}, so it was not saved to its end; {SAVE_AGAIN}")
    state = json_object(read_text(folder / STATE), str(folder / STATE))
    if code is None:
        code = _own_code(folder, state)
    return SavedSplit(name, code, _files(folder, state), _features(folder / INFO))


def _own_code(folder: Path, state: Mapping[str, Any]) -> int:
    """The split of a Dataset: the state's (``"train[:10%]"`` is of train), else that of the DatasetDict it is part of.

    Without a name, or under one that says nothing (all, train+test), it may be trained on.
    """
    in_dict = folder.name if (folder.parent / DICT).exists() else ""
    names = (str(state.get("_split")).partition("[")[0], in_dict)
    return next((SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS), 0)


def _files(folder: Path, state: Mapping[str, Any]) -> tuple[str, ...]:
    entries = state.get("_data_files")
    names: Any = isinstance(entries, list) and [isinstance(entry, dict) and entry.get("filename") for entry in entries]
    if not (_are_names(names) or names == []) or state.get("_indices_data_files"):
        raise InputError(f"{folder / STATE}: does not list the Arrow files of this folder; {SAVE_AGAIN}")
    for name in names:
        if not name.endswith(".arrow") or not (folder / name).is_file():
            raise InputError(f"{folder / name}: is no Arrow file, though {STATE} names it; {SAVE_AGAIN}")
    return tuple(names)


def _features(info: Path) -> dict[str, Any]:
    features = json_object(read_text(info), str(info)).get("features")
    if not isinstance(features, dict) or not all(_is_feature(feature) for feature in features.values()):
        raise InputError(f"{info}: its 'features' are not those of columns; {SAVE_AGAIN}")
    return features


def _is_feature(feature: Any) -> bool:
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return isinstance(names, list) and all(isinstance(name, str) and cell_text(name) for name in names)
    return isinstance(feature, dict | list)


def _are_names(names: Any) -> bool:
    """Whether these are names of entries in one folder, at least one."""
    return (
        isinstance(names, list)
        and bool(names)
        and all(isinstance(name, str) and name not in ("", ".", "..") and not {*"/\\\0"} & {*name} for name in names)
    )
