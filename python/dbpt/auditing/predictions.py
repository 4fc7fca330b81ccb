"""The user's own predictions (``--predictions FILE``) for the images of a data set.

A table (CSV, TSV, JSON lines, Parquet) has the columns ``path`` and ``prediction``, and may have ``label``, which must
agree with the data, and a probability ``p_CLASS`` for each class. `dbpt predict` writes such a table. Rows are found by
path: as in the data, absolute, or relative to the data's root or the working directory. A ``.npy`` file has a row for
each image, in the order of the data: (N,) classes or (N, C) probabilities. A class is its name or its index, as in the
data's own table. Nothing is unpickled.
"""

import os
import posixpath
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.data import Dataset
from dbpt.data.columns import Columns
from dbpt.data.labels import names_and_codes
from dbpt.data.paths import absolute
from dbpt.data.precomputed import open_npy
from dbpt.data.table_formats import READERS
from dbpt.errors import InputError, nearest
from dbpt.files.csv import unmarked
from dbpt.files.disk import open_regular, reason_of

PATH, PREDICTION, LABEL, ERROR = "path", "prediction", "label", "error"
HINT = "; predictions are a table with the columns path and prediction, and optionally label and p_CLASS for each class"
AS_TEXT = "names with np.save(FILE, predictions.astype(str))"
TOLERANCE = 1e-3
OF_LOGITS = "scipy.special.softmax(logits, axis=1) turns logits into probabilities"


@dataclass(frozen=True, eq=False)
class UserPredictions:
    """Predicted classes (n,) int64 and probabilities (n, C) float64, whose rows sum to 1, or None."""

    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    warnings: tuple[str, ...] = ()


def read_predictions(path: Path, dataset: Dataset, rows: NDArray[np.int64] | None = None) -> UserPredictions:
    """Return the predictions in a file for the ``rows`` (n,) of ``dataset`` that are audited, by default all.

    A ``.npy`` file may have predictions for all rows of ``dataset``, or for ``rows`` only. A table may have more images
    than ``dataset``. A prediction need not be the class of the largest probability. Raises `InputError`.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    reader = READERS.get(path.suffix.lower())
    if reader is None and path.suffix.lower() != ".npy":
        if not os.path.lexists(path):  # Path.exists raises on a name that is too long
            meant = nearest(str(path), ["zero-shot", "probe"])
            raise InputError(
                f"--predictions {path}: no such file or folder{meant}; expected zero-shot, probe, the folder of a run, "
                "or a file of predictions"
            )
        raise InputError(f"{path}: predictions are read from {', '.join(READERS)} and .npy files{HINT}")
    try:
        open_regular(path).close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: cannot read the predictions: {reason_of(error)}") from None
    if reader:
        return _from_table(path, reader, dataset, rows)
    return _from_array(path, open_npy(path, "predictions", AS_TEXT), dataset, rows)


# --- a table


def _from_table(
    path: Path, reader: Callable[..., Columns], dataset: Dataset, rows: NDArray[np.int64]
) -> UserPredictions:
    names = [f"p_{name}" for name in dataset.class_names]
    table = reader(path, (PATH, PREDICTION), (LABEL, ERROR, *names), hint=HINT)
    found, ignored = _rows_by_path(table, dataset)
    _check_complete(table, dataset, rows, found)
    order = [found[dataset.paths[row]] for row in rows.tolist()]
    values = {name: [cells[row] for row in order] for name, cells in table.values.items()}
    audited = Columns(path, [table.lines[row] for row in order], values, unit=table.unit)
    if LABEL in values:
        labels = _classes(audited, LABEL, dataset)
        for wrong in np.flatnonzero(labels != dataset.labels[rows])[:1]:
            says = f"label is {values[LABEL][wrong]!r}, but {dataset.class_names[dataset.labels[rows[wrong]]]!r} in"
            raise InputError(f"{audited.where(wrong)}: {says} {dataset.where(rows[wrong])}; mend one of them")
    given = [name for name in names if name in values]
    for name in names if given else []:
        if name not in given:
            raise InputError(
                f"{path}: has {given[0]!r} but no {name!r}; give a probability for each class, or for none"
            )
    probabilities = None
    if given:
        numbers = np.stack([_numbers(audited, name) for name in names], axis=1)
        probabilities = _checked_probabilities(numbers, names, audited.where)
    warnings = [
        f"{path}: {len(ignored)} of {len(table.lines)} rows are ignored, because the data lack their images; the "
        f"first is {table.values[PATH][row]!r} in {table.unit} {table.lines[row]}"
        for row in ignored[:1]
    ]
    return UserPredictions(_classes(audited, PREDICTION, dataset), probabilities, tuple(warnings))


def _rows_by_path(table: Columns, dataset: Dataset) -> tuple[dict[str, int], list[int]]:
    """Return the row of the table for each path of the data that it has, and the rows of other images."""
    paths, folder = set(dataset.paths), str(absolute("."))
    roots = [os.path.join(root, "") for root in (str(absolute(dataset.root)), os.path.realpath(dataset.root))]  # noqa: PTH118
    found: dict[str, int] = {}
    ignored = []
    for row, cell in enumerate(table.values[PATH]):
        if cell in paths:
            path: str | None = cell
        elif not cell:
            raise InputError(f"{table.where(row)}: path is empty; name the image")
        else:
            texts = dict.fromkeys((cell, unmarked(cell)))
            path = next((path for text in texts if (path := _path_in_data(text, paths, roots, folder))), None)
        if path is None:
            ignored.append(row)
        elif path in found:
            other = f"{table.unit} {table.lines[found[path]]}"
            raise InputError(f"{table.where(row)}: image {cell!r} has a prediction in {other} already; keep one")
        else:
            found[path] = row
    return found, ignored


def _path_in_data(text: str, paths: Collection[str], roots: Sequence[str], folder: str) -> str | None:
    """Return the path by which the data know an image, or None. A relative one starts at the root or ``folder``."""
    if (path := posixpath.normpath(text)) in paths:
        return path
    full = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118 (once an image)
    below = (full.removeprefix(root) for root in roots if full.startswith(root))
    return next((path for path in below if path in paths), None)


def _check_complete(table: Columns, dataset: Dataset, rows: NDArray[np.int64], found: dict[str, int]) -> None:
    """Refuse a table without a prediction for each of ``rows``. `dbpt predict` says in ``error`` why it has none."""
    predictions, errors = table.values[PREDICTION], table.values.get(ERROR)
    failed = {row for row, error in enumerate(errors or ()) if error and not predictions[row]}
    missing = [
        row for row in rows.tolist() if found.get(dataset.paths[row], -1) in failed or dataset.paths[row] not in found
    ]
    if missing:
        path, row = dataset.paths[missing[0]], found.get(dataset.paths[missing[0]])
        first = f"the first is {path!r} ({dataset.where(missing[0])})"
        way_out = f"write paths as there; the first in this file is {table.values[PATH][0]!r}"
        if row is not None and errors:
            way_out = (
                f"{table.unit} {table.lines[row]} says: {errors[row]:.100}; mend the image, or leave it out of both"
            )
        raise InputError(f"{table.path}: {len(missing)} of {len(rows)} images have no prediction, {first}; {way_out}")


def _classes(columns: Columns, name: str, dataset: Dataset) -> NDArray[np.int64]:
    """Return the class indices (n,) in a column of class names or indices."""
    values = {value.strip() for value in set(columns.values[name])}
    _, codes, expected = names_and_codes(values, dataset.words.classes)
    return columns.decode(name, lambda value: codes.get(value, codes.get(unmarked(value))), expected)


def _numbers(columns: Columns, name: str) -> NDArray[np.float64]:
    numbers: list[float] = []
    try:
        numbers.extend(map(float, columns.values[name]))
    except ValueError:
        row = len(numbers)
        raise InputError(f"{columns.where(row)}: {name} is {columns.values[name][row]!r}, expected a number") from None
    return np.array(numbers)


def _checked_probabilities(
    numbers: NDArray[np.float64], names: Sequence[str], where: Callable[[int], str]
) -> NDArray[np.float64]:
    """Return probabilities (n, C) divided by the sums of their rows, which may differ from 1 by `TOLERANCE`."""
    for row, column in np.argwhere(~((numbers >= 0) & (numbers <= 1 + TOLERANCE)))[:1].tolist():
        found = f"{names[column]} is {numbers[row, column]:g}, expected a probability from 0 to 1"
        raise InputError(f"{where(row)}: {found}; {OF_LOGITS}")
    sums = numbers.sum(axis=1, keepdims=True)
    for row in np.flatnonzero(np.abs(sums - 1) > TOLERANCE)[:1].tolist():
        raise InputError(f"{where(row)}: the probabilities sum to {sums[row, 0]:g}, expected 1; {OF_LOGITS}")
    numbers /= sums
    return numbers


# --- an array


def array_predictions(predictions: Any, dataset: Dataset, rows: NDArray[np.int64]) -> UserPredictions:
    """Return predictions in memory, as a ``.npy`` file has them, for the ``rows`` (n,) of ``dataset``."""
    return _from_array(Path("predictions"), arguments.array("predictions", predictions), dataset, rows)


def _from_array(path: Path, array: NDArray[Any], dataset: Dataset, rows: NDArray[np.int64]) -> UserPredictions:
    is_classes, is_probabilities = array.ndim == 1 and array.dtype.kind in "iuU", array.dtype.kind == "f"
    if not is_classes and not (is_probabilities and array.shape[1:] == (dataset.num_classes,)):
        expected = f"(N,) class names or integers, or (N, {dataset.num_classes}) probabilities"
        raise InputError(f"{path}: holds {array.dtype} of shape {array.shape}, expected {expected}")
    if len(array) not in (len(dataset), len(rows)):
        expected = f"{len(dataset)}, one for each image of {dataset.source}"
        expected += f", or {len(rows)}, for those audited" if len(rows) < len(dataset) else ""
        raise InputError(f"{path}: has {len(array)} rows, expected {expected}, in its order")
    chosen = rows if len(array) == len(dataset) else np.arange(len(rows))
    values = array[chosen]
    lines = (chosen + 1).tolist()
    if is_classes:
        _check_text(path, array)
        columns = Columns(path, lines, {PREDICTION: list(map(str, values.tolist()))}, unit="row")
        return UserPredictions(_classes(columns, PREDICTION, dataset), None)
    names = [f"the probability of {name!r}" for name in dataset.class_names]
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes infinite, which is refused
        numbers = values.astype(np.float64)
    probabilities = _checked_probabilities(numbers, names, lambda row: f"{path} row {lines[row]}")
    return UserPredictions(probabilities.argmax(axis=1).astype(np.int64), probabilities)


def _check_text(path: Path, array: NDArray[Any]) -> None:
    """Refuse numbers beyond Unicode in an array of text, of which NumPy makes strings that break Python."""
    if array.dtype.kind == "U" and array.dtype.itemsize:
        native = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
        for row in np.flatnonzero((native.view(np.uint32).reshape(len(array), -1) > sys.maxunicode).any(axis=1))[:1]:
            raise InputError(f"{path} row {row + 1}: holds bytes that are no text; write the file again")
