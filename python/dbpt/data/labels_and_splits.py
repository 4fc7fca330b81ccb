"""From columns to a `Dataset`: the codes of labels, attributes and splits, and notes on how they were read."""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.columns import Columns, DataRequest, shortened
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.words import Factor, Vocabulary, Words, combined, joint_codes
from dbpt.errors import CONTROL, InputError

CLASS_TEMPLATES = ("a photo of a {}.",)
ATTRIBUTE_TEMPLATES = ("{}",)
SPLIT_FOLDERS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}
SPLIT_NAMES = SPLIT_FOLDERS | {"0": 0, "1": 1, "2": 2}
MISSING = {"?", "n/a", "na", "nan", "null", "unknown"}
"""Words that often stand for a missing value."""
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
    notes: Iterable[str] = (),
) -> Dataset:
    """Return the rows as a `Dataset`, with codes for labels, attributes and splits.

    Args:
        request: the user's names and words, and the column of each role.
        columns: labels, and optionally attributes and splits, of the N rows.
        paths: (N,) paths of the images, relative to ``root``.
        name: of the data set.
        root: the folder of the images.
        splits: (N,) int64 index into `SPLITS`; by default from the column, or all train without one.
        own_classes, own_attributes: the names in the data if these are not the values of the columns.
        notes: one line each for the user, about how the data were read.

    Raises:
        InputError: for fewer than two classes, and for values that stand for no class, attribute or split.
    """
    names, all_notes = request.column_names, list(notes)
    if splits is None and names.get("split") in columns.values:
        splits = columns.decode(names["split"], lambda value: SPLIT_NAMES.get(value.lower()), list(SPLITS))
    elif splits is None:
        splits = np.full(len(paths), SPLITS.index("train"), dtype=np.int64)
        all_notes.append("no split column: all images are in split train, and there is no test split; add one")
    column = names["label"]
    known = request.classes or own_classes
    values = _values(columns, column, known)
    if known is None and {integer_of(value) for value in values} != {-1, 1}:  # which some write for two classes
        _refuse_negative(columns, column, values, "leave out images without a label, and give names or numbers from 0")
    classes, codes, expected = names_and_codes(values, known)
    if len(classes) < 2:
        problem = f"column {column!r} has {_few_values(classes)}"
        raise InputError(f"{columns.path}: {problem}; a classifier needs at least two classes")
    hint = f"; the run's classes are {shortened(classes)}: rename the values of {column}" if request.of_run else ""
    option = "--classes" if request.classes and not request.of_run else ""
    labels = columns.decode(column, codes.get, expected, option, hint)
    factors = request.factors or ()
    factor_codes: list[NDArray[np.int64]] = []
    known = combined(factors) if factors else request.attributes or own_attributes
    flag = "--attributes" if request.attributes and not request.of_run else ""
    if present := [factor.name for factor in factors if names.get(factor.name) in columns.values]:
        decoded = [_attribute_codes(columns, names.get(factor.name, ""), factor.values) for factor in factors]
        factor_codes = [codes_N for _, codes_N, _ in decoded]
        taken = [note for *_, factor_notes in decoded for note in factor_notes]
        attributes = combined(factors)
        attribute_codes = joint_codes(factor_codes, [len(factor.values) for factor in factors])
        if missing := [factor.name for factor in factors if factor.name not in present]:
            all_notes.append(f"no column for {', '.join(missing)}: only {', '.join(present)} has true values")
    else:
        attributes, attribute_codes, taken = _attribute_codes(columns, names.get("attribute", ""), known, factors, flag)
    all_notes += taken
    all_words = request.words(Words(classes, attributes, CLASS_TEMPLATES, ATTRIBUTE_TEMPLATES))
    templates = (all_words.templates, all_words.attribute_templates)
    for argument, words, sentences in zip(("classes", "attributes"), (classes, attributes), templates, strict=True):
        all_notes += _oddities(argument, words, sentences, is_given=getattr(request, argument) is not None)
    return Dataset(
        name,
        root,
        columns.path,
        paths,
        lines=np.asarray(columns.lines, dtype=np.int64),
        labels=labels,
        attributes=attribute_codes,
        splits=splits,
        words=all_words,
        notes=tuple(all_notes),
        unit=columns.unit,
        known_factors=tuple(factor_codes) if factors[1:] else (),
        other_columns=columns.others.without(f"p_{name}" for name in classes),  # probabilities that models predict
    )


def _oddities(argument: str, words: Vocabulary, sentences: Sequence[str], *, is_given: bool) -> Iterator[str]:
    """Yield notes on names that hardly mean what they say; those not ``is_given`` are in the data."""
    starts = tuple(filter(None, (sentence.partition("{}")[0].strip() for sentence in sentences)))
    every = [wording for wordings in words.values() for wording in wordings]
    found = {
        "repeats the start of the template; give names without it": [w for w in every if w.startswith(starts)],
        "is one wording; separate several by '|'": [w for w in every if "," in w and w not in words],
        "is one name; write NAME=WORDING, with an equals sign": [name for name in words if is_given and ": " in name],
        "is read as a name; leave the cell empty where it is unknown": [
            name for name in words if not is_given and name.casefold() in MISSING
        ],
    }
    yield from (f"{argument}: {names[0]!r} {remark}" for remark, names in found.items() if names)
    folded = {name.casefold(): name for name in words}
    for name in [name for name in words if folded[name.casefold()] != name][:1]:
        yield f"{argument}: {name!r} and {folded[name.casefold()]!r} differ only in upper and lower case; are they one?"
    if words and not any(letter.isalpha() for wordings in words.values() for letter in wordings[0]):
        yield f"{argument} are named by numbers ({shortened(words, 4)}), which mean nothing to CLIP; give words"


def taken_in_order(owner: str, names: Iterable[str]) -> str:
    """Return the note that the numbers of ``owner`` index the given names."""
    meaning = ", ".join(f"{code} is {name}" for code, name in enumerate(names))
    return f"the integers of {owner} are read as positions in the names given: {meaning}"


def _attribute_codes(
    columns: Columns, column: str, vocabulary: Vocabulary | None, factors: Sequence[Factor] = (), option: str = ""
) -> tuple[Vocabulary, NDArray[np.int64], list[str]]:
    """Return the attributes and the index of each row's, (N,) int64; -1 if it is unknown or there is no column.

    Add a note if the integers of the column index names that are given.
    """
    if column not in columns.values:
        return vocabulary or {}, np.full(len(columns.lines), -1, dtype=np.int64), []
    found = _values(columns, column, vocabulary)
    values = {value for value in found if not is_unknown(value)}
    if vocabulary is None:
        hint = "write -1 or nothing where it is unknown, else a name or a number from 0"
        _refuse_negative(columns, column, values, hint)
    words, codes, expected = names_and_codes(values, vocabulary)
    is_signed = {integer_of(value) for value in found} == {-1, 1}
    if len(words) == 1:
        way_out = "name them with --attributes" if not is_signed else "write 0 and 1 if -1 and 1 are its two values"
        raise InputError(
            f"{columns.path}: column {column!r} has {_few_values(words)} (empty and -1 mean unknown); an attribute "
            f"needs at least two: {way_out}, or ignore the column with --columns attribute="
        )
    owner = f"say which it is with --columns {factors[0].name}={column}" if factors else ""
    hint = f"; if the column is about another attribute, {owner or 'ignore it with --columns attribute='}"
    codes_N = columns.decode(column, lambda cell: codes.get(cell) if cell in values else -1, expected, option, hint)
    are_indices = (
        vocabulary and values.isdisjoint(vocabulary) and any(integer_of(value) is not None for value in values)
    )
    notes = [taken_in_order(f"column {column}", words)] if are_indices else []
    if is_signed:
        notes.append(f"column {column}: -1 is read as unknown; if -1 and 1 are the two values, write 0 and 1")
    return words, codes_N, notes


def names_and_codes(values: Set[str], vocabulary: Vocabulary | None) -> tuple[Vocabulary, dict[str, int], list[str]]:
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


def _refuse_negative(columns: Columns, column: str, values: Set[str], hint: str) -> None:
    """Refuse a number below 0, if all ``values`` of the column are numbers."""
    if all(map(NUMBER.fullmatch, values)) and (negative := {value for value in values if Decimal(value) < 0}):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if v.strip() in negative)
        raise InputError(f"{columns.where(row)}: {column} is {value!r}, a negative number; {hint}")


def _values(columns: Columns, column: str, vocabulary: Vocabulary | None) -> set[str]:
    """Return the distinct values except missing ones: empty cells and, among numbers, NaN."""
    values = set(map(str.strip, columns.texts(column).distinct()[0]))
    missing = {value for value in values if value.lower() in ("", "nan")}
    if not all(map(NUMBER.fullmatch, values - missing)):  # "nan" among names is a name, such as the bread
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


def _few_values(names: Vocabulary) -> str:
    return f"only the value {next(iter(names))!r}" if names else "no value"
