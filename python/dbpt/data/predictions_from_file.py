"""A class or an attribute for each image of a data set, from a file of the user's.

A table (CSV, TSV, JSON lines, Parquet) has the column ``path`` and one of `Wanted.columns`, and may have ``label``,
which must agree with the data, and a probability ``p_NAME`` for each name. Rows are found by path: as in the data,
absolute, or relative to the data's root or the working directory. A ``.npy`` file has a row for each image, in the
order of the data: (N,) names or indices, or (N, K) probabilities. Nothing is unpickled.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.cautions import Caution, caution
from dbpt.data.columns import Columns, shortened
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.labels_and_splits import integer_of, is_unknown, names_and_codes
from dbpt.data.loading import frame_columns
from dbpt.data.tables import PATH as PATH
from dbpt.data.tables import READERS, rows_by_path
from dbpt.data.text_array import Texts
from dbpt.data.words import Vocabulary
from dbpt.data.writing import unmarked
from dbpt.errors import InputError, in_digits, per_cent_hint, plain_number
from dbpt.storage.files import check_readable
from dbpt.storage.tensors import open_npy

logger = logging.getLogger(__name__)
LABEL, ERROR = "label", "error"
TOLERANCE, ROUNDED = 1e-3, 0.02
"""How far sums of probabilities may be from 1, and how far they are in half precision."""
CORRECT = "correct this row, or leave its image out of the data"
OF_LOGITS = "scipy.special.softmax(logits, axis=1) turns logits into probabilities"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A value for each image in a file: the ``columns`` that may hold it, its names, and the words for messages.

    ``paths`` are the columns that may hold the path; the first one that is there does. With ``unknown`` a cell may be
    empty or -1. Then a table that has the column ``in_part`` need not have all images, and the column ``sure`` has the
    probability of each value.
    """

    noun: str  # "prediction"
    kind: str  # "class"
    columns: tuple[str, ...]
    vocabulary: Vocabulary
    paths: tuple[str, ...] = (PATH,)
    unknown: bool = False
    in_part: str | None = None
    sure: str | None = None

    @property
    def hint(self) -> str:
        """The end of a message about the columns of a table."""
        columns = f"the columns {self.paths[-1]} and {' or '.join(self.columns)}"
        optional = f"label and p_{self.kind.upper()} for each {self.kind}"
        return f"; {self.noun}s are a table with {columns}, and optionally {optional}"


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes (n,) int64, -1 if unknown or failed; probabilities (n, K), whose rows sum to 1, or None; ``sure`` (n,)."""

    codes: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    sure: NDArray[np.float64] | None = None
    warnings: tuple[Caution, ...] = ()

    def among(self, known: NDArray[np.bool_]) -> "Codes":
        """Return codes of N images: these for the ``known`` ones (N,), -1 for the others."""
        codes = np.full(len(known), -1, dtype=np.int64)
        codes[known] = self.codes
        probabilities = self.probabilities
        if probabilities is not None:
            size = probabilities.shape[1]
            probabilities = np.full((len(known), size), 1 / size)
            probabilities[known] = self.probabilities
        return replace(self, codes=codes, probabilities=probabilities)


def read_codes(path: Path, dataset: Dataset, wanted: Wanted, rows: NDArray[np.int64] | None = None) -> Codes:
    """Return what a file has for the ``rows`` (n,) of ``dataset``, by default for all.

    A ``.npy`` file may be for all rows of ``dataset``, or for ``rows`` only. A table may have more images than
    ``dataset``. A value need not be the name of the largest probability. An image for which ``error`` says why it has
    no value is left out with a warning. Raises `InputError`.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    reader = READERS.get(path.suffix.lower())
    if reader is None and path.suffix.lower() != ".npy":
        raise InputError(f"{path}: {wanted.noun}s are read from {', '.join(READERS)} and .npy files{wanted.hint}")
    check_readable(path, f"{wanted.noun}s")
    if reader:
        return _from_table(path, reader, dataset, wanted, rows)
    hint = f"names with np.save(FILE, {wanted.noun}s.astype(str))"
    return codes_of_array(path, open_npy(path, f"{wanted.noun}s", hint), dataset, wanted, rows)


def _from_table(
    path: Path, reader: Callable[..., Columns], dataset: Dataset, wanted: Wanted, rows: NDArray[np.int64]
) -> Codes:
    extra = [LABEL, ERROR, *filter(None, (wanted.in_part, wanted.sure)), *(f"p_{name}" for name in wanted.vocabulary)]
    table = reader(path, (), tuple(dict.fromkeys([*wanted.paths, *wanted.columns, *extra])), hint=wanted.hint)
    name = next((name for name in wanted.paths if name in table.values), wanted.paths[-1])
    there = [name for name in wanted.columns if name in table.values]
    if len(there) > 1:
        raise InputError(f"{path}: has the columns {there[0]!r} and {there[1]!r}; keep one")
    if name not in table.values or not there:
        reader(path, (name, *(there or wanted.columns[:1])), (), hint=wanted.hint)  # which refuses it
    table = replace(table, values={**table.values, PATH: table.values[name]})
    row_N, warnings = rows_by_path(table, dataset)
    is_failed = np.zeros(len(rows), np.bool_)
    if not wanted.unknown and ERROR in table.values:  # as `dbpt predict` writes it
        texts = (table.texts(column) for column in (ERROR, there[0]))
        error_n, value_n = (np.array([*map(bool, column.map(str.strip))]) for column in texts)
        is_failed = (row_N[rows] >= 0) & (error_n & ~value_n)[row_N[rows]]
    read = _from_rows(table, there[0], dataset, wanted, rows[~is_failed], row_N)
    left_out = row_N[rows[is_failed]]
    for row in left_out[:3].tolist():
        values = {"where": table.where(row), "path": table.values[PATH][row], "noun": wanted.noun}
        warnings += (caution("no value", **values, reason=f"{table.values[ERROR][row]:.100}"),)
    if len(left_out) > 3:
        warnings += (caution("more without a value", noun=wanted.noun, n=len(left_out) - 3),)
    return replace(read.among(~is_failed) if is_failed.any() else read, warnings=warnings + read.warnings)


def _from_rows(
    table: Columns, column: str, dataset: Dataset, wanted: Wanted, rows: NDArray[np.int64], row_N: NDArray[np.int64]
) -> Codes:
    """Return what the ``table`` has for the ``rows`` of ``dataset``; ``row_N`` is its row of each image."""
    path, names = table.path, [f"p_{name}" for name in wanted.vocabulary]
    order, values = row_N[rows], table.values
    missing = rows[order < 0].tolist()
    if missing and wanted.in_part not in table.values:
        first = f"the first is {dataset.paths[missing[0]]!r} ({dataset.where(missing[0])}); add a row for each"
        hint = f"with an empty {wanted.noun} where it is unknown" if wanted.unknown else "or leave these images out"
        if len(unused := np.setdiff1d(np.arange(len(table.lines)), row_N)):  # may be the same with other paths
            hint += f"; write paths as there: {table.values[PATH][unused[0]]!r} in this file is none of the data"
        sizes = [(name, row_N[dataset.in_split(name)]) for name in SPLITS]
        if covered := [name for name, lines in sizes if len(lines) and (lines >= 0).all()]:
            hint += f"; it has all images of --split {covered[0]}"
        raise InputError(f"{path}: {len(missing)} of {len(rows)} images have no {wanted.noun}, {first}, {hint}")
    if missing or not np.array_equal(order, np.arange(len(table.lines))):
        values = {name: table.texts(name).filled(order) for name in values}
    sought = Columns(path, np.append(table.lines, 0)[order], values, unit=table.unit)
    if LABEL in values and not missing:
        labels = _codes(sought, LABEL, dataset.words.classes, unknown=False)
        for wrong in np.flatnonzero(labels != dataset.labels[rows])[:1]:
            says = f"label is {values[LABEL][wrong]!r}, but {dataset.class_names[dataset.labels[rows[wrong]]]!r} in"
            raise InputError(f"{sought.where(wrong)}: {says} {dataset.where(rows[wrong])}; correct one of them")
    given = [name for name in names if name in values]
    if given and (others := [name for name in names if name not in given]):
        hint = f"give a probability for each {wanted.kind}, or for none"
        raise InputError(f"{path}: has {given[0]!r} but no {others[0]!r}; {hint}")
    codes = _codes(sought, column, wanted.vocabulary, unknown=wanted.unknown)
    probabilities = sure = None
    if given:
        numbers = np.stack([_numbers(sought, name, codes < 0) for name in names], axis=1)
        probabilities = _checked_probabilities(numbers, names, sought.where, codes < 0)
    _refuse_ambiguous(sought, column, wanted, codes, probabilities)
    warnings: tuple[Caution, ...] = ()
    if probabilities is not None:
        known = np.flatnonzero(codes >= 0)
        less = known[probabilities[known, codes[known]] < probabilities[known].max(axis=1)]
        if 2 * len(less) > len(known):
            place = {"where": sought.where(less[0]), "noun": wanted.kind, "column": column}
            warnings = (caution("less likely", **place, n=len(less), of=len(known)),)
    if wanted.sure is not None and wanted.sure in values:
        sure = _checked_shares(_numbers(sought, wanted.sure, codes < 0)[:, None], [wanted.sure], sought.where)[:, 0]
    return Codes(codes, probabilities, sure, warnings)


def _codes(
    columns: Columns, name: str, vocabulary: Vocabulary, *, unknown: bool, are_indices: bool = False
) -> NDArray[np.int64]:
    """Return the indices (n,) in a column of names or indices; with ``unknown``, -1 where it is empty or -1."""
    values = {value.strip() for value in columns.texts(name).distinct()[0]}
    names = () if are_indices else vocabulary
    blank = {value for value in values if unknown and value not in names and is_unknown(value)}
    expected: Sequence[str] = [str(index) for index in range(len(vocabulary))]
    codes = {text: index for index, text in enumerate(expected)}
    if not are_indices:
        _, codes, expected = names_and_codes(values - blank, vocabulary)
    codes = {**codes, **dict.fromkeys(blank, -1)}
    hint = f"; write names of the data, or numbers from 0 for {shortened(vocabulary, 4)}"
    hint += "; leave it empty where it is unknown" if unknown else ""
    return columns.decode(name, lambda value: codes.get(value, codes.get(unmarked(value))), expected, hint=hint)


def _refuse_ambiguous(
    columns: Columns, name: str, wanted: Wanted, codes: NDArray[np.int64], probabilities: NDArray[np.float64] | None
) -> None:
    """Refuse a column whose integers are names of the vocabulary, but also indices from 0 of other names.

    They are names if the ``probabilities`` say so, in more rows than they say that they are indices.
    """
    names, (values, at_N) = list(wanted.vocabulary), columns.texts(name).distinct()
    integers = [integer_of(value.strip()) for value in values]
    index_of = {integer_of(text): index for index, text in enumerate(names)}
    by_name = np.array([index_of.get(value, -1) for value in integers])[at_N]
    by_index = np.array([value if value in range(len(names)) else -1 for value in integers])[at_N]
    known = codes >= 0
    differs = known & (by_name != by_index)
    if not differs.any() or (by_name[known] < 0).any() or (by_index[known] < 0).any():
        return
    if probabilities is not None:
        likeliest = probabilities.argmax(axis=1)
        if (likeliest == by_name).sum() > (likeliest == by_index).sum():
            return
    row, kind = int(differs.argmax()), wanted.kind
    raise InputError(
        f"{columns.where(row)}: {name} is {by_index[row]}, the name of a {kind} but also the index of {kind} "
        f"{names[by_index[row]]!r}; give an array or a .npy file, where integers are indices and texts are names, or "
        f"add the probabilities p_{kind.upper()}"
    )


def _numbers(columns: Columns, name: str, blank: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a column of numbers (n,); a cell may be empty, as 0, where ``blank`` (n,)."""
    texts, numbers = columns.texts(name), np.zeros(len(blank))
    for row, number in enumerate(texts.map(_number)):
        if number is not None:
            numbers[row] = number
        elif texts[row].strip() or not blank[row]:
            raise InputError(f"{columns.where(row)}: {name} is {texts[row]!r}, expected a number; {CORRECT}")
    return numbers


def _number(text: str) -> float | None:
    try:
        return plain_number(text)
    except ValueError:
        return None


def _checked_shares(
    numbers: NDArray[np.float64], names: Sequence[str], where: Callable[[int], str], hint: str = ""
) -> NDArray[np.float64]:
    """Return numbers (n, K) from 0 to 1, which may be above by `TOLERANCE`; the columns have ``names``."""
    for row, column in np.argwhere(~((numbers >= 0) & (numbers <= 1 + TOLERANCE)))[:1].tolist():
        value = numbers[row, column]
        problem = f"expected a probability from 0 to 1{hint or per_cent_hint(value)}"
        if np.isnan(value):
            problem = f"not a number; {CORRECT}"
        raise InputError(f"{where(row)}: {names[column]} is {in_digits(value)}, {problem}")
    return np.minimum(numbers, 1)


def _checked_probabilities(
    numbers: NDArray[np.float64], names: Sequence[str], where: Callable[[int], str], blank: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return probabilities (n, K) divided by the sums of their rows, which may differ from 1 by `TOLERANCE`.

    Where ``blank`` (n,), they may all be 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinite ones, which are refused
        sums = numbers.sum(axis=1, keepdims=True)
    is_per_cent = 2 * np.count_nonzero(np.abs(sums - 100) < 1) > len(sums)
    _checked_shares(numbers, names, where, f"; {'divide per cent by 100' if is_per_cent else OF_LOGITS}")
    sums[blank & (sums[:, 0] == 0)] = 1
    for row in np.flatnonzero(np.abs(sums - 1) > TOLERANCE)[:1].tolist():
        hint = "divide each row by its sum" if abs(sums[row, 0] - 1) < ROUNDED else OF_LOGITS
        raise InputError(f"{where(row)}: the probabilities sum to {sums[row, 0]:g}, expected 1; {hint}")
    numbers /= sums
    return numbers


def codes_of_array(path: Path, array: NDArray[Any], dataset: Dataset, wanted: Wanted, rows: NDArray[np.int64]) -> Codes:
    """Return the class or attribute that an array has for each of the ``rows``.

    Args:
        path: the ``.npy`` file, or the name of the argument, for messages.
        array: names or indices (N,) or (n,), or probabilities (N, K) or (n, K): of all images or those of ``rows``.
        dataset: N images.
        wanted: what to look for, and its K names.
        rows: (n,) the rows of ``dataset`` to return.
    """
    number = len(wanted.vocabulary)
    is_codes = array.ndim == 1 and array.dtype.kind in "iuU"
    is_probabilities = array.dtype.kind == "f" and array.shape[1:] == (number,)
    if not is_codes and not is_probabilities:
        expected = f"(N,) {wanted.kind} names or integers, or (N, {number}) probabilities"
        if number == 2 and array.dtype.kind == "f" and array.ndim == 1:
            expected += f"; of the probability p of {list(wanted.vocabulary)[1]!r}: numpy.stack([1 - p, p], axis=1)"
        expected += wanted.hint if array.ndim > 1 else ""
        raise InputError(f"{path}: holds {array.dtype} of shape {array.shape}, expected {expected}")
    splits = [SPLITS[split] for split in np.unique(dataset.splits[rows])]
    sizes = [(name, np.count_nonzero(dataset.splits == at)) for at, name in enumerate(SPLITS)]
    others = [name for name, size in sizes if name not in splits and size == len(array)]
    if len(array) not in (len(dataset), len(rows)):
        expected = f"{len(dataset)}, one for each image of {dataset.source}"
        expected += f", or {len(rows)}, for those audited" if len(rows) < len(dataset) else ""
        hint = f"; as many images are in --split {others[0]}" if others else ""
        raise InputError(f"{path}: has {len(array)} rows, expected {expected}, in its order{hint}")
    is_whole = len(array) == len(dataset)
    which = "all images" if is_whole else f"the {' and '.join(splits)} images"
    logger.info(f"{path}: its {len(array)} rows are read as {which} of {dataset.source}, in the same order")
    warnings: tuple[Caution, ...] = ()
    if others and not is_whole:
        taken = {"path": str(path), "n": len(array), "splits": " and ".join(splits), "source": dataset.source}
        warnings = (caution("as many in another split", **taken, others=" and in split ".join(others)),)
    taken_rows = rows if is_whole else np.arange(len(rows))
    values = array[taken_rows]
    lines = taken_rows + 1
    if is_codes:
        _check_text(path, array)
        columns = Columns(path, lines, {wanted.columns[0]: Texts.of(map(str, values))}, unit="row")
        are_indices = array.dtype.kind in "iu"
        codes = _codes(columns, wanted.columns[0], wanted.vocabulary, unknown=wanted.unknown, are_indices=are_indices)
        others_named = [pair for pair in enumerate(wanted.vocabulary) if integer_of(pair[1]) not in (pair[0], None)]
        for index, name in others_named[:1] if are_indices else ():  # names that are other integers than their indices
            warnings += (caution("indices", path=str(path), index=index, noun=wanted.kind, name=name),)
        return Codes(codes, None, warnings=warnings)
    names = [f"the probability of {name!r}" for name in wanted.vocabulary]
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes infinite, which is refused
        numbers = values.astype(np.float64)
    none = np.zeros(len(numbers), dtype=bool)
    probabilities = _checked_probabilities(numbers, names, lambda row: f"{path} row {lines[row]}", none)
    return Codes(probabilities.argmax(axis=1).astype(np.int64), probabilities, warnings=warnings)


def _check_text(path: Path, array: NDArray[Any]) -> None:
    """Refuse numbers beyond Unicode in an array of text, of which NumPy makes strings that break Python."""
    if array.dtype.kind == "U" and array.dtype.itemsize:
        native = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
        for row in np.flatnonzero((native.view(np.uint32).reshape(len(array), -1) > sys.maxunicode).any(axis=1))[:1]:
            raise InputError(f"{path} row {row + 1}: holds bytes that are no text; write the file again")


def codes_in_memory(name: str, values: Any, dataset: Dataset, wanted: Wanted, rows: NDArray[np.int64]) -> Codes:
    """Return the class or attribute that an argument has for each of the ``rows``.

    Args:
        name: the name of the argument, for messages.
        values: an array or list as in `codes_of_array`, or a data frame: a table if it has a column that is wanted.
        dataset: N images.
        wanted: what to look for.
        rows: (n,) the rows of ``dataset`` to return.
    """
    if {*wanted.paths, *wanted.columns} & set(map(str, getattr(values, "columns", ()))):
        return _from_table(Path(name), partial(frame_columns, values), dataset, wanted, rows)
    index = getattr(values, "index", None) if hasattr(values, "to_frame") else None
    if index is not None and len(index) and str(index[0]) in dataset.paths:  # a Series of pandas by path
        table = values.rename(wanted.columns[0]).rename_axis(PATH).reset_index()
        return _from_table(Path(name), partial(frame_columns, table), dataset, wanted, rows)
    if isinstance(values, Mapping) or hasattr(values, "predict"):
        way_out = "what its predict returns" if hasattr(values, "predict") else f"pandas.Series({name}), read by path"
        way_out = "the folder of its run" if hasattr(values, "words") else way_out  # a `Classifier`
        raise InputError(f"{name} is a {type(values).__name__}; give {way_out}")
    in_order = f"sort it by sort_index(), or give {name}.to_numpy() if its rows are in the order of the data"
    arguments.check_order(name, values, in_order)
    array = arguments.array(name, values)
    if array.dtype == object and array.ndim == 1:  # as pandas holds text
        for row in [row for row, value in enumerate(array.tolist()) if not isinstance(value, str)][:1]:
            hint = f"; give [each.prediction for each in {name}]" if hasattr(array[row], "prediction") else ""
            held = arguments.in_one_line(array[row])
            raise InputError(f"{name} row {row + 1}: holds {held}, expected a {wanted.kind} name{hint}")
        array = array.astype(str)
    return codes_of_array(Path(name), array, dataset, wanted, rows)
