"""CelebA's attribute and partition lists, in the official text form and in the CSV dialects in circulation."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dbpt.data.celeba.rows import CelebaRows
from dbpt.data.folders import first_of
from dbpt.data.rows import column_position, read_text, separated_rows
from dbpt.errors import InputError

ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv", "Anno/list_attr_celeba.txt", "Anno/list_attr_celeba.csv")
PARTITIONS = (
    "list_eval_partition.txt",
    "list_eval_partition.csv",
    "Eval/list_eval_partition.txt",
    "Eval/list_eval_partition.csv",
)
CODES = {"1": 1, "-1": 0, "0": 0}


def read_lists(source: Path, root: Path, target: str, attributes: Sequence[str]) -> CelebaRows:
    """Read the attribute list ``source``, whose order is that of the rows, and the partition list in ``root``.

    Raises:
        InputError: the partition list is missing, a row is malformed, or an image has no partition.
    """
    lines, names, values, notes = _read_attributes(source, (target, *attributes))
    partition_file = first_of(root, PARTITIONS)
    if partition_file is None:
        raise InputError(f"{root}: none of {', '.join(PARTITIONS)} is here; CelebA needs one of them")
    partition = _read_partition(partition_file)
    for line, name in zip(lines, names, strict=True):
        if name not in partition:
            raise InputError(
                f"{source} line {line}: image {name!r} has no row in {partition_file}; use lists that match"
            )
    unused = len(partition.keys() - set(names))
    if unused:
        notes.append(f"{unused} images of {partition_file.name} have no row in {source.name} and are left out")
    labels, *spurious = (np.array(column, dtype=np.int64) for column in values)
    splits = np.array([partition[name] for name in names], dtype=np.int64)
    return CelebaRows(source, lines, names, labels, spurious, splits, tuple(notes))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields); commas separate if the first row or the one after it has one, else white space."""
    text = read_text(path)
    if any("," in line for line in text.lstrip().split("\n", 2)[:2]):
        yield from separated_rows(path, text, ",")
        return
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if fields:
            yield number, fields


def _read_attributes(path: Path, wanted: Sequence[str]) -> tuple[list[int], list[str], list[list[int]], list[str]]:
    """Lines, image names, a column of codes for each wanted attribute, and notes."""
    rows = _rows(path)
    line, header = next(rows)
    claimed = int(header[0]) if len(header) == 1 and header[0].isdecimal() and len(header[0]) < 19 else None
    if claimed is not None:
        line, header = next(rows, (line, []))
    header = [name.strip() for name in header]
    columns = [column_position(f"{path} line {line}", header, name) for name in wanted]
    lines: list[int] = []
    names: list[str] = []
    values: list[list[int]] = [[] for _ in wanted]
    for line, fields in rows:
        # The official list names the 40 attributes only; the CSVs name the image's column too.
        if not lines and len(fields) == len(header) + 1:
            header, columns = ["image_id", *header], [column + 1 for column in columns]
        if len(fields) != len(header):
            raise InputError(
                f"{path} line {line}: has {len(fields)} fields, expected {len(header)}; is the file cut off?"
            )
        lines.append(line)
        names.append(fields[0].strip())
        for column, codes in zip(columns, values, strict=True):
            code = CODES.get(fields[column].strip())
            if code is None:
                raise InputError(f"{path} line {line}: {header[column]} is {fields[column]!r}, expected 1 or -1")
            codes.append(code)
    if not lines:
        raise InputError(f"{path}: has a header but no rows; expected one row per image")
    disagrees = claimed is not None and claimed != len(lines)
    notes = [f"line 1 of {path.name} says {claimed} images, the file has {len(lines)} rows"] if disagrees else []
    return lines, names, values, notes


def _read_partition(path: Path) -> dict[str, int]:
    codes = {"0": 0, "1": 1, "2": 2}
    partition: dict[str, int] = {}
    for number, (line, fields) in enumerate(_rows(path)):
        if number == 0 and [field.strip() for field in fields[1:]] == ["partition"]:
            continue
        if len(fields) != 2 or fields[1].strip() not in codes:
            raise InputError(f"{path} line {line}: found {' '.join(fields)!r}, expected an image name and 0, 1 or 2")
        name = fields[0].strip()
        if name in partition:
            raise InputError(f"{path} line {line}: image {name!r} occurs twice; keep one row")
        partition[name] = codes[fields[1].strip()]
    return partition
