"""MetaShift cats and dogs (Liang and Zou, 2022) in two variants, whose results are not comparable.

SubpopBench's has cats mostly indoors and dogs outdoors (y: 0 dog, 1 cat; a: 0 outdoor, 1 indoor). DISC's has cats on
sofas and beds, dogs on benches and bikes, and tests on shelves. The original script keeps the groups in a pickle, which
dbpt never opens, so its layout isn't read.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.folders import find_root, first_of, list_entries, look_for_root
from dbpt.data.rows import read_columns, relative_path, shortened
from dbpt.data.words import Vocabulary, Words
from dbpt.errors import InputError

FOLDER = "MetaShift-Cat-Dog-indoor-outdoor"
FOLDERS = (FOLDER, f"metashift/{FOLDER}")
METADATA = "metadata_metashift.csv"
# In SubpopBench's order, on which its split depends: folder -> (y, a).
GROUPS = {
    "train/cat/cat(indoor)": (1, 1),
    "train/dog/dog(outdoor)": (0, 0),
    "test/cat/cat(outdoor)": (1, 0),
    "test/dog/dog(indoor)": (0, 1),
}
PUBLISHED: GroupCounts = ((784, 507, 196, 789), (127, 75, 33, 114), (273, 191, 65, 345))
CLASSES: Vocabulary = {"dog": ("dog",), "cat": ("cat",)}
TEMPLATES, ATTRIBUTE_TEMPLATES = ("a photo of a {}.",), ("a photo taken {}.",)
WORDS = Words(CLASSES, {"outdoor": ("outdoors",), "indoor": ("indoors",)}, TEMPLATES, ATTRIBUTE_TEMPLATES)

DISC_FOLDERS = ("MetaDatasetCatDog", "metashift/MetaDatasetCatDog", "metashifts/MetaDatasetCatDog")
# In DISC's order, on which its split depends. DISC itself counts the classes the other way round.
DISC_GROUPS = {
    "train/cat/cat(sofa)": (1, 0),
    "train/cat/cat(bed)": (1, 1),
    "train/dog/dog(bench)": (0, 2),
    "train/dog/dog(bike)": (0, 3),
    "test/cat/cat(shelf)": (1, 4),
    "test/dog/dog(shelf)": (0, 4),
}
DISC_ATTRIBUTES: Vocabulary = {
    "sofa": ("on a sofa",),
    "bed": ("on a bed",),
    "bench": ("at a bench",),
    "bike": ("at a bike",),
    "shelf": ("at a shelf",),
}
DISC_WORDS = Words(CLASSES, DISC_ATTRIBUTES, TEMPLATES, ATTRIBUTE_TEMPLATES)
ORDER = "over sorted file names (which image lands where differs from splits drawn on other machines)"


def read_metashift(root: Path) -> Dataset:
    """Read the variant that is there; where there are both in one folder, SubpopBench's.

    Args:
        root: the variant's folder (``MetaShift-Cat-Dog-indoor-outdoor`` or ``MetaDatasetCatDog``), or its parent.

    Raises:
        InputError: no variant is there, a group folder is empty, a table is malformed or names what is not there.
    """
    if not look_for_root(root, FOLDERS, tuple(GROUPS)) and (
        images := look_for_root(root, DISC_FOLDERS, tuple(DISC_GROUPS))
    ):
        return _from_disc(images)
    images = find_root(root, FOLDERS, tuple(GROUPS), "MetaShift in SubpopBench's layout")
    if metadata := first_of(images, (METADATA,)) or first_of(images.parent, (METADATA,)):
        return _from_metadata(images, metadata)
    note = f"no {METADATA}: split drawn as SubpopBench does, {ORDER}"
    paths, codes, others = _list_groups(images, GROUPS, "MetaShift")
    return _dataset(images, paths, codes, subpopbench_split(len(paths)), notes=(note, *others), published=PUBLISHED)


def _from_disc(images: Path) -> Dataset:
    paths, codes, others = _list_groups(images, DISC_GROUPS, "MetaShift in DISC's layout")
    is_test = np.array([path.startswith("test/") for path in paths])
    splits = np.zeros(len(paths), dtype=np.int64)
    splits[is_test] = disc_test_split(int(is_test.sum()))
    note = f"DISC's variant of MetaShift, not comparable with the other; validation drawn as DISC does, {ORDER}"
    return _dataset(images, paths, codes, splits, words=DISC_WORDS, notes=(note, *others))


def _from_metadata(images: Path, metadata: Path) -> Dataset:
    columns = read_columns(metadata, ("filename", "split", "y", "a"))
    binary, three = {"0": 0, "1": 1}, {"0": 0, "1": 1, "2": 2}
    names = columns.values["filename"]
    paths = [_relocated(name, images, columns.where(row)) for row, name in enumerate(names)]
    labels, attributes = (columns.decode(column, binary.get, list(binary)) for column in ("y", "a"))
    for row, (path, *found) in enumerate(zip(paths, labels.tolist(), attributes.tolist(), strict=True)):
        expected = GROUPS.get(path.rpartition("/")[0], tuple(found))
        if tuple(found) != expected:
            raise InputError(
                f"{columns.where(row)}: y,a is {found[0]},{found[1]} but the folder of {path!r} means "
                f"{expected[0]},{expected[1]}; correct the row or delete {METADATA}"
            )
    splits = columns.decode("split", three.get, list(three))
    codes = np.stack((labels, attributes), axis=1)
    return _dataset(images, paths, codes, splits, source=metadata, lines=columns.lines, published=PUBLISHED)


def _dataset(
    images: Path,
    paths: Sequence[str],
    codes: ArrayLike,
    splits: NDArray[np.int64],
    *,
    words: Words = WORDS,
    source: Path | None = None,
    lines: Sequence[int] | None = None,
    notes: Sequence[str] = (),
    published: GroupCounts | None = None,
) -> Dataset:
    """``codes``: (N, 2), y and a of each row; ``source`` and ``lines``: of the table, where one lists the rows."""
    labels, attributes = np.array(codes, dtype=np.int64).T
    return Dataset(
        name="metashift",
        root=images,
        source=source or images,
        paths=tuple(paths),
        lines=np.zeros(len(paths), dtype=np.int64) if lines is None else np.array(lines, dtype=np.int64),
        labels=labels,
        attributes=attributes,
        splits=splits,
        words=words,
        notes=tuple(notes),
        published=published,
    )


def _list_groups(
    images: Path, groups: dict[str, tuple[int, int]], title: str
) -> tuple[list[str], list[tuple[int, int]], list[str]]:
    """The ``*.jpg`` of each folder, sorted (a file system's own order differs between machines), with their codes.

    And a note of what else is there: the splits are drawn over the ``*.jpg``, so another image would change which row
    lands where.

    Raises:
        InputError: a folder without any.
    """
    paths: list[str] = []
    codes: list[tuple[int, int]] = []
    others: list[str] = []
    for folder, code in groups.items():
        names = [entry.name for entry in list_entries(images / folder)] if first_of(images, (folder,)) else []
        found = [f"{folder}/{name}" for name in names if name.endswith(".jpg")]
        if not found:
            raise InputError(f"{images / folder}: no *.jpg there; {title} needs images in all of {', '.join(groups)}")
        paths += found
        codes += [code] * len(found)
        others += [f"{folder}/{name}" for name in names if not name.endswith(".jpg")]
    note = f"{len(others)} entries are no *.jpg and are left out: {shortened(sorted(others), 3)}"
    return paths, codes, [note] if others else []


def _relocated(name: str, images: Path, where: str) -> str:
    """The file names were absolute on the machine that wrote them: what follows the known folder still holds."""
    _, found, inside = name.replace("\\", "/").rpartition(f"{FOLDER}/")
    if found:
        return relative_path(inside, images, where)
    if name.startswith("/") and not Path(name).is_relative_to(images):
        raise InputError(
            f"{where}: filename {name!r} does not pass through {FOLDER}/, so it can't be moved to {images}"
        )
    return relative_path(name, images, where)


def subpopbench_split(num_rows: int) -> NDArray[np.int64]:
    """Return (N,) int64 split codes: a quarter test, then a tenth validation, from NumPy's frozen `RandomState`."""
    random = np.random.RandomState(42)
    rows = np.arange(num_rows)
    test = random.choice(rows, size=int(num_rows * 0.25), replace=False)
    val = random.choice(np.setdiff1d(rows, test), size=int(num_rows * 0.1), replace=False)
    splits = np.zeros(num_rows, dtype=np.int64)
    splits[val], splits[test] = 1, 2
    return splits


def disc_test_split(num_rows: int) -> NDArray[np.int64]:
    """Return (N,) int64 split codes of the test images, 15 % of them validation.

    What scikit-learn's ``train_test_split(test_size=0.85, random_state=0)`` draws, from NumPy's frozen `RandomState`.
    """
    shuffled = np.random.RandomState(0).permutation(num_rows)
    splits = np.full(num_rows, 2, dtype=np.int64)
    splits[shuffled[int(np.ceil(0.85 * num_rows)) :]] = 1
    return splits
