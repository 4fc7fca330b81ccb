"""A data set as a table (CSV, TSV, JSON lines, Parquet), and its rows found by path."""

import csv
import io
import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import columns as tabular
from dbpt.data.dataset import Dataset
from dbpt.data.other_columns import OtherCells, text_of
from dbpt.data.paths import absolute, common_root, import_pyarrow, is_below
from dbpt.errors import InputError, nearest
from dbpt.storage.files import open_regular, read_regular, reason_of
from dbpt.storage.typed_json import json_kind, json_object

MAX_BYTES = 1 << 32
SEPARATORS = ",;\t"  # of a .csv; spreadsheets write semicolons where the comma is the decimal point
FIRST_LINE = re.compile(r"[^\r\n]+")
NAMED_SEPARATOR = re.compile(r"\"?sep=(.)\"?(?=[\r\n])", re.IGNORECASE)
"""Excel's first line, which names the separator."""
CELL_TYPES = ("is_string", "is_large_string", "is_integer", "is_floating", "is_boolean", "is_null")  # of pyarrow
OTHER_TYPES = ("is_date", "is_timestamp", "is_time", "is_decimal")  # of columns without a role


def read_table(path: Path, root: Path, request: tabular.DataRequest) -> Dataset:
    """Read a table in the format of its suffix, with paths relative to ``root``.

    If no root was asked for, and all paths are absolute, it is one that holds them.
    """
    read = READERS[path.suffix.lower()]
    columns = read(path, *wanted_columns(request), hint=tabular.COLUMNS_HINT, with_role=request.with_role)
    if request.root is None and request.images:
        paths = columns.values[request.column_names["path"]]
        if not all(is_below(path, root) for path in paths):
            root = common_root(paths) or root
    return dataset_of(columns, root, request, path.stem)


def wanted_columns(request: tabular.DataRequest) -> tuple[list[str], list[str]]:
    """Return the names of the columns that a table must have, and of those that it may have."""
    names = request.column_names
    needed = [role for role in tabular.REQUIRED if request.images or role != "path"]
    needed += [role for role in request.columns if role in names and role not in needed]
    return [names[role] for role in needed], [name for role, name in names.items() if role not in needed]


def dataset_of(columns: tabular.Columns, root: Path, request: tabular.DataRequest, name: str) -> Dataset:
    """Return the data set of a table's columns, with paths relative to ``root``."""
    names = request.column_names
    own_names = columns.values.get(names["path"])
    if request.images:
        paths = columns.image_paths(names["path"], root)
    elif own_names is None:
        paths = tuple(f"row {row + 1}" for row in range(len(columns.lines)))
    elif "" in own_names:
        row, column = own_names.index(""), names["path"]
        raise InputError(f"{columns.where(row)}: {column} is empty; name every row, or drop the column")
    else:
        paths = tuple(own_names)
    return tabular.coded_dataset(request, columns, paths, name=name, root=root)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file without its byte order mark. Raises `InputError` for anything else."""
    raw = read_regular(path, "file", MAX_BYTES)
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        raise InputError(f"{path}: is not UTF-8 text (UTF-16 or binary); save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save it as UTF-8") from None
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head")):
        raise InputError(f"{path}: is a web page, not metadata (a failed download?); download it again")
    if start.startswith("version https://git-lfs"):
        raise InputError(f"{path}: is a Git LFS pointer, not the file itself; run 'git lfs pull' where it came from")
    if not start:
        raise InputError(f"{path}: is empty; expected a header and one row per image")
    return text


def separator_of(text: str, delimiters: str) -> str:
    """Return the separator that Excel's first line names, else the first of ``delimiters`` that the header contains."""
    if (named := NAMED_SEPARATOR.match(text)) and named[1] in delimiters:
        return named[1]
    first = FIRST_LINE.search(text)
    return next((delimiter for delimiter in delimiters if first and delimiter in first[0]), delimiters[0])


def separated_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields) of every row that is not blank; ``line`` is the first line of the row.

    A first line that names the separator is no row.
    """
    text = NAMED_SEPARATOR.sub("", text, count=1) if NAMED_SEPARATOR.match(text) else text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path} line {line}: not well-formed ({error}); check its quotes") from None


def read_columns(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    delimiters: str = ",",
    hint: str = "",
    with_role: Collection[str] | None = None,
) -> tabular.Columns:
    """Read the named columns of a delimited file with a header.

    Args:
        path: a UTF-8 file.
        required: names of columns that it must have.
        optional: names of columns that it may have.
        delimiters: possible separators; the first that the header contains is taken.
        hint: what a message adds if a column is missing.
        with_role: names of columns with a role; all columns but these are read too, as ``others``. None ignores them.

    Returns:
        The columns as text, with the line of each row.

    Raises:
        InputError: for a file that can't be read so, and without a required column.
    """
    text = read_text(path)
    rows = separated_rows(path, text, separator_of(text, delimiters))
    first_line, header = next(rows)
    header = [name.strip() for name in header]
    positions = tabular.positions_of(f"{path} line {first_line}", header, required, optional, hint)
    others = OtherCells(with_role)
    beside = others.positions(header)
    lines: list[int] = []
    values: dict[str, list[str]] = {name: [] for name in (*positions, *beside)}
    appends = [(position, values[name].append) for name, position in (positions | beside).items()]
    for line, fields in rows:
        if len(fields) != len(header):
            problem = f"has {len(fields)} fields where the header has {len(header)}"
            raise InputError(f"{path} line {line}: {problem}; quote fields that contain the separator")
        lines.append(line)
        for position, append in appends:
            append(fields[position])
    if not lines:
        raise InputError(f"{path}: has a header but no rows; expected one row per image")
    others.add({name: values.pop(name) for name in beside}, len(lines))
    return tabular.Columns(path, lines, values, others=others.columns())


def _read_jsonl(
    path: Path, required: Sequence[str], optional: Sequence[str], hint: str, with_role: Collection[str] | None = None
) -> tabular.Columns:
    """Read the named keys of every line. An optional key is empty in the lines that lack it."""
    lines: list[int] = []
    values: dict[str, list[str]] = {name: [] for name in (*required, *optional)}
    present: set[str] = set()
    others = OtherCells(with_role)
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{path} line {line}"
        row = json_object(text, where)
        for name in required:
            if name not in row:
                keys = f"{tabular.shortened(row) or 'none'}{nearest(name, list(row))}"
                raise InputError(f"{where}: no key {name!r}; keys found: {keys}{hint}")
        for name, column in values.items():
            cell = tabular.cell_text(row.get(name))
            if cell is None:
                kind = json_kind(row[name])
                raise InputError(f"{where}: {name} is {kind}, expected text, a number, true, false or null")
            column.append(cell)
        lines.append(line)
        present |= row.keys()
        others.add_row(row)
    named = {name: column for name, column in values.items() if name in present}
    return tabular.Columns(path, lines, named, others=others.columns())


def read_parquet(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    hint: str = "",
    with_role: Collection[str] | None = None,
) -> tabular.Columns:
    """Read the named columns of a Parquet file, as `read_columns` does. Other columns are not decoded."""
    pyarrow = import_pyarrow(path, "parquet")
    import pyarrow.parquet as parquet

    try:
        open_regular(path).close()
        others = OtherCells(with_role)
        schema = parquet.read_schema(path)
        # Text stays dictionary-encoded: a file of a few KB can mean gigabytes of repeated text.
        texts = [field.name for field in schema if str(field.type) in ("string", "large_string")]
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            tabular.check_number(path, file.metadata.num_rows)
            positions = tabular.positions_of(str(path), schema.names, required, optional, hint)
            for name, position in positions.items():
                kind = schema.field(position).type
                if not _holds(kind, CELL_TYPES):
                    shown = f"{path}: column {name!r} holds {' '.join(str(kind).split())[:80]}"
                    expected = "text, integers or booleans; a path column names image files"
                    raise InputError(f"{shown}, expected {expected}, pictures inside the table are not read")
            nested = [field.name for field in schema if not _holds(field.type, (*CELL_TYPES, *OTHER_TYPES))]
            beside = list(others.positions(schema.names, nested))
            table = file.read(columns=[*positions, *beside])
            values = {name: _cells(path, name, table.column(name)) for name in positions}
            others.add({name: _cells(path, name, table.column(name), text_of) for name in beside}, table.num_rows)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = reason_of(error)[:200]
        raise InputError(f"{path}: cannot be read as Parquet ({reason}); write it again") from None
    if not table.num_rows:
        raise InputError(f"{path}: has columns but no rows; expected one row per image")
    return tabular.Columns(path, range(1, table.num_rows + 1), values, unit="row", others=others.columns())


def _holds(kind: Any, tests: Iterable[str]) -> bool:
    """Return whether one of the ``tests`` of pyarrow is true for a type, or for that of its dictionary's values."""
    import pyarrow.types as types

    value_type = kind.value_type if types.is_dictionary(kind) else kind
    return any(getattr(types, test)(value_type) for test in tests)


def _cells(path: Path, name: str, column: Any, text: Callable[[Any], str | None] = tabular.cell_text) -> list[str]:
    """Return the cells of a column as text, converting each distinct value once."""
    cells: list[str] = []
    for chunk in column.chunks:
        chunk.validate(full=True)
        if not hasattr(chunk, "dictionary"):
            chunk = (chunk.cast("float32") if str(chunk.type) == "halffloat" else chunk).dictionary_encode()
        values = chunk.dictionary.to_pylist()
        texts = [text(value) for value in values]
        codes = chunk.indices.fill_null(len(texts)).to_numpy()
        if None in texts:
            for row, code in enumerate(codes.tolist(), start=len(cells) + 1):
                if code < len(texts) and texts[code] is None:
                    raise InputError(f"{path} row {row}: {name} is {values[code]!a:.80}, expected text or an integer")
        cells += np.array([*texts, ""], dtype=object)[codes].tolist()
    return cells


READERS: dict[str, Callable[..., tabular.Columns]] = {
    ".csv": partial(read_columns, delimiters=SEPARATORS),
    ".tsv": partial(read_columns, delimiters="\t"),
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": read_parquet,
}


PATH = "path"


def rows_by_path(table: tabular.Columns, dataset: Dataset) -> tuple[dict[str, int], list[int]]:
    """Return the row of the table for each path of the data that it has, and the rows of other images."""
    paths, folder = set(dataset.paths), str(absolute("."))
    roots = [os.path.join(root, "") for root in (str(absolute(dataset.root)), os.path.realpath(dataset.root))]  # noqa: PTH118
    row_of: dict[str, int] = {}
    ignored = []
    for row, cell in enumerate(table.values[PATH]):
        if not cell.strip() and not any(column[row].strip() for column in table.values.values()):
            continue  # spreadsheets write such lines at the end
        if cell in paths:
            path: str | None = cell
        elif not cell:
            raise InputError(f"{table.where(row)}: path is empty; name the image")
        else:
            texts = dict.fromkeys((cell, unmarked(cell)))
            path = next((path for text in texts if (path := _path_in_data(text, paths, roots, folder))), None)
        if path is None:
            ignored.append(row)
        elif path in row_of:
            other = f"{table.unit} {table.lines[row_of[path]]}"
            raise InputError(f"{table.where(row)}: image {cell!r} is in {other} already; keep one")
        else:
            row_of[path] = row
    return row_of, ignored


def _path_in_data(text: str, paths: Collection[str], roots: Sequence[str], folder: str) -> str | None:
    """Return the path by which the data know an image, or None. A relative one starts at the root or ``folder``."""
    if (path := posixpath.normpath(text)) in paths:
        return path
    full = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118 (once an image)
    below = (full.removeprefix(root) for root in roots if full.startswith(root))
    return next((path for path in below if path in paths), None)


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
