"""Reading the CSV that the page saves: what a person has answered to which images."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.columns import Columns
from dbpt.data.tables import read_columns, read_text
from dbpt.errors import InputError
from dbpt.files.csv import unmarked
from dbpt.human_check.design import Design

CANNOT_TELL, NOT_ANSWERED = -1, -2
COLUMNS = ("sample", "path", "attribute")
SEPARATORS_OF_SPREADSHEETS = (";", "\t")


def read_answers(path: Path, design: Design) -> NDArray[np.int64]:
    """(n,) int64 attribute of each image of ``design``, -1 where the person could not tell, -2 where there is no line.

    Columns: ``sample``, the same in each line; ``path``; ``attribute``, a name, empty for "can't tell". Spreadsheets
    may have put semicolons or tabs between them, and lines of nothing else below.

    Raises:
        InputError: a malformed file; a line of another sample, of an image that was not drawn, or of one that stands
            already above; an unknown attribute; not one attribute.
    """
    columns = _without_empty_lines(read_columns(path, COLUMNS, delimiter=_separator(read_text(path))))
    position = {name: i for i, name in enumerate(design.paths)}
    first: dict[str, int] = {}
    for row, (sample, name) in enumerate(zip(columns.values["sample"], columns.values["path"], strict=True)):
        if sample.strip() != design.sample:
            raise InputError(
                f"{columns.where(row)}: is of sample {sample!r}, expected {design.sample!r}: the labels were given to "
                "other images; give the folder that they were drawn into"
            )
        if name not in position:
            raise InputError(f"{columns.where(row)}: path {name!r} is no image of this sample")
        if first.setdefault(name, row) != row:
            raise InputError(f"{columns.where(row)}: path {name!r} stands already at line {columns.lines[first[name]]}")
    codes = {name: number for number, name in enumerate(design.attribute_names)} | {"": CANNOT_TELL}
    attributes = columns.decode("attribute", codes.get, design.attribute_names)
    if (attributes == CANNOT_TELL).all():
        raise InputError(f"{path}: not one image has an attribute, so there is nothing to judge")
    answers = np.full(len(design.paths), NOT_ANSWERED, dtype=np.int64)
    answers[[position[name] for name in columns.values["path"]]] = attributes
    return answers


def _separator(text: str) -> str:
    header = text.lstrip("\r\n").splitlines()[0]
    return next((separator for separator in SEPARATORS_OF_SPREADSHEETS if separator in header), ",")


def _without_empty_lines(columns: Columns) -> Columns:
    rows = [row for row, cells in enumerate(zip(*columns.values.values(), strict=True)) if any(map(str.strip, cells))]
    values = {name: [unmarked(column[row]) for row in rows] for name, column in columns.values.items()}
    return Columns(columns.path, [columns.lines[row] for row in rows], values)
