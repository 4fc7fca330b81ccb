"""The tables of CelebA: images, splits and attributes as text.

Two forms are in circulation: an attribute list and a partition list, as text or CSV; and one merged table, which comes
with code for group robustness. The columns of that table are some of the forty attributes (1 and -1, or 1 and 0), or
only the usual task, as ``y`` and ``place`` (group_DRO, DFR) or ``a`` (SubpopBench).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dbpt.data.columns import Columns, column_position, shortened
from dbpt.data.paths import first_of
from dbpt.data.table_formats import read_columns, read_text, separated_rows
from dbpt.errors import InputError

TARGET, SPURIOUS = "Blond_Hair", ("Male",)
ATTRIBUTES = tuple(f"{folder}list_attr_celeba.{ending}" for folder in ("", "Anno/") for ending in ("txt", "csv"))
PARTITIONS = tuple(f"{folder}list_eval_partition.{ending}" for folder in ("", "Eval/") for ending in ("txt", "csv"))
MERGED = ("metadata.csv", "metadata_celeba.csv", "celeba_metadata.csv", "img_align_celeba/metadata.csv")
PRESENT = {"1": 1, "1.0": 1, "-1": 0, "-1.0": 0, "0": 0, "0.0": 0}
PARTS = {"0": 0, "1": 1, "2": 2}
VALUES = ["1", "-1"]
IMAGE, SPLIT = "image", "split"
NAMES = {  # the possible columns of a merged table
    IMAGE: ("img_filename", "image_id", "filename"),
    SPLIT: ("split", "partition"),
    TARGET: (TARGET, "y"),
    SPURIOUS[0]: (SPURIOUS[0], "place", "a"),
}
IMAGE_NAME = re.compile(r"[0-9]{6}\.(jpg|png)")


def celeba_columns(root: Path, wanted: Sequence[str], is_usual: bool, notes: list[str]) -> Columns:
    """Return the columns `IMAGE`, `SPLIT` and ``wanted`` of the lists in ``root`` or else of the merged table."""
    if source := first_of(root, ATTRIBUTES):
        return _with_partition(_read_attributes(source, wanted, notes), root, notes)
    return _read_merged(root, wanted, is_usual)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields), separated by commas if one of the first two rows has a comma, else by white space."""
    text = read_text(path)
    if any("," in line for line in text.lstrip().split("\n", 2)[:2]):
        yield from ((line, [field.strip() for field in fields]) for line, fields in separated_rows(path, text, ","))
        return
    yield from ((number, line.split()) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _read_attributes(path: Path, wanted: Sequence[str], notes: list[str]) -> Columns:
    """Return the columns `IMAGE` and ``wanted``."""
    rows = _rows(path)
    line, header = next(rows)
    claimed = int(header[0]) if len(header) == 1 and header[0].isdecimal() and len(header[0]) < 19 else None
    if claimed is not None:
        line, header = next(rows, (line, []))
    positions = {name: column_position(f"{path} line {line}", header, name) for name in wanted}
    width, before = len(header), 0
    lines: list[int] = []
    values: dict[str, list[str]] = {name: [] for name in (IMAGE, *wanted)}
    for line, fields in rows:
        # The header of the official list names only the 40 attributes, that of the CSVs also the image column.
        if not lines and len(fields) == width + 1:
            before = 1
        if len(fields) != width + before:
            found = f"has {len(fields)} fields, expected {width + before}"
            raise InputError(f"{path} line {line}: {found}; is the file cut off?")
        lines.append(line)
        values[IMAGE].append(fields[0])
        for name, position in positions.items():
            values[name].append(fields[position + before])
    if not lines:
        raise InputError(f"{path}: has a header but no rows; expected one row per image")
    if claimed is not None and claimed != len(lines):
        notes.append(f"line 1 of {path.name} says {claimed} images, the file has {len(lines)} rows")
    return Columns(path, lines, values)


def _with_partition(rows: Columns, root: Path, notes: list[str]) -> Columns:
    """Return the rows with an additional column `SPLIT` from the partition list in ``root``."""
    path = first_of(root, PARTITIONS)
    if path is None:
        raise InputError(f"{root}: none of {', '.join(PARTITIONS)} is here; CelebA needs one of them")
    partition: dict[str, str] = {}
    for number, (line, fields) in enumerate(_rows(path)):
        if number == 0 and fields[1:] == ["partition"]:
            continue
        if len(fields) != 2 or fields[1] not in PARTS:
            raise InputError(f"{path} line {line}: found {' '.join(fields)!r}, expected an image name and 0, 1 or 2")
        if fields[0] in partition:
            raise InputError(f"{path} line {line}: image {fields[0]!r} occurs twice; keep one row")
        partition[fields[0]] = fields[1]
    names = rows.values[IMAGE]
    for row, name in enumerate(names):
        if name not in partition:
            raise InputError(f"{rows.where(row)}: image {name!r} has no row in {path}; use lists that match")
    if unused := len(partition.keys() - set(names)):
        notes.append(f"{unused} images of {path.name} have no row in {rows.path.name} and are left out")
    return Columns(rows.path, rows.lines, rows.values | {SPLIT: [partition[name] for name in names]})


def _read_merged(root: Path, wanted: Sequence[str], is_usual: bool) -> Columns:
    """Return the columns `IMAGE`, `SPLIT` and ``wanted`` of the first of the `MERGED` files that exists."""
    path = first_of(root, MERGED)
    assert path is not None
    names = {IMAGE: NAMES[IMAGE], SPLIT: NAMES[SPLIT]}
    names |= {name: NAMES[name] if is_usual else (name,) for name in wanted}
    found = read_columns(path, (), tuple(name for group in names.values() for name in group))
    for name in wanted:
        if not is_usual and name not in found.values:
            task = f"another task than {TARGET} against {', '.join(SPURIOUS)}"
            way_out = "give the attributes as columns, or list_attr_celeba.txt"
            raise InputError(f"{path}: has no column {name!r}; for {task} {way_out}")
    values: dict[str, list[str]] = {IMAGE: []}
    for row, text in enumerate(found.values[_present(found, NAMES[IMAGE])[0]]):
        name = text.strip().replace("\\", "/").rpartition("img_align_celeba/")[2]
        if not IMAGE_NAME.fullmatch(name):  # only image names distinguish the table from that of Waterbirds
            expected = "is not the name of a CelebA image, such as 000001.jpg; is this the table of CelebA?"
            raise InputError(f"{found.where(row)}: {text!r} {expected}")
        values[IMAGE].append(name)
    values[SPLIT] = _agreed(found, names[SPLIT], PARTS, list(PARTS))
    values |= {name: _agreed(found, names[name], PRESENT, VALUES) for name in wanted}
    return Columns(path, found.lines, values)


def _present(columns: Columns, names: Sequence[str]) -> list[str]:
    if not (present := [name for name in names if name in columns.values]):
        found = f"has none of the columns {shortened(names)}"
        raise InputError(f"{columns.path}: {found}; a merged table of CelebA needs one")
    return present


def _agreed(columns: Columns, names: Sequence[str], codes: Mapping[str, int], valid: Sequence[str]) -> list[str]:
    """Return the column with one of ``names``. Raises `InputError` if several exist and differ."""
    first, *others = _present(columns, names)
    expected = columns.decode(first, codes.get, valid)
    for name in others:
        differing = np.flatnonzero(columns.decode(name, codes.get, valid) != expected)
        if differing.size:
            row = int(differing[0])
            raise InputError(
                f"{columns.where(row)}: {first} is {columns.values[first][row]!r} but {name} is "
                f"{columns.values[name][row]!r}, but both are the same attribute of CelebA; drop the wrong column"
            )
    return columns.values[first]
