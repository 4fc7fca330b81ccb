"""CelebA (Liu et al., 2015): hair colour against gender, from the attribute and partition lists.

y: Blond_Hair (0 dark, 1 blond); a: Male (0 female, 1 male). Reads the official text and the CSV dialects.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dbpt.data.checks import GroupCounts
from dbpt.data.dataset import Dataset
from dbpt.data.roots import find_root
from dbpt.data.rows import read_text, relative_path, separated_rows, shortened
from dbpt.errors import InputError, nearest
from dbpt.words import Words

FOLDERS = ("celeba", "CelebA", "celebA", "celeba-dataset")
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv", "Anno/list_attr_celeba.txt", "Anno/list_attr_celeba.csv")
PARTITIONS = (
    "list_eval_partition.txt",
    "list_eval_partition.csv",
    "Eval/list_eval_partition.txt",
    "Eval/list_eval_partition.csv",
)
# The Kaggle archive holds the images in a folder of the same name inside the folder.
IMAGES = ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba")
TARGET, SPURIOUS = "Blond_Hair", "Male"
WORDS = Words(
    classes={"dark hair": ("dark hair",), "blond hair": ("blond hair",)},
    attributes={"female": ("female celebrity",), "male": ("male celebrity",)},
    templates=("A photo of a celebrity with {}.",),
    attribute_templates=("A photo of a {}.",),
)
PUBLISHED: GroupCounts = ((71629, 66874, 22880, 1387), (8535, 8276, 2874, 182), (9767, 7535, 2480, 180))


def read_celeba(root: Path, words: Words = WORDS) -> Dataset:
    """Read the attribute list (order of rows), the partition list, and find the image folder.

    Args:
        root: the folder that holds the lists and ``img_align_celeba/``, or its parent.
        words: names by index, two classes and two attributes.

    Raises:
        InputError: a list or the image folder is missing, a row is malformed, or an image has no partition.
    """
    root = find_root(root, FOLDERS, ATTRIBUTES, "CelebA")
    source = _first_of(root, ATTRIBUTES)
    lines, names, labels, attributes, notes = _read_attributes(source)
    partition_file = _first_of(root, PARTITIONS)
    partition = _read_partition(partition_file)
    for line, name in zip(lines, names, strict=True):
        if name not in partition:
            raise InputError(
                f"{source} line {line}: image {name!r} has no row in {partition_file}; use lists that match"
            )
    unused = len(partition.keys() - set(names))
    if unused:
        notes.append(f"{unused} images of {partition_file.name} have no row in {source.name} and are left out")
    folder = _first_of(root, IMAGES).relative_to(root).as_posix()
    return Dataset(
        name="celeba",
        root=root,
        source=source,
        paths=tuple(
            relative_path(f"{folder}/{name}", root, f"{source} line {line}")
            for line, name in zip(lines, names, strict=True)
        ),
        lines=np.array(lines, dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        attributes=np.array(attributes, dtype=np.int64),
        splits=np.array([partition[name] for name in names], dtype=np.int64),
        words=words,
        notes=tuple(notes),
    )


def _first_of(root: Path, candidates: Sequence[str]) -> Path:
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise InputError(f"{root}: none of {', '.join(candidates)} is here; CelebA needs one of them")


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


def _read_attributes(path: Path) -> tuple[list[int], list[str], list[int], list[int], list[str]]:
    """Lines, image names, labels, attributes, and notes."""
    rows = _rows(path)
    line, header = next(rows)
    claimed = int(header[0]) if len(header) == 1 and header[0].isdecimal() and len(header[0]) < 19 else None
    if claimed is not None:
        line, header = next(rows, (line, []))
    header = [name.strip() for name in header]
    target, spurious = (_attribute_column(path, line, header, name) for name in (TARGET, SPURIOUS))
    codes = {"1": 1, "-1": 0, "0": 0}
    lines: list[int] = []
    names: list[str] = []
    labels: list[int] = []
    attributes: list[int] = []
    for line, fields in rows:
        # The official list names the 40 attributes only; the CSVs name the image's column too.
        if not lines and len(fields) == len(header) + 1:
            header, target, spurious = ["image_id", *header], target + 1, spurious + 1
        if len(fields) != len(header):
            raise InputError(
                f"{path} line {line}: has {len(fields)} fields, expected {len(header)}; is the file cut off?"
            )
        for column in (target, spurious):
            if fields[column].strip() not in codes:
                raise InputError(f"{path} line {line}: {header[column]} is {fields[column]!r}, expected 1 or -1")
        lines.append(line)
        names.append(fields[0].strip())
        labels.append(codes[fields[target].strip()])
        attributes.append(codes[fields[spurious].strip()])
    if not lines:
        raise InputError(f"{path}: has a header but no rows; expected one row per image")
    disagrees = claimed is not None and claimed != len(lines)
    notes = [f"line 1 of {path.name} says {claimed} images, the file has {len(lines)} rows"] if disagrees else []
    return lines, names, labels, attributes, notes


def _attribute_column(path: Path, line: int, header: list[str], name: str) -> int:
    if name not in header:
        close = nearest(name, header)
        raise InputError(f"{path} line {line}: no attribute {name!r}; found: {shortened(header, 5)}{close}")
    return header.index(name)


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
