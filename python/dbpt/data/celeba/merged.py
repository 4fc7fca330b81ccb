"""CelebA in one table: images, partition and attributes merged, as the code for group robustness ships it.

Either some of the forty attributes are columns (1 and -1, or 1 and 0), or the usual task alone is, as ``y`` and
``place`` (group_DRO, DFR) or ``a`` (SubpopBench).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.celeba.rows import CelebaRows
from dbpt.data.celeba.words import SPURIOUS, TARGET
from dbpt.data.folders import first_of
from dbpt.data.rows import Columns, read_columns, shortened
from dbpt.errors import InputError

MERGED = ("metadata.csv", "metadata_celeba.csv", "celeba_metadata.csv", "img_align_celeba/metadata.csv")
IMAGE, SPLIT, ATTRIBUTE = ("img_filename", "image_id", "filename"), ("split", "partition"), ("place", "a")
IMAGE_NAME = re.compile(r"[0-9]{6}\.(jpg|png)")
CODES = {"1": 1, "1.0": 1, "-1": 0, "-1.0": 0, "0": 0, "0.0": 0}


def read_merged(root: Path, target: str, attributes: Sequence[str]) -> CelebaRows:
    """Read the first of the `MERGED` files that is there."""
    path = first_of(root, MERGED)
    assert path is not None
    is_usual = (target, tuple(attributes)) == (TARGET, SPURIOUS)
    usual = ((TARGET, "y"), (*SPURIOUS, *ATTRIBUTE))
    roles = usual if is_usual else ((target,), *((name,) for name in attributes))
    columns = read_columns(path, (), (*IMAGE, *SPLIT, *(name for names in roles for name in names)))
    for names in roles:
        if not is_usual and names[0] not in columns.values:
            raise InputError(
                f"{path}: has no column {names[0]!r}; for another task than {TARGET} against {', '.join(SPURIOUS)} "
                "give the attributes as columns, or list_attr_celeba.txt"
            )
    labels, *spurious = (_agreed(columns, names, CODES, ["1", "-1"]) for names in roles)
    return CelebaRows(
        path=path,
        lines=columns.lines,
        names=[
            _image_name(name, columns.where(row)) for row, name in enumerate(columns.values[_first(columns, IMAGE)])
        ],
        labels=labels,
        attributes=spurious,
        splits=_agreed(columns, SPLIT, {"0": 0, "1": 1, "2": 2}, ["0", "1", "2"]),
    )


def _first(columns: Columns, names: Sequence[str]) -> str:
    for name in names:
        if name in columns.values:
            return name
    raise InputError(f"{columns.path}: has none of the columns {shortened(names)}; a merged table of CelebA needs one")


def _agreed(
    columns: Columns, names: Sequence[str], codes: Mapping[str, int], expected: Sequence[str]
) -> NDArray[np.int64]:
    """The codes of the column that goes by one of ``names``. Raises `InputError` if two are there and differ."""
    first = _first(columns, names)
    found = columns.decode(first, codes.get, expected)
    for name in names:
        if name != first and name in columns.values:
            differing = np.flatnonzero(found != columns.decode(name, codes.get, expected))
            if differing.size:
                row = int(differing[0])
                raise InputError(
                    f"{columns.where(row)}: {first} is {columns.values[first][row]!r} but {name} is "
                    f"{columns.values[name][row]!r}, and both say the same of CelebA; drop the column that is wrong"
                )
    return found


def _image_name(text: str, where: str) -> str:
    """The name in the image folder. Waterbirds' table looks the same, but for what its images are called."""
    name = text.strip().replace("\\", "/").rpartition("img_align_celeba/")[2]
    if not IMAGE_NAME.fullmatch(name):
        raise InputError(f"{where}: {text!r} is not called as CelebA's images are, 000001.jpg; is this table CelebA's?")
    return name
