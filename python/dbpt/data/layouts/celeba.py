"""CelebA: its tables of attributes, splits and files."""

import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from dbpt.data.columns import Columns, DataRequest, positions_of, shortened
from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.layouts import DatasetReader
from dbpt.data.paths import NOT_PUBLISHED, find_root, first_of, relative_path
from dbpt.data.tables import read_columns, read_text, separated_rows
from dbpt.data.text_array import Texts
from dbpt.data.words import COMMA_HINT, Factor, Vocabulary, Words
from dbpt.errors import InputError, nearest

# For the default task, with the sentences of its published code.
WORDS = Words(
    classes={"dark hair": ("dark hair",), "blond hair": ("blond hair",)},
    attributes={"female": ("female celebrity",), "male": ("male celebrity",)},
    templates=("A photo of a celebrity with {}.",),
    attribute_templates=("A photo of a {}.",),
    group_templates=("A photo of a {attribute} with {class}.",),
)
# For each attribute, a clause for an image without it and one for an image with it, in the official order; celeba.csv.
with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as table:
    CLAUSES = {name: (absent, present) for name, absent, present in csv.reader(table)}

# Including the names in WILDS and group_DRO.
FOLDERS = ("celeba", "CelebA", "celebA", "celeba-dataset", "celebA_v1.0", "celebA/data", "data")
# The Kaggle archive repeats the folder's name inside the folder.
IMAGES = ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba")
PUBLISHED: GroupCounts = ((71629, 66874, 22880, 1387), (8535, 8276, 2874, 182), (9767, 7535, 2480, 180))
MAX_ATTRIBUTES = 5


class CelebA(DatasetReader):
    """The reader of CelebA."""

    words = WORDS
    holds = "list_attr_celeba.txt and img_align_celeba/"
    settings = ("celeba_target", "celeba_attributes")

    @staticmethod
    def read(root: Path, request: DataRequest) -> Dataset:
        """Read the attribute list and the partition list, or one merged table, and find the image folder.

        The 2^k combinations of k spurious attributes are numbered as binary numbers whose first digit is the first one.
        """
        target = TARGET if request.celeba_target is None else request.celeba_target
        attributes = SPURIOUS if request.celeba_attributes is None else request.celeba_attributes
        _check_task(target, attributes)
        root = find_root(root, FOLDERS, (*ATTRIBUTES, *MERGED), "CelebA")
        is_usual = (target, attributes) == (TARGET, SPURIOUS)
        notes: list[str] = []
        wanted = target, *attributes
        if source := first_of(root, ATTRIBUTES):
            rows = _with_partition(_read_attributes(source, wanted, notes), root, notes)
        else:
            rows = _read_merged(root, wanted, is_usual)
        if images := first_of(root, IMAGES):
            folder = images.relative_to(root).as_posix()
        elif root.name == "img_align_celeba" and rows.path.parent == root:  # a merged table among the images
            folder = "."
        else:
            raise InputError(f"{root}: none of {', '.join(IMAGES)} is here; CelebA needs one of them")
        labels, *spurious = (rows.decode(name, PRESENT.get, VALUES) for name in wanted)
        splits = rows.decode_numbers(SPLIT, 3)
        sizes, published = np.bincount(splits, minlength=3).tolist(), [sum(counts) for counts in PUBLISHED]
        if not is_usual and sizes != published and not first_of(root, (NOT_PUBLISHED,)):  # here are no published groups
            shown = ["/".join(map(str, numbers)) for numbers in (sizes, published)]
            notes.append(f"train/val/test have {shown[0]} images (published {shown[1]})")
        paths = (f"{folder}/{name}" for name in rows.values[IMAGE])
        return Dataset(
            "celeba",
            root,
            rows.path,
            Texts.of(relative_path(path, root, rows.where(row)) for row, path in enumerate(paths)),
            lines=np.asarray(rows.lines, dtype=np.int64),
            labels=labels,
            attributes=reduce(lambda combination, present: 2 * combination + present, spurious),
            splits=splits,
            words=celeba_words(target, attributes),
            notes=tuple(notes),
            published=PUBLISHED if is_usual else None,
        )


def _check_task(target: str, attributes: Sequence[str]) -> None:
    for setting, name in (("target", target), *(("attributes", name) for name in attributes)):
        if name not in CLAUSES:
            hint = nearest(name, list(CLAUSES)) or "; use the names in list_attr_celeba.txt, for example Smiling"
            hint = COMMA_HINT if "," in name else hint
            raise InputError(f"--celeba-{setting}: {name!r} is none of CelebA's {len(CLAUSES)} attributes{hint}")
    flag, number = "--celeba-attributes", len(attributes)
    if not 1 <= number <= MAX_ATTRIBUTES:
        raise InputError(f"{flag}: found {number}; expected 1 to {MAX_ATTRIBUTES}, whose combinations make the groups")
    for name in attributes:
        if name == target or attributes.count(name) > 1:
            role = "the target" if name == target else "an attribute"
            raise InputError(f"{flag}: {name!r} is given twice (also as {role}); use each attribute once")


def celeba_words(target: str, attributes: Sequence[str]) -> Words:
    """Return words for two classes (attribute absent and present), and for one attribute, or a factor for each."""
    usual = target == TARGET
    vocabularies = [WORDS.attributes if (name,) == SPURIOUS else _vocabulary(name) for name in attributes]
    factors = [Factor(name, values, tuple(values), {}) for name, values in zip(attributes, vocabularies, strict=True)]
    return Words(
        classes=WORDS.classes if usual else _vocabulary(target),
        attributes=vocabularies[0],
        templates=WORDS.templates if usual else ("A photo of a {}.",),
        attribute_templates=WORDS.attribute_templates,
        factors=tuple(factors) if len(factors) > 1 else (),
        group_templates=WORDS.group_templates if usual and tuple(attributes) == SPURIOUS else (),
    )


def _vocabulary(attribute: str) -> Vocabulary:
    """Return names and wordings of an attribute, absent and present: "who is young" is called "young"."""
    return {re.sub("^(who is|with|in) ", "", clause): (f"celebrity {clause}",) for clause in CLAUSES[attribute]}


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


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields), separated by commas if one of the first two rows has a comma, else by white space."""
    text = read_text(path)
    if any("," in line for line in text.lstrip().split("\n", 2)[:2]):
        lines = array("q")
        for fields in separated_rows(path, io.StringIO(text, newline=""), ",", lines):
            yield lines[-1], [field.strip() for field in fields]
        return
    yield from ((number, line.split()) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _read_attributes(path: Path, wanted: Sequence[str], notes: list[str]) -> Columns:
    """Return the columns `IMAGE` and ``wanted``."""
    rows = _rows(path)
    line, header = next(rows)
    claimed = int(header[0]) if len(header) == 1 and header[0].isdecimal() and len(header[0]) < 19 else None
    if claimed is not None:
        line, header = next(rows, (line, []))
    positions = positions_of(f"{path} line {line}", header, wanted, ())
    width, before = len(header), 0
    lines: list[int] = []
    values: dict[str, list[str]] = {name: [] for name in (IMAGE, *wanted)}
    for line, fields in rows:
        # The header of the official list names only the 40 attributes, that of the CSVs also the image column.
        if not lines and len(fields) == width + 1:
            before = 1
        if len(fields) != width + before:
            problem = f"has {len(fields)} fields, expected {width + before}"
            raise InputError(f"{path} line {line}: {problem}; is the file cut off?")
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
    return Columns(rows.path, rows.lines, {**rows.values, SPLIT: [partition[name] for name in names]})


def _read_merged(root: Path, wanted: Sequence[str], is_usual: bool) -> Columns:
    """Return the columns `IMAGE`, `SPLIT` and ``wanted`` of the first of the `MERGED` files that exists."""
    path = first_of(root, MERGED)
    assert path is not None
    names = {IMAGE: NAMES[IMAGE], SPLIT: NAMES[SPLIT]}
    names |= {name: NAMES[name] if is_usual else (name,) for name in wanted}
    table = read_columns(path, (), tuple(name for group in names.values() for name in group))
    values, images = dict[str, Sequence[str]](), list[str]()
    for row, text in enumerate(table.values[_present(table, NAMES[IMAGE])]):
        name = text.strip().replace("\\", "/").rpartition("img_align_celeba/")[2]
        if not IMAGE_NAME.fullmatch(name):  # only image names distinguish the table from that of Waterbirds
            expected = "is not the name of a CelebA image, such as 000001.jpg; is this the table of CelebA?"
            raise InputError(f"{table.where(row)}: {text!r} {expected}")
        images.append(name)
    values[IMAGE] = images
    for name, codes, valid in ((SPLIT, PARTS, list(PARTS)), *((name, PRESENT, VALUES) for name in wanted)):
        own_name = _present(table, names[name])
        table.decode(own_name, codes.get, valid)  # refuses other values under the name that the table has
        values[name] = table.values[own_name]
    return Columns(path, table.lines, values)


def _present(columns: Columns, names: Sequence[str]) -> str:
    """Return the first of ``names`` that is a column."""
    for name in names:
        if name in columns.values:
            return name
    problem = f"has none of the columns {shortened(names)}"
    raise InputError(f"{columns.path}: {problem}; a merged table of CelebA needs one, or give list_attr_celeba.txt")
