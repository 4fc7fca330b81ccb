"""Folders that ``save_to_disk`` of Hugging Face's datasets has written, read by that library; no image is decoded.

An image goes by the Arrow file that holds its bytes: ``train/data-00000-of-00001.arrow/image/17`` is row 17 of that
file, and `dbpt.data.archives` reads it there. So the feature cache tells rows by this path, the number of bytes, and
the file's modification time, as it does with rows of tar shards.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbpt.data.archives.arrow import image_column
from dbpt.data.cell_text import cell_text
from dbpt.data.choices import SPLIT_FOLDERS, Choices
from dbpt.data.column_names import ROLES
from dbpt.data.dataset import Dataset
from dbpt.data.folders import is_file, is_there
from dbpt.data.jsonl import json_object
from dbpt.data.rows import Columns, check_number, column_position, read_text, shortened
from dbpt.data.value_codes import is_unknown
from dbpt.data.words import Vocabulary
from dbpt.errors import InputError

if TYPE_CHECKING:
    import datasets

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
SAVE_AGAIN = "save it again with save_to_disk, or copy it again"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether datasets has written into this folder, be it to the end or not."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name in (DICT, STATE, INFO) or entry.name.endswith(".arrow") for entry in entries)
    except OSError:
        return False


def read_saved_dataset(folder: Path, choices: Choices) -> Dataset:
    """Read the labels, attributes and splits of a saved data set.

    Args:
        folder: a DatasetDict with the splits train, val (valid, validation) and test, or a Dataset, with a column of
            splits or all of one.
        choices: without names, those of a ClassLabel that rows have are taken, in its order. The images are the column
            of feature Image, unless ``path`` says which of several.

    Raises:
        InputError: no datasets; a damaged or half-written folder, no column of images or more than one, a row without a
            label; as `Choices.dataset`.
    """
    splits, given, named = _load(folder), choices.columns, choices.named
    image = _image_column_name(folder, splits, given.get("path"))
    # Of several splits each says what its rows are.
    unnamed = ("attribute",) if len(splits) > 1 else ("attribute", "split")
    features = {name for split in splits.values() for name in split.features}
    others = [role for role in ("attribute", "split") if role in given or (role in unnamed and role in features)]
    for name, split in splits.items():
        for column in (named["label"], *(named[role] for role in others if role in given)):
            column_position(str(folder / name), list(split.features), column)
    paths: list[str] = []
    codes: list[int] = []
    values: dict[str, list[str]] = {named[role]: [] for role in ("label", *others)}
    notes: list[str] = []
    for name, split in splits.items():
        places = list(_image_paths(folder, split, image))
        texts = {column: _texts(folder, split, column, places) for column in values}
        labels = texts[named["label"]]
        without = [
            row for row, label in enumerate(labels) if is_unknown(label)
        ]  # the hub's -1 for tests of competitions
        if labels and len(without) == len(labels):
            notes.append(f"split {name!r} is left out: its {len(labels)} rows have no {named['label']} (-1 or empty)")
            continue
        if without:
            raise InputError(
                f"{folder / places[without[0]]}: {named['label']} is {labels[without[0]] or 'empty'}, no label "
                f"({len(without)} of {len(labels)} rows); leave such rows out with filter of datasets, and save again"
            )
        paths += places
        codes += [_split_code(folder, name, split)] * len(places)
        for column, cells in texts.items():
            values[column] += cells
    if not paths:
        raise InputError(
            f"{folder}: no row has a {named['label']}; save rows that have one, or name its column: label=NAME"
        )
    rows = Columns(folder, [0] * len(paths), values, names=paths)
    own = {role: _own_names(splits.values(), named[role], set(values.get(named[role], ()))) for role in ROLES[1:]}
    if choices.classes is None:
        notes += _unused_names(splits.values(), named["label"], set(values[named["label"]]))
    return choices.dataset(
        rows,
        paths,
        name=folder.name,
        root=folder,
        splits=None if "split" in others else np.array(codes, dtype=np.int64),
        own_classes=own["label"],
        own_attributes=own["attribute"],
        notes=notes,
    )


def check_split_names(names: Iterable[str], where: str) -> None:
    """Refuse splits that are not called train, val, valid, validation or test, in letters of any case."""
    others = [name for name in names if name.lower() not in SPLIT_FOLDERS]
    if others:
        raise InputError(
            f"{where}: split {shortened(others, 3)} is none of {', '.join(SPLIT_FOLDERS)}; rename or drop it in the "
            "DatasetDict"
        )


def _load(folder: Path) -> "dict[str, datasets.Dataset]":
    """The splits of a saved DatasetDict by name, a saved Dataset under the empty name; their files are mapped."""
    names = [""]
    if is_there(folder / DICT):
        names = json_object(read_text(folder / DICT), str(folder / DICT)).get("splits", [])
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{folder / DICT}: its 'splits' are no names; {SAVE_AGAIN}")
        check_split_names(names, str(folder))
    try:
        import datasets
    except ImportError:
        raise InputError(f"{folder}: reading it needs datasets; run pip install 'dbpt[datasets]'") from None
    splits = {}
    for name in names:
        if not _files(folder / name):  # an empty split, which datasets saves but can't load
            continue
        try:
            splits[name] = datasets.Dataset.load_from_disk(str(folder / name)).with_format(None)
        except Exception as error:  # whatever the library raises of damaged files
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{folder / name}: datasets cannot load it ({type(error).__name__}: {reason}); {SAVE_AGAIN}"
            ) from None
        check_number(folder / name, len(splits[name]))
    if not splits:
        raise InputError(f"{folder}: has no rows; save some")
    return splits


def _files(folder: Path) -> list[str]:
    """The Arrow files of a split, which must be in its folder: the library would open whatever ``state.json`` names."""
    for file in (STATE, INFO):
        if not is_there(folder / file):
            raise InputError(f"{folder}: has no {file}, so it was not saved to its end; {SAVE_AGAIN}")
    state: Any = json_object(read_text(folder / STATE), str(folder / STATE))
    if state.get("_indices_data_files"):  # of versions before 2.0, which today's would take for all rows
        raise InputError(f"{folder / STATE}: an old datasets saved a selection of rows here; {SAVE_AGAIN}")
    listed = state.get("_data_files")
    names: list[Any] = [entry.get("filename") for entry in listed] if _are_objects(listed) else [None]
    for name in names:
        if not isinstance(name, str) or not name.endswith(".arrow") or "/" in name or not is_file(folder / name):
            raise InputError(f"{folder / STATE}: {name!r:.80} is no Arrow file of this folder; {SAVE_AGAIN}")
    return names


def _are_objects(listed: Any) -> bool:
    return isinstance(listed, list) and all(isinstance(entry, dict) for entry in listed)


def _image_column_name(folder: Path, splits: "Mapping[str, datasets.Dataset]", given: str | None) -> str:
    """The column of images in every split: the given one, or the only one."""
    kinds = {name: {c: type(f).__name__ for c, f in split.features.items()} for name, split in splits.items()}
    first, of_first = next(iter(kinds.items()))
    found = [column for column, kind in of_first.items() if kind == "Image"]
    if given is None and len(found) != 1:
        problem = (
            f"{shortened(found)} all hold images; say which: --columns path={found[0]}"
            if found
            else (
                f"no column has the feature Image (columns: {shortened(of_first)}); cast the one of images: "
                "cast_column(NAME, datasets.Image())"
            )
        )
        raise InputError(f"{folder / first}: {problem}")
    column = found[0] if given is None else given
    for name, of_split in kinds.items():
        column_position(str(folder / name), list(of_split), column)
        if of_split[column] != "Image":
            raise InputError(
                f"{folder / name}: column {column!r} has the feature {of_split[column]}, expected Image; cast it: "
                f"cast_column({column!r}, datasets.Image())"
            )
    return column


def _image_paths(folder: Path, split: "datasets.Dataset", image: str) -> Iterator[str]:
    """The place of each row's image, relative to ``folder``."""
    for file in (Path(entry["filename"]) for entry in split.cache_files):
        prefix = f"{file.relative_to(folder).as_posix()}/{image}"
        yield from (f"{prefix}/{row}" for row in range(len(image_column(file, image))))


def _split_code(folder: Path, name: str, split: "datasets.Dataset") -> int:
    """The split's place in a DatasetDict, or what a Dataset calls itself (``"train[:10%]"`` is of train).

    Without a name, or under one that says nothing (all, train+test), it may be trained on.
    """
    in_dict = folder.name if is_there(folder.parent / DICT) else ""
    names = (name, str(split.split).partition("[")[0], in_dict)
    return next((SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS), 0)


def _texts(folder: Path, split: "datasets.Dataset", column: str, places: Sequence[str]) -> list[str]:
    """Cells as text, nothing where the split lacks the column; of a ClassLabel the names."""
    if column not in split.features:
        return [""] * len(places)
    cells = split.data.column(column)
    try:
        cells.validate(full=True)  # what is taken from a damaged file must not lead out of it
    except ValueError as error:
        raise InputError(
            f"{folder}: column {column!r} is damaged ({' '.join(str(error).split())}); {SAVE_AGAIN}"
        ) from None
    values = cells.to_pylist()
    texts = [cell_text(value) for value in values]
    names = _class_names(split, column)
    if names:
        meaning = {"": "", "-1": "-1"} | {str(number): name for number, name in enumerate(names)}
        texts = [text if text is None else meaning.get(text) for text in texts]
    if None in texts:
        row = texts.index(None)
        expected = f"a number from 0 to {len(names) - 1}" if names else "text or a number"
        raise InputError(f"{folder / places[row]}: {column} is {values[row]!a:.80}, expected {expected}")
    return [text.strip() for text in texts if text is not None]


def _class_names(split: "datasets.Dataset", column: str) -> list[str]:
    """What the numbers of a ClassLabel mean; nothing for another feature."""
    names = getattr(split.features.get(column), "names", None) or ()
    return [(cell_text(name) or "").strip() for name in names]


def _own_names(splits: "Iterable[datasets.Dataset]", column: str, present: set[str]) -> Vocabulary | None:
    """Of a ClassLabel the names that rows have, in its order; None if it has no two of them, or is another feature."""
    names = dict.fromkeys(name for split in splits for name in _class_names(split, column))
    vocabulary: Vocabulary = {name: (name,) for name in names if name in present}
    return vocabulary if len(vocabulary) > 1 else None


def _unused_names(splits: "Iterable[datasets.Dataset]", label: str, present: set[str]) -> list[str]:
    names = {name for split in splits for name in _class_names(split, label)} - present
    if not names:
        return []
    return [f"no row has {len(names)} of the names of {label!r}, which are left out: {shortened(sorted(names), 3)}"]
