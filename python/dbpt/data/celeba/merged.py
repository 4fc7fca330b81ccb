"""CelebA in one table: images, partition and attributes merged, as the code for group robustness ships it.

Either some of the forty attributes are columns (1 and -1, or 1 and 0), or the usual task alone is, as ``y`` and
``place`` (group_DRO, DFR) or ``a`` (SubpopBench).
"""

import re
from collections.abc import Sequence
from pathlib import Path

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
    columns = read_columns(path, (), (*IMAGE, *SPLIT, *ATTRIBUTE, "y", target, *attributes))
    found = columns.values
    image, split = _one_of(columns, IMAGE), _one_of(columns, SPLIT)
    missing = [name for name in (target, *attributes) if name not in found]
    if missing and (target, tuple(attributes)) == (TARGET, SPURIOUS) and "y" in found:
        target, attributes = "y", (_one_of(columns, ATTRIBUTE),)
    elif missing:
        raise InputError(
            f"{path}: has no column {missing[0]!r}; of any other task than {TARGET} against {', '.join(SPURIOUS)} the "
            "attributes must be columns, or list_attr_celeba.txt there"
        )
    return CelebaRows(
        path=path,
        lines=columns.lines,
        names=[_image_name(name, columns.where(row)) for row, name in enumerate(found[image])],
        labels=columns.decode(target, CODES.get, ["1", "-1"]),
        attributes=[columns.decode(name, CODES.get, ["1", "-1"]) for name in attributes],
        splits=columns.decode(split, {"0": 0, "1": 1, "2": 2}.get, ["0", "1", "2"]),
    )


def _one_of(columns: Columns, names: Sequence[str]) -> str:
    for name in names:
        if name in columns.values:
            return name
    raise InputError(f"{columns.path}: has none of the columns {shortened(names)}; a merged table of CelebA needs one")


def _image_name(text: str, where: str) -> str:
    """The name in the image folder. Waterbirds' table looks the same, but for what its images are called."""
    name = text.strip().replace("\\", "/").rpartition("img_align_celeba/")[2]
    if not IMAGE_NAME.fullmatch(name):
        raise InputError(f"{where}: {text!r} is not called as CelebA's images are, 000001.jpg; is this table CelebA's?")
    return name
