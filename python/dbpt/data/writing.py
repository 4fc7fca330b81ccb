"""Tables that dbpt writes: CSV whose text no spreadsheet runs as a formula, and Parquet where a table is long."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.text_array import BLOCK_ROWS, Texts
from dbpt.storage.files import write_atomically

MOST_ROWS_OF_CSV = 1_000_000
"""A table of images with more rows is written as Parquet, if pyarrow is there."""
BATCH_ROWS = 1 << 17
"""Rows of a Parquet file that are read or written at once."""
# Text that spreadsheets run as a formula, and text that looks like such a text with its apostrophe.
FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
MARKED = re.compile(r"'+[=+\-@\t\r\n]")
Column = Sequence[object] | NDArray[Any]


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return the rows as CSV with line feeds. Text that begins like a formula gets an apostrophe in front.

    >>> csv_text([("path", "shift"), ("=cmd|'/c calc'!A1", -0.5)])
    "path,shift\\n'=cmd|'/c calc'!A1,-0.5\\n"
    """
    return _csv_text([marked(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)


def _csv_text(rows: Iterable[Iterable[object]]) -> str:
    # With this line ending the csv module also quotes carriage returns in cells; no cell has a NUL.
    end, text = "\0\r\n", io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue().replace(end, "\n")


def csv_of_columns(columns: Mapping[str, Column], mark: Callable[[str], str] | None = None) -> Iterator[str]:
    """Yield columns of equal length, by name, as `csv_text`, some rows at a time. ``mark`` replaces `marked`."""
    yield csv_text([list(columns)])
    rows = zip(*(_cells(column, mark or marked) for column in columns.values()), strict=True)
    while text := _csv_text(islice(rows, BLOCK_ROWS)):
        yield text


def _cells(column: Column, mark: Callable[[str], str]) -> Iterator[object]:
    if isinstance(column, Texts):
        return column.map(mark)
    if isinstance(column, np.ndarray):
        starts = range(0, len(column), BLOCK_ROWS)
        return chain.from_iterable(column[start : start + BLOCK_ROWS].tolist() for start in starts)
    return (mark(cell) if isinstance(cell, str) else cell for cell in column)


def write_table(folder: Path, name: str, columns: Mapping[str, Column]) -> None:
    """Write columns of equal length as ``name.csv``; as ``name.parquet`` if they are long and pyarrow is installed."""
    if max(map(len, columns.values())) > MOST_ROWS_OF_CSV and find_spec("pyarrow"):
        with suppress(UnicodeEncodeError):  # names of files in another encoding, which only CSV can keep
            write_atomically(folder / f"{name}.parquet", parquet_of_columns(columns))
            return
    write_atomically(folder / f"{name}.csv", csv_of_columns(columns))


def parquet_of_columns(columns: Mapping[str, Column]) -> Iterator[bytes]:
    """Yield columns of equal length, by name, as a Parquet file, some rows at a time."""
    import pyarrow
    import pyarrow.parquet as parquet

    types = [pyarrow.string() if isinstance(cells, Texts) else pyarrow.array(cells).type for cells in columns.values()]
    schema = pyarrow.schema(zip(columns, types, strict=True))
    with parquet.ParquetWriter(file := io.BytesIO(), schema) as writer:
        for start in range(0, max(map(len, columns.values())), BATCH_ROWS):
            parts = {name: column[start : start + BATCH_ROWS] for name, column in columns.items()}
            cells = {name: list(part) if isinstance(part, Texts) else part for name, part in parts.items()}
            writer.write_table(pyarrow.table(cells, schema))
            yield file.getvalue()
            file.truncate(file.seek(0))  # the writer counts the bytes itself
    yield file.getvalue()


def marked(cell: str) -> str:
    """Return text as a cell that no spreadsheet runs; `unmarked` undoes it."""
    return f"'{cell}" if cell[:1] in "'=+-@\t\r\n" and FORMULA.match(cell) else cell


def unmarked(cell: str) -> str:
    """Return the text from which `marked` made this cell."""
    return cell[1:] if MARKED.match(cell) else cell
