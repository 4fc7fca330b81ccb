"""Data sets of Hugging Face: objects, which are saved in the cache, and folders that ``save_to_disk`` wrote."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dbpt.data import columns as tabular
from dbpt.data.dataset import Dataset
from dbpt.data.labels_and_splits import SPLIT_FOLDERS, coded_dataset, is_unknown
from dbpt.data.other_columns import OtherCells
from dbpt.data.paths import image_column, is_file, is_there
from dbpt.data.tables import read_text
from dbpt.data.words import Vocabulary
from dbpt.environment import cache_folder
from dbpt.errors import InputError, foreign_errors, optional_module
from dbpt.storage.files import reason_of, system_errors
from dbpt.storage.typed_json import json_object

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
SAVE_AGAIN = "save it again with save_to_disk, or copy it again"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether datasets wrote into this folder, completely or not."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name in (DICT, STATE, INFO) or entry.name.endswith(".arrow") for entry in entries)
    except OSError:
        return False


def read_saved_dataset(folder: Path, request: tabular.DataRequest) -> Dataset:
    """Read the labels, attributes and splits of a saved data set.

    If ``request`` has no names, they are the names of the ClassLabel that occur in the rows, in its order. Images come
    from the column of the type Image; if there are several, ``path`` says which.
    """
    splits, names = _load(folder), request.column_names
    image, label = _image_column_name(folder, splits, request.columns.get("path")), names["label"]
    features = {name for split in splits.values() for name in split.features}
    required = {"label", *request.columns}
    existing = {role for role, name in names.items() if name in features}
    if len(splits) > 1:
        existing.discard("split")  # their names tell the split of a row, unless a column is named
    wanted = names.keys() & (required | existing)
    read = {role: name for role, name in names.items() if role in wanted and role != "path"}
    for name, split in splits.items():
        for column in (column for role, column in read.items() if role in required):
            tabular.column_position(str(folder / name), list(split.features), column, tabular.COLUMNS_HINT)
    paths: list[str] = []
    codes: list[int] = []
    values: dict[str, list[str]] = {column: [] for column in read.values()}
    notes: list[str] = []
    others = OtherCells(request.with_role)
    for name, split in splits.items():
        images = list(_image_paths(folder, split, image))
        texts = {column: _texts(folder, split, column, images) for column in values}
        labels = texts[label]
        # -1 in the test splits of competitions
        without = [row for row, text in enumerate(labels) if is_unknown(text)]
        if labels and len(without) == len(labels):
            notes.append(f"split {name!r} is left out: its {len(labels)} rows have no {label} (-1 or empty)")
            continue
        if without:
            problem = f"{labels[without[0]] or 'empty'}, no label ({len(without)} of {len(labels)} rows)"
            hint = "leave such rows out with filter of datasets, and save again"
            raise InputError(f"{folder / images[without[0]]}: {label} is {problem}; {hint}")
        paths += images
        codes += [_split_code(folder, name, split)] * len(images)
        for column, cells in texts.items():
            values[column] += cells
        kinds = {column: type(kind).__name__ for column, kind in split.features.items() if column != image}
        beside = others.positions(list(kinds), [c for c, kind in kinds.items() if kind not in ("Value", "ClassLabel")])
        others.add({column: _values(folder, split, column) for column in beside}, len(images))
    if not paths:
        hint = "save rows that have one, or name its column: --columns label=NAME"
        raise InputError(f"{folder}: no row has a {label}; {hint}")
    if request.classes is None and (unused := set(_class_names(splits.values(), label)) - set(values[label])):
        shown = tabular.shortened(sorted(unused), 3)
        notes.append(f"no row has {len(unused)} of the names of {label!r}, which are left out: {shown}")
    own = {role: _own_names(splits.values(), column, set(values[column])) for role, column in read.items()}
    return coded_dataset(
        request,
        tabular.Columns(folder, [0] * len(paths), values, names=paths, others=others.columns()),
        paths,
        name=folder.name,
        root=folder,
        splits=None if "split" in read else np.array(codes, dtype=np.int64),
        own_classes=own["label"],
        own_attributes=own.get("attribute"),
        notes=notes,
    )


def check_split_names(names: Iterable[str], where: str) -> None:
    """Refuse names of splits that are not in `SPLIT_FOLDERS`, in any case."""
    others = [name for name in names if name.lower() not in SPLIT_FOLDERS]
    if others:
        valid = f"{', '.join(SPLIT_FOLDERS)}; rename or drop it in the DatasetDict"
        raise InputError(f"{where}: split {tabular.shortened(others, 3)} is none of {valid}")


def _load(folder: Path) -> dict[str, datasets.Dataset]:
    """Open the splits of a saved DatasetDict by name, or a saved Dataset under the empty name."""
    names = [""]
    if is_there(folder / DICT):
        names = json_object(read_text(folder / DICT), str(folder / DICT)).get("splits", [])
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{folder / DICT}: its 'splits' are not names; {SAVE_AGAIN}")
        check_split_names(names, str(folder))
    datasets = optional_module("datasets", f"{folder}: reading it")
    splits = {}
    for name in names:
        if not _has_files(folder / name):  # datasets saves empty splits, but can't load them
            continue
        with foreign_errors(f"{folder / name}: datasets cannot load it", SAVE_AGAIN):
            splits[name] = datasets.Dataset.load_from_disk(str(folder / name)).with_format(None)
        tabular.check_number(folder / name, len(splits[name]))
    if not splits:
        raise InputError(f"{folder}: has no rows; save some")
    return splits


def _has_files(folder: Path) -> bool:
    """Check that the Arrow files of a split are in its folder: the library would open any file in ``state.json``."""
    for file in (STATE, INFO):
        if not is_there(folder / file):
            raise InputError(f"{folder}: has no {file}, so saving was interrupted; {SAVE_AGAIN}")
    state: Any = json_object(read_text(folder / STATE), str(folder / STATE))
    if state.get("_indices_data_files"):  # written before version 2.0; later versions ignore it
        raise InputError(f"{folder / STATE}: an old datasets saved a selection of rows here; {SAVE_AGAIN}")
    files = state.get("_data_files")
    are_objects = isinstance(files, list) and all(isinstance(entry, dict) for entry in files)
    names: list[Any] = [entry.get("filename") for entry in files] if are_objects else [None]
    for name in names:
        if not isinstance(name, str) or not name.endswith(".arrow") or "/" in name or not is_file(folder / name):
            raise InputError(f"{folder / STATE}: {name!r:.80} is not an Arrow file of this folder; {SAVE_AGAIN}")
    return bool(names)


def _image_column_name(folder: Path, splits: Mapping[str, datasets.Dataset], named: str | None) -> str:
    """Return the column of images in every split: the named one or the only one."""
    kinds = {name: {c: type(f).__name__ for c, f in split.features.items()} for name, split in splits.items()}
    first, of_first = next(iter(kinds.items()))
    image_columns = [column for column, kind in of_first.items() if kind == "Image"]
    if named is None and len(image_columns) > 1:
        shown = tabular.shortened(image_columns)
        raise InputError(f"{folder / first}: {shown} all hold images; choose one: --columns path={image_columns[0]}")
    if named is None and not image_columns:
        problem = f"no column has the feature Image (columns: {tabular.shortened(of_first)})"
        hint = "cast the one of images: cast_column(NAME, datasets.Image())"
        raise InputError(f"{folder / first}: {problem}; {hint}")
    column = image_columns[0] if named is None else named
    for name, of_split in kinds.items():
        tabular.column_position(str(folder / name), list(of_split), column, tabular.COLUMNS_HINT)
        if of_split[column] != "Image":
            problem = f"column {column!r} has the feature {of_split[column]}, expected Image"
            raise InputError(f"{folder / name}: {problem}; cast it: cast_column({column!r}, datasets.Image())")
    return column


def _image_paths(folder: Path, split: datasets.Dataset, image: str) -> Iterator[str]:
    """Yield the path of each row's image, relative to ``folder``."""
    for file in (Path(entry["filename"]) for entry in split.cache_files):
        prefix = f"{file.relative_to(folder).as_posix()}/{image}"
        yield from (f"{prefix}/{row}" for row in range(len(image_column(file, image))))


def _split_code(folder: Path, name: str, split: datasets.Dataset) -> int:
    """Return the code of the split that a DatasetDict or a Dataset (``"train[:10%]"``) names; training by default."""
    in_dict = folder.name if is_there(folder.parent / DICT) else ""  # a split's own folder was named
    names = (name, str(split.split).partition("[")[0], in_dict)
    return next((SPLIT_FOLDERS[name.lower()] for name in names if name.lower() in SPLIT_FOLDERS), 0)


def _texts(folder: Path, split: datasets.Dataset, column: str, paths: Sequence[str]) -> list[str]:
    """Return cells as text, with the names of a ClassLabel; empty if the split lacks the column."""
    if column not in split.features:
        return [""] * len(paths)
    values = _values(folder, split, column, of_class_label=False)
    texts = [tabular.cell_text(value) for value in values]
    names = _class_names([split], column)
    if names:
        meaning = {"": "", "-1": "-1"} | {str(number): name for number, name in enumerate(names)}
        texts = [text if text is None else meaning.get(text) for text in texts]
    if None in texts:
        row = texts.index(None)
        expected = f"a number from 0 to {len(names) - 1}" if names else "text or a number"
        raise InputError(f"{folder / paths[row]}: {column} is {values[row]!a:.80}, expected {expected}")
    return [text.strip() for text in texts if text is not None]


def _values(folder: Path, split: datasets.Dataset, column: str, *, of_class_label: bool = True) -> list[Any]:
    """Return the cells of a column; the codes of a ClassLabel as its names, unless they are to be checked."""
    cells = split.data.column(column)
    try:
        cells.validate(full=True)  # offsets in a damaged file must not point outside it
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: column {column!r} is damaged ({reason}); {SAVE_AGAIN}") from None
    values = cells.to_pylist()
    names = dict(enumerate(_class_names([split], column))) if of_class_label else {}
    return [names.get(value) for value in values] if names else values


def _class_names(splits: Iterable[datasets.Dataset], column: str) -> list[str]:
    """Return the names of a ClassLabel, split after split; none for other features."""
    features = [split.features.get(column) for split in splits]
    names = (name for feature in features for name in getattr(feature, "names", None) or ())
    return [(tabular.cell_text(name) or "").strip() for name in names]


def _own_names(splits: Iterable[datasets.Dataset], column: str, present: set[str]) -> Vocabulary | None:
    """Return the names of a ClassLabel that occur in rows, in its order; None if fewer than two do."""
    vocabulary: Vocabulary = {name: (name,) for name in _class_names(splits, column) if name in present}
    return vocabulary if len(vocabulary) > 1 else None


HuggingFaceData: TypeAlias = "datasets.Dataset | datasets.DatasetDict"
COPIED = ("Image", "ClassLabel", "Value")  # features of the copied columns; audio and nested ones are left out


def materialize(data: str | Path | HuggingFaceData, cache: str | Path | None = None) -> str:
    """Return a name or path as it is; save an object in the cache, unless that was done before, and return its folder.

    A copy is identified by the fingerprints of datasets, and by size and modification time of images that are files.
    """
    if isinstance(data, str | os.PathLike):
        return str(data)
    splits = {}
    for name, split in _splits_of(data).items():
        columns = [column for column, kind in split.features.items() if type(kind).__name__ in COPIED]
        # Rows as they are stored; formats and transforms only apply when rows are read.
        splits[name] = split.with_format(None).select_columns(columns)
    name = next(iter(splits.values())).info.dataset_name or "dataset"
    parent = cache_folder(cache) / "datasets" / _digest(splits)
    folder = parent / re.sub(r"[^\w-]", "_", name)
    if not folder.is_dir():
        logger.info(f"saving {sum(map(len, splits.values()))} rows as {folder}")
        _save(splits, parent, folder.name)
    return str(folder)


def _splits_of(data: Any) -> dict[str, datasets.Dataset]:
    """Return the splits of a DatasetDict, or a Dataset under the empty name."""
    datasets = sys.modules.get("datasets")  # an object exists only if it was imported
    if datasets and isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        problem = "which is streamed, and rows are read more than once; load it with streaming=False"
        raise InputError(f"data is a {type(data).__name__}, {problem}")
    if datasets and isinstance(data, datasets.Dataset):
        return {"": data}
    if datasets and isinstance(data, datasets.DatasetDict):
        if not data:
            raise InputError("data is a DatasetDict without a split; put Datasets in, under train, val and test")
        check_split_names(data, "data")
        return dict(data)
    expected = "expected a name, a path, a DataFrame, or a Dataset of dbpt or of datasets"
    raise InputError(f"data is a {type(data).__module__}.{type(data).__qualname__}; {expected}")


def _digest(splits: dict[str, datasets.Dataset]) -> str:
    import pyarrow.compute as compute

    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(json.dumps([name, split._fingerprint]).encode())
        for column in (column for column, kind in split.features.items() if type(kind).__name__ == "Image"):
            images = split.data.column(column)  # including rows outside a selection
            without_bytes = compute.is_null(compute.struct_field(images, "bytes"))
            files = compute.struct_field(images, "path").filter(without_bytes).to_pylist()
            for file in (file for file in files if file is not None):
                with system_errors(f"data: image {file!r} is not a file here", "download it, or leave its row out"):
                    status = os.stat(file)  # noqa: PTH116 (once an image)
                digest.update(f"{status.st_size} {status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _save(splits: dict[str, datasets.Dataset], parent: Path, name: str) -> None:
    """Save as ``name`` in the new folder ``parent``, unless another process does so meanwhile."""
    from dbpt.storage.locks import whole_folder  # not needed to read labels

    try:
        with whole_folder(parent) as copy:
            whole = splits[""] if "" in splits else sys.modules["datasets"].DatasetDict(splits)
            whole.save_to_disk(str(copy / name))
            for path in (path for path in copy.rglob("*") if path.is_file()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
    except OSError as error:
        if not (parent / name).is_dir():  # else another process finished first
            raise InputError(f"{parent / name}: cannot save the data set there: {reason_of(error)}") from None
