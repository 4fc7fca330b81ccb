"""CSV that is safe to open in a spreadsheet: no text in it is run as a formula."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Text that spreadsheets run as a formula, and text that looks like such a text with its apostrophe.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
MARKED = re.compile(r"'+[=+\-@\t\r\n]")
BLOCK_ROWS = 8_192
Column = Sequence[object] | NDArray[Any]


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return the rows as CSV with line feeds. Text that begins like a formula gets an apostrophe in front.

    >>> csv_text([("path", "shift"), ("=cmd|'/c calc'!A1", -0.5)])
    "path,shift\\n'=cmd|'/c calc'!A1,-0.5\\n"
    """
    lines: list[str] = []
    # With the line ending "\r\n" the csv module also quotes carriage returns in cells.
    table = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    table.writerows([marked(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return "".join(f"{line[:-2]}\n" for line in lines)


def csv_of_columns(columns: Mapping[str, Column]) -> Iterator[str]:
    """Yield columns of equal length, by name, as `csv_text`, some rows at a time."""
    yield csv_text([list(columns)])
    for start in range(0, max(map(len, columns.values())), BLOCK_ROWS):
        cells = [column[start : start + BLOCK_ROWS] for column in columns.values()]
        lists = [part.tolist() if isinstance(part, np.ndarray) else part for part in cells]
        yield csv_text(zip(*lists, strict=True))


def marked(cell: str) -> str:
    """Return text as a cell that no spreadsheet runs; `unmarked` undoes it."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def unmarked(cell: str) -> str:
    """Return the text from which `marked` made this cell."""
    return cell[1:] if MARKED.match(cell) else cell
