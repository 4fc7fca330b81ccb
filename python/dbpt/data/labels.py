"""From the text of labels, attributes and splits to the codes of a `Dataset`.

A value is one of the user's names, or a number that indexes them. Without such names the values themselves are the
names, in sorted order.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.columns import Columns, DataRequest, shortened
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.factors import joint_codes
from dbpt.data.words import Factor, Vocabulary, Words, combined
from dbpt.errors import CONTROL, InputError

TEMPLATES = ("a photo of a {}.",)
ATTRIBUTE_TEMPLATES = ("{}",)
SPLIT_FOLDERS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
SPLIT_NAMES = SPLIT_FOLDERS | {"0": 0, "1": 1, "2": 2}
NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


def coded_dataset(
    request: DataRequest,
    columns: Columns,
    paths: Sequence[str],
    *,
    name: str,
    root: Path,
    splits: NDArray[np.int64] | None = None,
    own_classes: Vocabulary | None = None,
    own_attributes: Vocabulary | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Return the rows as a `Dataset`, with codes for labels, attributes and splits.

    ``columns`` has labels, and optionally attributes and splits, under the names of ``request``. Without a column of
    splits or ``splits``, all rows are in split train. ``own_classes`` and ``own_attributes`` are the names in the data
    if these are not the values of the columns.
    """
    names = request.column_names
    if splits is None and names.get("split") in columns.values:
        splits = columns.decode(names["split"], lambda value: SPLIT_NAMES.get(value.lower()), list(SPLITS))
    elif splits is None:
        splits = np.full(len(paths), SPLITS.index("train"), dtype=np.int64)
        notes = (*notes, "no column of splits: all images are in split train, and there is no test split")
    column, known = names["label"], request.classes or own_classes
    values = _values(columns, column, known)
    if known is None and {integer_of(value) for value in values} != {-1, 1}:  # which some write for two classes
        _refuse_negative(columns, column, values, "leave out images without a label, and give names or numbers from 0")
    classes, codes, expected = names_and_codes(values, known)
    if len(classes) < 2:
        found = f"column {column!r} has {_found(classes)}"
        raise InputError(f"{columns.path}: {found}; a classifier needs at least two classes")
    labels = columns.decode(column, codes.get, expected)
    factors, of_factors = request.factors or (), list[NDArray[np.int64]]()
    known = combined(factors) if factors else request.attributes or own_attributes
    if present := [each.name for each in factors if names.get(each.name) in columns.values]:
        of_factors = [_attribute_codes(columns, names.get(each.name, ""), each.values)[1] for each in factors]
        attributes, attribute_codes = combined(factors), joint_codes(of_factors, [len(each.values) for each in factors])
        if missing := [each.name for each in factors if each.name not in present]:
            notes = (*notes, f"no column of {', '.join(missing)}: true values are known of {', '.join(present)} only")
    else:
        attributes, attribute_codes = _attribute_codes(columns, names.get("attribute", ""), known, factors)
    if request.factors or request.attributes:
        notes = (*notes, *_taken_in_order(columns, names, factors, attributes))
    for argument, words in (("classes", classes), ("attributes", attributes)):
        if words and all(integer_of(wordings[0]) is not None for wordings in words.values()):
            named = f"{argument} are named by numbers ({shortened(words, 4)})"
            notes = (*notes, f"{named}, which tell CLIP nothing; give words")
    return Dataset(
        name,
        root,
        columns.path,
        tuple(paths),
        lines=np.array(columns.lines, dtype=np.int64),
        labels=labels,
        attributes=attribute_codes,
        splits=splits,
        words=request.words(Words(classes, attributes, TEMPLATES, ATTRIBUTE_TEMPLATES)),
        notes=tuple(notes),
        unit=columns.unit,
        known_factors=tuple(of_factors) if factors[1:] else (),
    )


def taken_in_order(owner: str, names: Iterable[str]) -> str:
    """Return the note that the numbers of ``owner`` index the given names."""
    meaning = ", ".join(f"{code} is {name}" for code, name in enumerate(names))
    return f"the codes of {owner} were taken in the order of the names given: {meaning}"


def _taken_in_order(
    columns: Columns, names: Mapping[str, str], factors: Sequence[Factor], attributes: Vocabulary
) -> list[str]:
    """Return a note for each column of true attributes whose integers index the given names."""
    of_roles = {each.name: each.values for each in factors if names.get(each.name) in columns.values}
    notes = []
    for role, vocabulary in (of_roles or {"attribute": attributes}).items():
        column = names.get(role, "")
        values = {value.strip() for value in columns.values.get(column, ()) if not is_unknown(value.strip())}
        if values.isdisjoint(vocabulary) and any(integer_of(value) is not None for value in values):
            notes.append(taken_in_order(f"column {column}", vocabulary))
    return notes


def _attribute_codes(
    columns: Columns, column: str, vocabulary: Vocabulary | None, factors: Sequence[Factor] = ()
) -> tuple[Vocabulary, NDArray[np.int64]]:
    """Return the attributes and the index of each row's, (N,) int64; -1 if it is unknown or there is no column."""
    if column not in columns.values:
        return vocabulary or {}, np.full(len(columns.lines), -1, dtype=np.int64)
    values = {value for value in _values(columns, column, vocabulary) if not is_unknown(value)}
    if vocabulary is None:
        way_out = "write -1 or nothing where it is unknown, else a name or a number from 0"
        _refuse_negative(columns, column, values, way_out)
    words, codes, expected = names_and_codes(values, vocabulary)
    if len(words) == 1:
        raise InputError(
            f"{columns.path}: column {column!r} has {_found(words)} (empty and -1 mean unknown); an attribute needs at "
            "least two: name them with --attributes, or ignore the column with --columns attribute="
        )
    owner = f"say which it is with --columns {factors[0].name}={column}" if factors else ""
    hint = f"; if the column is about another attribute, {owner or 'ignore it with --columns attribute='}"
    return words, columns.decode(
        column, lambda value: codes.get(value) if value in values else -1, expected, way_out=hint
    )


def names_and_codes(
    values: Set[str], vocabulary: Vocabulary | None
) -> tuple[Vocabulary, dict[str, int], Sequence[str]]:
    """Return the vocabulary of a column (given, or its values), the index of each valid value, and the names."""
    integers = {value: number for value in values if (number := integer_of(value)) is not None}
    are_integers = len(integers) == len(values)
    if vocabulary is None:
        keys: dict[str, Any] = integers if are_integers else {value: value for value in values}
        order = {key: index for index, key in enumerate(sorted(set(keys.values())))}
        names = [str(key) for key in order]
        return {name: (name,) for name in names}, {value: order[key] for value, key in keys.items()}, names
    names = list(vocabulary)
    if integers and are_integers and values.isdisjoint(names):
        codes = {value: number for value, number in integers.items() if 0 <= number < len(names)}
        return vocabulary, codes, [str(index) for index in range(len(names))]
    return vocabulary, {name: index for index, name in enumerate(names)}, names


def _refuse_negative(columns: Columns, column: str, values: Set[str], way_out: str) -> None:
    """Refuse a number below 0, if all ``values`` of the column are numbers."""
    if all(map(NUMBER.fullmatch, values)) and (negative := {value for value in values if Decimal(value) < 0}):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if v.strip() in negative)
        raise InputError(f"{columns.where(row)}: {column} is {value!r}, a negative number; {way_out}")


def _values(columns: Columns, column: str, vocabulary: Vocabulary | None) -> set[str]:
    """Return the distinct values except missing ones: empty cells and, among numbers, NaN."""
    values = set(map(str.strip, set(columns.values[column])))
    missing = {value for value in values if value.lower() in ("", "nan")}
    if not all(map(NUMBER.fullmatch, values - missing)):
        missing &= {""}
    values -= missing - set(vocabulary or ())
    if any(map(CONTROL.search, values)):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if CONTROL.search(v.strip()))
        problem = "with a line break or another control character; is a quote missing?"
        raise InputError(f"{columns.where(row)}: {column} is {value!r}, {problem}")
    return values


def is_unknown(value: str) -> bool:
    """Return whether a cell means "unknown": it is empty or a number equal to -1 (``"-1.0"``)."""
    return not value or integer_of(value) == -1


def integer_of(value: str) -> int | None:
    """Return the integer in a text, also as NumPy and pandas write it (``"1.0"``, ``"1e+00"``); else None."""
    if not NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return int(number) if number == int(number) else None


def _found(names: Vocabulary) -> str:
    return f"only the value {next(iter(names))!r}" if names else "no value"
