"""A data set as a table (CSV, TSV, JSON lines, Parquet), and its rows found by path."""

import codecs
import csv
import errno
import io
import os
import posixpath
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice, product
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data import columns as tabular
from dbpt.data.dataset import Dataset
from dbpt.data.labels_and_splits import coded_dataset
from dbpt.data.other_columns import OtherCells, text_of
from dbpt.data.paths import absolute, common_root, import_pyarrow, is_below
from dbpt.data.text_array import TextBuilder, TextIndex, Texts
from dbpt.data.writing import BATCH_ROWS, unmarked
from dbpt.errors import InputError, nearest
from dbpt.storage.files import READ_BLOCK, open_regular, reason_of, system_errors
from dbpt.storage.typed_json import json_kind, json_object

MAX_BYTES = 1 << 32
SEPARATORS = ",;\t"  # of a .csv; spreadsheets write semicolons where the comma is the decimal point
NAMED_SEPARATOR = re.compile(r"\"?sep=(.)\"?(?=[\r\n])", re.IGNORECASE)
"""Excel's first line, which names the separator."""
ROWS_AT_ONCE = 512  # few enough that Python's search for reference cycles doesn't see them
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
            common = common_root(paths)
            relative = [row for row, text in enumerate(paths) if not os.path.isabs(text)]  # noqa: PTH117
            if common is None and 0 < 2 * len(relative) < len(paths):
                problem = f"path {paths[relative[0]]!r} is not absolute as those of most rows are"
                raise InputError(f"{columns.where(relative[0])}: {problem}; write all in one way, or name a --root")
            root = common or root
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
        paths: Sequence[str] = columns.image_paths(names["path"], root)
    elif own_names is None:
        paths = Texts.of(f"row {row + 1}" for row in range(len(columns.lines)))
    elif "" in own_names:
        row, column = own_names.index(""), names["path"]
        raise InputError(f"{columns.where(row)}: {column} is empty; name every row, or drop the column")
    else:
        paths = own_names
    return coded_dataset(request, columns, paths, name=name, root=root)


@contextmanager
def open_text(path: Path, newline: str = "") -> Iterator[TextIO]:
    """Open a UTF-8 file, after its byte order mark. Raises `InputError` for anything else, before a line is read."""
    with system_errors(f"{path}: cannot read the file"), open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise InputError(f"{path}: more than {MAX_BYTES} bytes, too large for a file")
        _check_text(path, file)
        file.seek(0)
        yield io.TextIOWrapper(file, "utf-8-sig", newline=newline)


def _check_text(path: Path, file: BinaryIO) -> None:
    decode, num_lines, start = codecs.getincrementaldecoder("utf-8")().decode, 0, ""
    for block in chain(iter(partial(file.read, READ_BLOCK), b""), [b""]):
        is_utf16 = not num_lines and block.startswith((b"\xff\xfe", b"\xfe\xff"))
        if is_utf16 or b"\0" in block:
            raise InputError(f"{path}: is {'UTF-16' if is_utf16 else 'binary or UTF-16'}; save it as UTF-8 text")
        try:
            text = decode(block, final=not block)
        except UnicodeDecodeError as error:
            line = num_lines + error.object.count(b"\n", 0, error.start) + 1
            byte = f"byte 0x{error.object[error.start]:02x}"
            raise InputError(f"{path} line {line}: {byte} is not UTF-8; save it as UTF-8") from None
        num_lines += block.count(b"\n")
        if len(start) < 200:
            start = (start + text).removeprefix("\ufeff").lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head")):
        raise InputError(f"{path}: is a web page, not metadata (a failed download?); download it again")
    if start.startswith("version https://git-lfs"):
        raise InputError(f"{path}: is a Git LFS pointer, not the file itself; run 'git lfs pull' where it came from")
    if not start:
        raise InputError(f"{path}: is empty; expected a header and one row per image")


def read_text(path: Path) -> str:
    """Return the text of such a file."""
    with open_text(path) as file:
        return file.read()


def separated_rows(
    path: Path, file: Iterable[str], delimiters: str, lines: "array[int]", *, same_width: bool = False
) -> Iterator[list[str]]:
    """Yield the fields of every row that is not blank, and append its first line to ``lines``.

    The separator is the one that Excel's first line names, which is no row, else the first of ``delimiters`` that the
    header contains. With ``same_width`` a row with more or fewer fields than the header is refused.
    """
    rest = iter(file)
    head = [next(rest)]
    while not head[-1].strip("\r\n"):
        head.append(next(rest))
    if (named := NAMED_SEPARATOR.match(head[0])) and named[1] in delimiters:
        delimiters = named[1]
    delimiter = next((delimiter for delimiter in delimiters if delimiter in head[-1]), delimiters[0])
    head[0] = head[0][named.end() :] if named else head[0]
    reader = csv.reader(chain(head, rest), delimiter=delimiter, strict=True)
    line, width = 1, 0
    try:
        for fields in reader:
            if fields:
                if same_width and len(fields) != (width := width or len(fields)):
                    problem = f"has {len(fields)} fields where the header has {width}"
                    raise InputError(f"{path} line {line}: {problem}; quote fields that contain the separator")
                lines.append(line)
                yield fields
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
    others, lines = OtherCells(with_role), array("q")
    with open_text(path) as file:
        rows = separated_rows(path, file, delimiters, lines, same_width=True)
        header = [name.strip() for name in next(rows, ())]
        if not header:
            raise InputError(f"{path}: has no header; expected one and one row per image")
        positions = tabular.positions_of(f"{path} line {lines.pop()}", header, required, optional, hint)
        beside = others.positions(header)
        builders = {name: TextBuilder() for name in positions}
        while block := list(islice(rows, ROWS_AT_ONCE)):
            for name, builder in builders.items():
                builder.add(list(map(itemgetter(positions[name]), block)))
            others.add({name: map(itemgetter(position), block) for name, position in beside.items()}, len(block))
    if not lines:
        raise InputError(f"{path}: has a header but no rows; expected one row per image")
    values = {name: builder.texts() for name, builder in builders.items()}
    return tabular.Columns(path, np.asarray(lines), values, others=others.columns())


def _json_rows(
    path: Path, file: Iterable[str], required: Sequence[str], hint: str, lines: "array[int]"
) -> Iterator[dict[str, Any]]:
    """Yield the object in every line that is not blank, and append its number to ``lines``."""
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        where = f"{path} line {line}"
        if line == 1 and text.startswith("["):
            raise InputError(f"{where}: is a JSON array; write one object in each line instead")
        row = json_object(text, where)
        for name in required:
            if name not in row:
                keys = f"{tabular.shortened(row) or 'none'}{nearest(name, list(row))}"
                raise InputError(f"{where}: no key {name!r}; keys found: {keys}{hint}")
        lines.append(line)
        yield row


def _read_jsonl(
    path: Path, required: Sequence[str], optional: Sequence[str], hint: str, with_role: Collection[str] | None = None
) -> tabular.Columns:
    """Read the named keys of every line. An optional key is empty in the lines that lack it."""
    others, lines, present = OtherCells(with_role), array("q"), set[str]()
    values = {name: TextBuilder() for name in (*required, *optional)}
    with open_text(path, newline="\n") as file:
        rows = _json_rows(path, file, required, hint, lines)
        while block := list(islice(rows, ROWS_AT_ONCE)):
            for name, builder in values.items():
                cells = [tabular.cell_text(row.get(name)) for row in block]
                if None in cells:
                    at = cells.index(None)
                    problem = f"{name} is {json_kind(block[at][name])}, expected text, a number, true, false or null"
                    raise InputError(f"{path} line {lines[at - len(block)]}: {problem}")
                builder.add([cell for cell in cells if cell is not None])
            present.update(*block)
            others.add_rows(block)
    named = {name: column.texts() for name, column in values.items() if name in present}
    return tabular.Columns(path, np.asarray(lines), named, others=others.columns())


def read_parquet(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    hint: str = "",
    with_role: Collection[str] | None = None,
) -> tabular.Columns:
    """Read the named columns of a Parquet file, as `read_columns` does. Other columns are not decoded."""
    pyarrow = import_pyarrow(path)
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
            builders, num_rows = {name: TextBuilder() for name in positions}, 0
            for batch in file.iter_batches(BATCH_ROWS, columns=[*positions, *beside]):
                for name, builder in builders.items():
                    builder.add(*_cells(path, name, batch.column(name), num_rows))
                of_others = {name: _cells(path, name, batch.column(name), num_rows, text_of) for name in beside}
                others.add({name: Texts.coded(*cells) for name, cells in of_others.items()}, len(batch))
                num_rows += len(batch)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = reason_of(error)[:200]
        raise InputError(f"{path}: cannot be read as Parquet ({reason}); write it again") from None
    if not num_rows:
        raise InputError(f"{path}: has columns but no rows; expected one row per image")
    values = {name: builder.texts() for name, builder in builders.items()}
    return tabular.Columns(path, np.arange(1, num_rows + 1), values, unit="row", others=others.columns())


def _holds(kind: Any, tests: Iterable[str]) -> bool:
    """Return whether one of the ``tests`` of pyarrow is true for a type, or for that of its dictionary's values."""
    import pyarrow.types as types

    value_type = kind.value_type if types.is_dictionary(kind) else kind
    return any(getattr(types, test)(value_type) for test in tests)


def _cells(
    path: Path, name: str, cells: Any, num_before: int, text: Callable[[Any], str | None] = tabular.cell_text
) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the different cells of some rows of a column as text, and which of them each row has."""
    import pyarrow

    cells.validate()
    if not hasattr(cells, "dictionary"):
        cells = (cells.cast("float32") if str(cells.type) == "halffloat" else cells).dictionary_encode()
    codes, size = cells.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False), len(cells.dictionary)
    if not -1 <= codes.min(initial=-1) <= codes.max(initial=-1) < size:
        raise OSError(errno.EINVAL, f"an index of {name} is outside its dictionary")
    is_used = np.bincount(codes + 1, minlength=size + 1) > 0
    used = np.flatnonzero(is_used)  # of a dictionary that is that of a million rows
    values = cells.dictionary.take(pyarrow.array(used - 1, mask=used == 0)).to_pylist()
    texts, codes = [text(value) for value in values], (np.cumsum(is_used) - 1)[codes + 1]
    if None in texts:
        row = int(np.isin(codes, [at for at, cell in enumerate(texts) if cell is None]).argmax())
        problem = f"{name} is {values[codes[row]]!a:.80}, expected text or an integer"
        raise InputError(f"{path} row {num_before + row + 1}: {problem}")
    return texts, codes


READERS: dict[str, Callable[..., tabular.Columns]] = {
    ".csv": partial(read_columns, delimiters=SEPARATORS),
    ".tsv": partial(read_columns, delimiters="\t"),
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": read_parquet,
}


PATH = "path"


def rows_by_path(table: tabular.Columns, dataset: Dataset) -> tuple[NDArray[np.int64], tuple[Caution, ...]]:
    """Return the row of the table for each image, (N,), -1 for an image that it lacks; and a warning of other rows."""
    index, cells, folder = TextIndex(dataset.paths), table.texts(PATH), str(absolute("."))
    roots = [os.path.join(root, "") for root in (str(absolute(dataset.root)), os.path.realpath(dataset.root))]  # noqa: PTH118
    image_n = index.find(cells)
    for has_mark, root in product((False, True), ("", *roots)):
        others = np.flatnonzero(image_n < 0)
        texts = cells.take(others).map(unmarked if has_mark else str)
        image_n[others] = index.find(Texts.of(_spelled(text, root, folder) for text in texts))
    others = np.flatnonzero(image_n < 0)
    ignored = [
        row
        for row, cell in zip(others.tolist(), cells.take(others), strict=True)
        # Spreadsheets write rows of empty cells at the end.
        if cell.strip() or any(column[row].strip() for column in table.values.values())
    ]
    for row in [row for row in ignored if not cells[row]][:1]:
        raise InputError(f"{table.where(row)}: path is empty; name the image")
    rows, row_N = np.flatnonzero(image_n >= 0), np.full(len(dataset), -1)
    row_N[image_n[rows[::-1]]] = rows[::-1]  # of several rows, the first
    for row in rows[row_N[image_n[rows]] != rows][:1].tolist():
        other = f"{table.unit} {table.lines[row_N[image_n[row]]]}"
        raise InputError(f"{table.where(row)}: image {cells[row]!r} is in {other} already; keep one")
    if not ignored:
        return row_N, ()
    first = f"{cells[ignored[0]]!r} in {table.unit} {table.lines[ignored[0]]}"
    of_rows = {"path": str(table.path), "n": len(ignored), "of": len(table.lines), "first": first}
    return row_N, (caution("ignored rows", **of_rows),)


def _spelled(text: str, root: str, folder: str) -> str:
    """Return a normal path: as it is written, or relative to ``root``, where it starts at ``folder``."""
    if not root:
        return posixpath.normpath(text)
    return os.path.normpath(os.path.join(folder, text)).removeprefix(root)  # noqa: PTH118 (once an image)
