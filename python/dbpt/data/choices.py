"""What the user says about data that have no words of their own, and a `Dataset` of rows of text under it."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.column_names import ROLES
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.rows import Columns
from dbpt.data.value_codes import given_codes, is_unknown, missing, negatives, notes_on_numbers, own_codes
from dbpt.data.words import Vocabulary, Words
from dbpt.errors import CONTROL, InputError

TEMPLATES = ("a photo of a {}.",)
ATTRIBUTE_TEMPLATES = ("{}",)
SPLIT_FOLDERS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
SPLIT_NAMES = SPLIT_FOLDERS | {"0": 0, "1": 1, "2": 2}


def listed(given: Sequence[str]) -> tuple[str, ...]:
    """Return the strings, also where somebody gave one alone."""
    return (given,) if isinstance(given, str) else tuple(given)


@dataclass(frozen=True)
class Choices:
    """Names, sentences and columns.

    Attributes:
        classes: names and wordings in index order; the data use these names, or numbers 0..C-1 that index them. None
            takes the values of the data: integers ascending, else sorted.
        attributes: the same for attributes.
        templates: sentences for classes; None takes ours.
        attribute_templates: sentences for attributes.
        columns: role (`ROLES`) to the column that holds it, where it is not called so.
    """

    classes: Vocabulary | None = None
    attributes: Vocabulary | None = None
    templates: tuple[str, ...] | None = None
    attribute_templates: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, str]:
        """The column of every role."""
        return dict(zip(ROLES, ROLES, strict=True)) | dict(self.columns)

    def dataset(
        self,
        read: Columns,
        paths: Sequence[str],
        *,
        name: str,
        root: Path,
        splits: NDArray[np.int64] | None = None,
        own_classes: Vocabulary | None = None,
        own_attributes: Vocabulary | None = None,
        notes: Sequence[str] = (),
    ) -> Dataset:
        """Return the rows that were read, with codes for their labels, attributes and splits.

        Args:
            read: the columns, of which only the attribute's may lack.
            paths: (N,) relative to ``root``.
            name: of the data set.
            root: the folder of the images.
            splits: (N,) where they are no column.
            own_classes: what the data call their classes, where their values don't say it.
            own_attributes: the same for attributes.
            notes: on how the data were read.

        Raises:
            InputError: a value that is not in its vocabulary, fewer than two classes, or an attribute column with a
                single value and no vocabulary.
        """
        columns = self.named
        if splits is None:
            splits = read.decode(columns["split"], lambda value: SPLIT_NAMES.get(value.lower()), list(SPLITS))
        class_words, labels = _class_indices(read, columns["label"], self.classes or own_classes)
        attribute_words, indices = _attribute_indices(read, columns["attribute"], self.attributes or own_attributes)
        templates = TEMPLATES if self.templates is None else self.templates
        attribute_templates = ATTRIBUTE_TEMPLATES if self.attribute_templates is None else self.attribute_templates
        return Dataset(
            name=name,
            root=root,
            source=read.path,
            paths=tuple(paths),
            lines=np.array(read.lines, dtype=np.int64),
            labels=labels,
            attributes=indices,
            splits=splits,
            words=Words(class_words, attribute_words, templates, attribute_templates),
            notes=(*notes, *notes_on_numbers(class_words, attribute_words)),
            unit=read.unit,
        )


def _class_indices(
    columns: Columns, column: str, vocabulary: Vocabulary | None
) -> tuple[Vocabulary, NDArray[np.int64]]:
    """The classes (the given ones, or the column's values) and, (N,) int64, the index of each row's.

    Raises:
        InputError: a value that is none of the given names, or fewer than two values where none are given.
    """
    values = _values(columns, column, vocabulary)
    if vocabulary is None and len(names := own_codes(values)[0]) < 2:
        raise InputError(
            f"{columns.path}: column {column!r} has {_found(names)}; a classifier needs at least two classes"
        )
    words, codes, expected = _names_and_codes(values, vocabulary)
    return words, columns.decode(column, codes.get, expected)


def _attribute_indices(
    columns: Columns, column: str, vocabulary: Vocabulary | None
) -> tuple[Vocabulary, NDArray[np.int64]]:
    """The attributes and, (N,) int64, the index of each row's, -1 where it is unknown or no column holds it.

    Raises:
        InputError: a value that is none of the given names, or, where none are given, a single value or a negative
            number other than -1.
    """
    if column not in columns.values:
        return vocabulary or {}, np.full(len(columns.lines), -1, dtype=np.int64)
    values = {value for value in _values(columns, column, vocabulary) if not is_unknown(value)}
    if vocabulary is None and (below := negatives(values)):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if v.strip() in below)
        raise InputError(
            f"{columns.where(row)}: {column} is {value!r}, a negative number; write -1 or nothing where it is unknown, "
            "else a name or a number from 0"
        )
    if vocabulary is None and len(names := own_codes(values)[0]) == 1:
        raise InputError(
            f"{columns.path}: column {column!r} has {_found(names)} (empty and -1 mean unknown); "
            "an attribute needs at least two: name them with attributes, or drop the column"
        )
    words, codes, expected = _names_and_codes(values, vocabulary)
    return words, columns.decode(column, lambda value: codes.get(value) if value in values else -1, expected)


def _names_and_codes(
    values: Set[str], vocabulary: Vocabulary | None
) -> tuple[Vocabulary, dict[str, int], Sequence[str]]:
    """The vocabulary of a column (the given one, or its values), the index of each valid value, what is expected."""
    if vocabulary is None:
        names, codes = own_codes(values)
        return {name: (name,) for name in names}, codes, names
    return vocabulary, *given_codes(values, list(vocabulary))


def _values(columns: Columns, column: str, vocabulary: Vocabulary | None) -> set[str]:
    """The distinct values, without those that stand for none and are no given name.

    Raises `InputError` for one with a line break or other control character.
    """
    values = set(map(str.strip, set(columns.values[column])))
    values -= missing(values) - set(vocabulary or ())
    if any(map(CONTROL.search, values)):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if CONTROL.search(v.strip()))
        raise InputError(
            f"{columns.where(row)}: {column} is {value!r}, with a line break or another control character; is a quote "
            "missing?"
        )
    return values


def _found(names: Sequence[str]) -> str:
    return f"only the value {names[0]!r}" if names else "no value"
