"""Any data set as a table: one CSV or TSV file with the columns path, label, split and optionally attribute.

Labels and attributes are names or integers; an empty attribute (or -1) is unknown.
"""

import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.dataset import Dataset
from dbpt.data.rows import Columns, read_columns, relative_path, shortened
from dbpt.errors import InputError
from dbpt.words import Vocabulary, Words

DELIMITERS = {".csv": ",", ".tsv": "\t"}
TEMPLATES = ("a photo of a {}.",)
ATTRIBUTE_TEMPLATES = ("{}",)
SPLIT_NAMES = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "0": 0, "1": 1, "2": 2}
UNKNOWN = ("", "-1")
# Also as pandas writes integers of a column with gaps ("1.0").
INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0+)?")


def read_table(
    path: Path,
    root: Path,
    classes: Vocabulary | None = None,
    attributes: Vocabulary | None = None,
    templates: Sequence[str] = TEMPLATES,
    attribute_templates: Sequence[str] = ATTRIBUTE_TEMPLATES,
) -> Dataset:
    """Read a table; without vocabularies, its values are the names: integers ascending, else sorted.

    Args:
        path: a ``.csv`` (comma) or ``.tsv`` (tab) file in UTF-8.
        root: the folder that the paths are relative to.
        classes: names that the labels use, in index order; integer labels 0..C-1 index them.
        attributes: the same for attributes.
        templates: sentences for classes.
        attribute_templates: sentences for attributes.

    Raises:
        InputError: a malformed file, a value that is not in its vocabulary, a path that leaves the root, fewer than
            two classes, or an attribute column with a single value and no vocabulary.
    """
    columns = read_columns(path, ("path", "label", "split"), ("attribute",), DELIMITERS[path.suffix.lower()])
    splits = columns.decode("split", lambda value: SPLIT_NAMES.get(value.lower()), ["train", "val", "test"])
    class_words, labels = _indexed(columns, "label", classes)
    if "attribute" in columns.values:
        attribute_words, attribute_indices = _indexed(columns, "attribute", attributes, unknown=UNKNOWN)
    else:
        attribute_words, attribute_indices = attributes or {}, np.full(len(labels), -1, dtype=np.int64)
    names = columns.values["path"]
    return Dataset(
        name=path.stem,
        root=root,
        source=path,
        paths=tuple(relative_path(name, root, columns.where(row)) for row, name in enumerate(names)),
        lines=np.array(columns.lines, dtype=np.int64),
        labels=labels,
        attributes=attribute_indices,
        splits=splits,
        words=Words(class_words, attribute_words, tuple(templates), tuple(attribute_templates)),
        notes=tuple(_notes_on_numbers(class_words, attribute_words)),
    )


def _indexed(
    columns: Columns, column: str, vocabulary: Vocabulary | None, unknown: Sequence[str] = ()
) -> tuple[Vocabulary, NDArray[np.int64]]:
    """The vocabulary of a column (the given one, or its values) and the index of each row, -1 for ``unknown``."""
    values = {value.strip() for value in columns.values[column]} - {"", *unknown}
    if vocabulary is None:
        names, codes = _own_codes(values)
        if len(names) == 1 or (not names and column == "label"):
            raise InputError(_too_few(columns, column, names))
        vocabulary, expected = {name: (name,) for name in names}, names
    else:
        codes, expected = _given_codes(values, list(vocabulary))
    codes |= dict.fromkeys(unknown, -1)
    return vocabulary, columns.decode(column, codes.get, expected)


def _own_codes(values: Set[str]) -> tuple[list[str], dict[str, int]]:
    """Names in index order and the index of each value, where the values themselves are the names."""
    if all(INTEGER.fullmatch(value) for value in values):
        numbers = sorted({_integer(value) for value in values})
        return [str(number) for number in numbers], {value: numbers.index(_integer(value)) for value in values}
    names = sorted(values)
    return names, {name: index for index, name in enumerate(names)}


def _given_codes(values: Set[str], names: list[str]) -> tuple[dict[str, int], list[str]]:
    """The index of each valid value, and what was expected: the given names, or the integers that index them."""
    if values.isdisjoint(names) and values and all(INTEGER.fullmatch(value) for value in values):
        codes = {value: _integer(value) for value in values if 0 <= _integer(value) < len(names)}
        return codes, [str(index) for index in range(len(names))]
    return {name: index for index, name in enumerate(names)}, names


def _integer(value: str) -> int:
    return int(value.partition(".")[0])


def _too_few(columns: Columns, column: str, names: Sequence[str]) -> str:
    found = f"only the value {names[0]!r}" if names else "no value"
    if column == "label":
        return f"{columns.path}: column 'label' has {found}; a classifier needs at least two classes"
    return (
        f"{columns.path}: column 'attribute' has {found} (empty and -1 mean unknown); "
        "an attribute needs at least two: name them with attributes, or drop the column"
    )


def _notes_on_numbers(classes: Vocabulary, attributes: Vocabulary) -> Iterator[str]:
    for argument, vocabulary in (("classes", classes), ("attributes", attributes)):
        if vocabulary and all(INTEGER.fullmatch(wordings[0]) for wordings in vocabulary.values()):
            yield f"{argument} are named by numbers ({shortened(vocabulary, 4)}), which tell CLIP nothing; give words"
