"""Any data set as a table: a CSV, TSV, JSON lines or Parquet file with path, label, split and optionally attribute.

Which columns hold them the user may say. Labels and attributes are names or integers; an empty attribute (or -1) is
unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.column_names import REQUIRED, ROLES
from dbpt.data.dataset import Dataset
from dbpt.data.jsonl import read_jsonl
from dbpt.data.parquet import read_parquet
from dbpt.data.rows import Columns, read_columns
from dbpt.data.value_codes import given_codes, is_unknown, notes_on_numbers, own_codes
from dbpt.errors import CONTROL, InputError
from dbpt.words import Vocabulary, Words

READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Columns]] = {
    ".csv": partial(read_columns, delimiter=","),
    ".tsv": partial(read_columns, delimiter="\t"),
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}
TEMPLATES = ("a photo of a {}.",)
ATTRIBUTE_TEMPLATES = ("{}",)
SPLIT_NAMES = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "0": 0, "1": 1, "2": 2}


def read_table(
    path: Path,
    root: Path,
    classes: Vocabulary | None = None,
    attributes: Vocabulary | None = None,
    templates: Sequence[str] = TEMPLATES,
    attribute_templates: Sequence[str] = ATTRIBUTE_TEMPLATES,
    columns: Mapping[str, str] | None = None,
    *,
    images: bool = True,
) -> Dataset:
    """Read a table; without vocabularies, its values are the names: integers ascending, else sorted.

    Args:
        path: a ``.csv`` (comma), ``.tsv`` (tab), ``.jsonl`` or ``.ndjson`` file in UTF-8, or a ``.parquet`` file.
        root: the folder that the paths are relative to.
        classes: names that the labels use, in index order; integer labels 0..C-1 index them.
        attributes: the same for attributes.
        templates: sentences for classes.
        attribute_templates: sentences for attributes.
        columns: role (`ROLES`) to the column that holds it, where it is not called so. An attribute column that is
            named here must be there.
        images: False takes paths as any names, and a row's number where no column has them.

    Raises:
        InputError: a malformed file, a value that is not in its vocabulary, a path that leaves the root, fewer than
            two classes, or an attribute column with a single value and no vocabulary.
    """
    named = dict(zip(ROLES, ROLES, strict=True)) | dict(columns or {})
    needed = REQUIRED if images else tuple(role for role in REQUIRED if role != "path")
    required = [named[role] for role in ROLES if role in needed or role in (columns or {})]
    read = READERS[path.suffix.lower()](path, required, [named[role] for role in ROLES if named[role] not in required])
    splits = read.decode(named["split"], lambda value: SPLIT_NAMES.get(value.lower()), ["train", "val", "test"])
    class_words, labels = class_indices(read, named["label"], classes)
    attribute_words, indices = attribute_indices(read, named["attribute"], attributes)
    return Dataset(
        name=path.stem,
        root=root,
        source=path,
        paths=read.image_paths(named["path"], root) if images else _row_names(read, named["path"]),
        lines=np.array(read.lines, dtype=np.int64),
        labels=labels,
        attributes=indices,
        splits=splits,
        words=Words(class_words, attribute_words, tuple(templates), tuple(attribute_templates)),
        notes=tuple(notes_on_numbers(class_words, attribute_words)),
        unit=read.unit,
    )


def _row_names(read: Columns, column: str) -> tuple[str, ...]:
    """What tells rows apart that need no image: their paths as they are written, else their numbers."""
    names = read.values.get(column)
    if names is None:
        return tuple(f"row {row + 1}" for row in range(len(read.lines)))
    if "" in names:
        raise InputError(f"{read.where(names.index(''))}: {column} is empty; name every row, or drop the column")
    return tuple(names)


def class_indices(columns: Columns, column: str, vocabulary: Vocabulary | None) -> tuple[Vocabulary, NDArray[np.int64]]:
    """The classes (the given ones, or the column's values) and, (N,) int64, the index of each row's.

    Raises:
        InputError: a value that is none of the given names, or fewer than two values where none are given.
    """
    if vocabulary is None and len(names := own_codes(_values(columns, column, _always_known))[0]) < 2:
        raise InputError(
            f"{columns.path}: column {column!r} has {_found(names)}; a classifier needs at least two classes"
        )
    return _indexed(columns, column, vocabulary, _always_known)


def attribute_indices(
    columns: Columns, column: str, vocabulary: Vocabulary | None
) -> tuple[Vocabulary, NDArray[np.int64]]:
    """The attributes and, (N,) int64, the index of each row's, -1 where it is unknown or no column holds it.

    Raises:
        InputError: a value that is none of the given names, or a single value where none are given.
    """
    if column not in columns.values:
        return vocabulary or {}, np.full(len(columns.lines), -1, dtype=np.int64)
    if vocabulary is None and len(names := own_codes(_values(columns, column, is_unknown))[0]) == 1:
        raise InputError(
            f"{columns.path}: column {column!r} has {_found(names)} (empty and -1 mean unknown); "
            "an attribute needs at least two: name them with attributes, or drop the column"
        )
    return _indexed(columns, column, vocabulary, is_unknown)


def _indexed(
    columns: Columns, column: str, vocabulary: Vocabulary | None, unknown: Callable[[str], bool]
) -> tuple[Vocabulary, NDArray[np.int64]]:
    """The vocabulary of a column (the given one, or its values), and the index of each row, -1 where ``unknown``."""
    values = _values(columns, column, unknown)
    if vocabulary is None:
        names, codes = own_codes(values)
        vocabulary, expected = {name: (name,) for name in names}, names
    else:
        codes, expected = given_codes(values, list(vocabulary))
    return vocabulary, columns.decode(column, lambda value: -1 if unknown(value) else codes.get(value), expected)


def _values(columns: Columns, column: str, unknown: Callable[[str], bool]) -> set[str]:
    """The distinct values that are known. Raises `InputError` for one with a line break or other control character."""
    values = {value for value in map(str.strip, set(columns.values[column])) if value and not unknown(value)}
    if any(map(CONTROL.search, values)):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if CONTROL.search(v.strip()))
        raise InputError(
            f"{columns.where(row)}: {column} is {value!r}, with a line break or another control character; is a quote "
            "missing?"
        )
    return values


def _always_known(value: str) -> bool:
    return False


def _found(names: Sequence[str]) -> str:
    return f"only the value {names[0]!r}" if names else "no value"
