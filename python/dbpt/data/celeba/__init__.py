"""CelebA (Liu et al., 2015): one of its forty attributes as the class, others as the spurious attribute.

By default y: Blond_Hair (0 dark, 1 blond); a: Male (0 female, 1 male), the task that the literature reports.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.celeba.lists import ATTRIBUTES, read_lists
from dbpt.data.celeba.merged import MERGED, read_merged
from dbpt.data.celeba.words import CLAUSES, SPURIOUS, TARGET, WORDS, celeba_words
from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.folders import find_root, first_of
from dbpt.data.rows import relative_path
from dbpt.errors import InputError, nearest

__all__ = ["PUBLISHED", "SPURIOUS", "TARGET", "WORDS", "read_celeba"]

# Also as WILDS and group_DRO name it.
FOLDERS = ("celeba", "CelebA", "celebA", "celeba-dataset", "celebA_v1.0", "celebA/data", "data")
# The Kaggle archive holds the images in a folder of the same name inside the folder.
IMAGES = ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba")
PUBLISHED: GroupCounts = ((71629, 66874, 22880, 1387), (8535, 8276, 2874, 182), (9767, 7535, 2480, 180))
MAX_ATTRIBUTES = 5


def read_celeba(root: Path, target: str = TARGET, attributes: Sequence[str] = SPURIOUS) -> Dataset:
    """Read the attribute and the partition list, or one table that merges them, and find the image folder.

    Args:
        root: the folder that holds the lists and ``img_align_celeba/``, or its parent.
        target: the attribute that is the class: 0 where it is absent, 1 where it is present.
        attributes: the spurious ones, k of them. Their 2^k combinations are numbered as binary numbers whose first
            digit is the first attribute.

    Raises:
        InputError: an unknown attribute, a list or the image folder missing, a malformed row, an image without a
            partition.
    """
    _check_task(target, attributes)
    root = find_root(root, FOLDERS, (*ATTRIBUTES, *MERGED), "CelebA")
    lists = first_of(root, ATTRIBUTES)
    rows = read_lists(lists, root, target, attributes) if lists else read_merged(root, target, attributes)
    folder = _image_folder(root, rows.path)
    is_usual = (target, tuple(attributes)) == (TARGET, SPURIOUS)
    combination = np.zeros(len(rows.names), dtype=np.int64)
    for present in rows.attributes:
        combination = 2 * combination + present
    return Dataset(
        name="celeba",
        root=root,
        source=rows.path,
        paths=tuple(
            relative_path(f"{folder}/{name}", root, f"{rows.path} line {line}")
            for line, name in zip(rows.lines, rows.names, strict=True)
        ),
        lines=np.array(rows.lines, dtype=np.int64),
        labels=rows.labels,
        attributes=combination,
        splits=rows.splits,
        words=celeba_words(target, attributes),
        notes=rows.notes if is_usual else (*rows.notes, *_size_note(rows.splits)),
        published=PUBLISHED if is_usual else None,
    )


def _size_note(splits: NDArray[np.int64]) -> list[str]:
    """Of other tasks the group counts are not published, but every task has the same splits."""
    found, published = np.bincount(splits, minlength=3).tolist(), [sum(counts) for counts in PUBLISHED]
    sizes = ["/".join(map(str, counts)) for counts in (found, published)]
    return [] if found == published else [f"train/val/test have {sizes[0]} images (published {sizes[1]})"]


def _image_folder(root: Path, table: Path) -> str:
    """Relative to the root. A merged table may stand in the image folder itself."""
    if folder := first_of(root, IMAGES):
        return folder.relative_to(root).as_posix()
    if root.name == "img_align_celeba" and table.parent == root:
        return "."
    raise InputError(f"{root}: none of {', '.join(IMAGES)} is here; CelebA needs one of them")


def _check_task(target: str, attributes: Sequence[str]) -> None:
    for setting, name in (("target", target), *(("attributes", name) for name in attributes)):
        if name not in CLAUSES:
            raise InputError(
                f"--celeba-{setting}: {name!r} is none of CelebA's {len(CLAUSES)} attributes"
                f"{nearest(name, list(CLAUSES)) or '; they are called as in list_attr_celeba.txt, for example Smiling'}"
            )
    if not attributes or len(attributes) > MAX_ATTRIBUTES:
        raise InputError(
            f"--celeba-attributes: found {len(attributes)}; expected 1 to {MAX_ATTRIBUTES}, whose combinations make "
            "the groups"
        )
    if len({target, *attributes}) <= len(attributes):
        twice = target if target in attributes else next(name for name in attributes if attributes.count(name) > 1)
        raise InputError(
            f"--celeba-attributes: {twice!r} is given twice (as {'the target' if twice == target else 'an attribute'} "
            "too); an attribute has one role"
        )
