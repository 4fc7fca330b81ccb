"""Reading delimited text: files to columns, values to codes, each error with its line.

The readers of the data sets say which columns they need and what a value may be.
"""

import csv
import io
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError, nearest
from dbpt.files.disk import read_regular

MOST_ROWS = 10_000_000
MAX_BYTES = 1 << 32


def read_text(path: Path) -> str:
    """The text of a UTF-8 file (a byte order mark is dropped).

    Raises:
        InputError: missing, unreadable, no regular file or one of more than 4 GB, not UTF-8 (with the line), binary, a
            web page, or without content.
    """
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


def separated_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields) of every row that is not blank; a quoted field may span lines, the first one counts.

    Raises:
        InputError: a quote that is never closed, or another error of form.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path} line {line}: not well-formed ({error}); check its quotes") from None


def check_number(path: Path, num_rows: int) -> None:
    """Refuse more rows than `MOST_ROWS`: a compressed file of a few KB may claim any number."""
    if num_rows > MOST_ROWS:
        raise InputError(f"{path}: has {num_rows} rows, more than {MOST_ROWS}; split it")


@dataclass(frozen=True)
class Columns:
    """The wanted columns of one file, all of one length, and the line (or other ``unit``) of each row.

    ``names``: what rows are called that no file lists.
    """

    path: Path
    lines: Sequence[int]
    values: dict[str, list[str]]
    unit: str = "line"
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_number(self.path, len(self.lines))

    def where(self, row: int) -> str:
        """``"folder/file.csv line 17"``, or the row's name."""
        return self.names[row] if self.names else f"{self.path} {self.unit} {self.lines[row]}"

    def decode(self, column: str, code: Callable[[str], int | None], expected: Sequence[str]) -> NDArray[np.int64]:
        """(N,) int64 codes of a column; ``code`` is asked once per distinct value and answers None if invalid.

        Raises:
            InputError: the line and value of the first invalid one, and what was expected.
        """
        values = self.values[column]
        codes = {value: code(value.strip()) for value in set(values)}
        bad = {value for value, number in codes.items() if number is None}
        if bad:
            row = next(row for row, value in enumerate(values) if value in bad)
            raise InputError(
                f"{self.where(row)}: {column} is {values[row]!r}, expected {one_of(expected)}"
                f"{nearest(values[row].strip(), list(expected))}"
            )
        return np.fromiter(map(codes.__getitem__, values), np.int64, len(values))

    def image_paths(self, column: str, root: Path) -> tuple[str, ...]:
        """(N,) the paths in a column, as `relative_path` makes them; raises `InputError` as that does."""
        return tuple(
            path if _is_plain(path) else relative_path(path, root, self.where(row))
            for row, path in enumerate(self.values[column])
        )


def _is_plain(path: str) -> bool:
    """Whether `relative_path` would change nothing, as with nearly all paths of a list of millions."""
    return bool(path) and "//" not in path and "./" not in path and path[0] != "/" and path[-1] not in "./"


def read_columns(path: Path, required: Sequence[str], optional: Sequence[str] = (), delimiter: str = ",") -> Columns:
    """Read the named columns of a delimited file with a header; other columns are ignored.

    Raises:
        InputError: as ``read_text``; a required column missing, a column twice, a row of another length, no rows.
    """
    text = read_text(path)
    cells = _unquoted_cells(text, delimiter)
    if cells is not None:
        wanted = _positions(f"{path} line 1", [column[0] for column in cells], required, optional)
        values = {name: cells[position][1:] for name, position in wanted.items()}
        return Columns(path, range(2, len(cells[0]) + 1), values)
    rows = separated_rows(path, text, delimiter)
    header_line, header = next(rows)
    wanted = _positions(f"{path} line {header_line}", header, required, optional)
    lines: list[int] = []
    values = {name: [] for name in wanted}
    appends = [(position, values[name].append) for name, position in wanted.items()]
    for line, fields in rows:
        if len(fields) != len(header):
            raise InputError(
                f"{path} line {line}: has {len(fields)} fields where the header has {len(header)}; "
                "quote fields that contain the separator"
            )
        lines.append(line)
        for position, append in appends:
            append(fields[position])
    if not lines:
        raise InputError(f"{path}: has a header but no rows; expected one row per image")
    return Columns(path, lines, values)


def _unquoted_cells(text: str, delimiter: str) -> list[list[str]] | None:
    """All columns, header first, of a text that is as plain as most are: no quotes, no blank lines, rows of one length.

    None for any other text. It gives what `separated_rows` gives, several times as fast.
    """
    lines = text.removesuffix("\n").split("\n")
    separators = {line.count(delimiter) for line in lines}
    if '"' in text or "\r" in text or len(separators) > 1 or separators == {0} or len(lines) == 1:
        return None
    if max(map(len, lines)) > csv.field_size_limit():
        return None
    cells = delimiter.join(lines).split(delimiter)
    (width,) = (number + 1 for number in separators)
    return [cells[position::width] for position in range(width)]


def _positions(where: str, header: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """The index of each wanted column that is there. Raises `InputError` as `column_position`."""
    header = [name.strip() for name in header]
    wanted = [*required, *(name for name in optional if name in header)]
    return {name: column_position(where, header, name) for name in wanted}


def column_position(where: str, header: Sequence[str], name: str) -> int:
    """The index of a column that must be there once.

    Raises:
        InputError: it is missing, with the nearest name, or there twice.
    """
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise InputError(f"{where}: column {name!r} occurs {header.count(name)} times; keep one")
    close = nearest(name, list(header))
    raise InputError(f"{where}: no column {name!r}; columns found: {shortened(header)}{close}")


def relative_path(text: str, root: Path, where: str) -> str:
    """The path of an image relative to ``root``, normalised.

    Raises:
        InputError: an empty path, or one that leaves the root (absolute elsewhere, or by ``..``).
    """
    path = text
    if posixpath.isabs(path):
        below = _below(Path(posixpath.normpath(path)), root)
        if below is None:
            raise InputError(f"{where}: path {text!r} is outside the root {root}; make it relative to the root")
        path = below.as_posix()
    path = posixpath.normpath(path) if path else "."
    if path == ".":
        raise InputError(f"{where}: path {text!r} names no file; expected an image, relative to {root}")
    if path == ".." or path.startswith("../"):
        raise InputError(f"{where}: path {text!r} leaves the root {root}; choose a root that holds all images")
    return path


def _below(absolute: Path, root: Path) -> Path | None:
    """``absolute`` relative to ``root``, either of which may be given through links; None if it is outside."""
    if absolute.is_relative_to(root):
        return absolute.relative_to(root)
    try:
        resolved = root.resolve()
        if not absolute.is_relative_to(resolved):
            absolute = absolute.parent.resolve() / absolute.name
    except (OSError, RuntimeError):  # a loop of links, a name that is too long
        return None
    return absolute.relative_to(resolved) if absolute.is_relative_to(resolved) else None


def one_of(names: Sequence[str]) -> str:
    """``"'a'"`` or ``"one of 'a', 'b', 'c'"``, shortened."""
    return repr(names[0]) if len(names) == 1 else f"one of {shortened(names)}"


def shortened(names: Iterable[str], limit: int = 12) -> str:
    """Quoted names in one line; after ``limit`` of them, only how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more
