"""MetaShift cats and dogs (Liang and Zou, 2022) in two variants, whose results are not comparable.

In SubpopBench's, cats are mostly indoors and dogs outdoors (y: 0 dog, 1 cat; a: 0 outdoor, 1 indoor). In DISC's, cats
are on sofas and beds, dogs at benches and bikes, and both at shelves in the test split. dbpt doesn't read the layout of
the original script, which stores the groups in a pickle.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.columns import DataRequest, check_number, shortened
from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.layouts import DatasetReader
from dbpt.data.paths import find_root, first_of, list_entries, look_for_root, relative_path
from dbpt.data.tables import read_columns
from dbpt.data.words import Vocabulary, Words
from dbpt.errors import InputError

FOLDER = "MetaShift-Cat-Dog-indoor-outdoor"
FOLDERS = (FOLDER, f"metashift/{FOLDER}")
METADATA = "metadata_metashift.csv"
# Folder -> (y, a), in SubpopBench's order, which determines its split.
GROUPS = {
    "train/cat/cat(indoor)": (1, 1),
    "train/dog/dog(outdoor)": (0, 0),
    "test/cat/cat(outdoor)": (1, 0),
    "test/dog/dog(indoor)": (0, 1),
}
PUBLISHED: GroupCounts = ((784, 507, 196, 789), (127, 75, 33, 114), (273, 191, 65, 345))
CLASSES: Vocabulary = {"dog": ("dog",), "cat": ("cat",)}
PHOTO_OF, PHOTO_TAKEN = ("a photo of a {}.",), ("a photo taken {}.",)
GROUP_TEMPLATES = ("a photo of a {class} {attribute}.",)
OUTDOOR: Vocabulary = {"outdoor": ("outdoors",), "indoor": ("indoors",)}
WORDS = Words(CLASSES, OUTDOOR, PHOTO_OF, PHOTO_TAKEN, group_templates=GROUP_TEMPLATES)

DISC_FOLDERS = ("MetaDatasetCatDog", "metashift/MetaDatasetCatDog", "metashifts/MetaDatasetCatDog")
# In DISC's order, which determines its split. DISC itself numbers the classes the other way round.
DISC_GROUPS = {
    "train/cat/cat(sofa)": (1, 0),
    "train/cat/cat(bed)": (1, 1),
    "train/dog/dog(bench)": (0, 2),
    "train/dog/dog(bike)": (0, 3),
    "test/cat/cat(shelf)": (1, 4),
    "test/dog/dog(shelf)": (0, 4),
}
DISC_PLACES = ("on a sofa", "on a bed", "at a bench", "at a bike", "at a shelf")
DISC_ATTRIBUTES: Vocabulary = {place.rpartition(" ")[2]: (place,) for place in DISC_PLACES}
DISC_WORDS = Words(CLASSES, DISC_ATTRIBUTES, PHOTO_OF, PHOTO_TAKEN, group_templates=GROUP_TEMPLATES)
ORDER = "over sorted file names (splits drawn on other machines may differ)"


class MetaShift(DatasetReader):
    """The reader of both variants."""

    words = WORDS
    holds = f"{FOLDER}/"

    @staticmethod
    def read(root: Path, request: DataRequest) -> Dataset:
        """Read the variant in ``root`` or a folder below it; SubpopBench's if both exist."""
        is_disc = not look_for_root(root, FOLDERS, tuple(GROUPS))
        if is_disc and (images := look_for_root(root, DISC_FOLDERS, tuple(DISC_GROUPS))):
            return _read_groups(images, is_disc=True)
        images = find_root(root, FOLDERS, tuple(GROUPS), "MetaShift in SubpopBench's layout")
        if metadata := first_of(images, (METADATA,)) or first_of(images.parent, (METADATA,)):
            return _read_metadata(images, metadata)
        return _read_groups(images, is_disc=False)


def _read_groups(images: Path, *, is_disc: bool) -> Dataset:
    """List the ``*.jpg`` in the folders of the groups, and draw the splits as the variant's own code does.

    Names are sorted, because the order of a file system differs between machines. Only ``*.jpg`` count, because any
    other image would change the splits.
    """
    groups, title = (DISC_GROUPS, "MetaShift in DISC's layout") if is_disc else (GROUPS, "MetaShift")
    paths: list[str] = []
    codes: list[tuple[int, int]] = []
    others: list[str] = []
    for folder, code in groups.items():
        names = [entry.name for entry in list_entries(images / folder)] if first_of(images, (folder,)) else []
        images_of_group = [f"{folder}/{name}" for name in names if name.endswith(".jpg")]
        if not images_of_group:
            raise InputError(f"{images / folder}: no *.jpg there; {title} needs images in all of {', '.join(groups)}")
        paths += images_of_group
        codes += [code] * len(images_of_group)
        others += [f"{folder}/{name}" for name in names if not name.endswith(".jpg")]
    check_number(images, len(paths))
    if is_disc:
        is_test = np.array([path.startswith("test/") for path in paths])
        splits = np.zeros(len(paths), dtype=np.int64)
        splits[is_test] = disc_test_split(int(is_test.sum()))
        notes = [
            f"DISC's variant of MetaShift, not comparable with SubpopBench's; validation split as in DISC, {ORDER}"
        ]
    else:
        splits = subpopbench_split(len(paths))
        notes = [f"no {METADATA}: split as in SubpopBench, {ORDER}"]
    if others:
        notes.append(f"{len(others)} entries are not *.jpg files and are left out: {shortened(sorted(others), 3)}")
    labels, attributes = np.array(codes, dtype=np.int64).T
    return Dataset(
        "metashift",
        images,
        images,
        tuple(paths),
        lines=np.zeros(len(paths), dtype=np.int64),
        labels=labels,
        attributes=attributes,
        splits=splits,
        words=DISC_WORDS if is_disc else WORDS,
        notes=tuple(notes),
        published=None if is_disc else PUBLISHED,
    )


def _read_metadata(images: Path, metadata: Path) -> Dataset:
    columns = read_columns(metadata, ("filename", "split", "y", "a"))
    paths = [_relocated(name, images, columns.where(row)) for row, name in enumerate(columns.values["filename"])]
    labels, attributes = columns.decode_numbers("y", 2), columns.decode_numbers("a", 2)
    for row, (path, *group) in enumerate(zip(paths, labels.tolist(), attributes.tolist(), strict=True)):
        expected = GROUPS.get(path.rpartition("/")[0], tuple(group))
        if tuple(group) != expected:
            pair = f"{group[0]},{group[1]} but the folder of {path!r} means {expected[0]},{expected[1]}"
            raise InputError(f"{columns.where(row)}: y,a is {pair}; correct the row or delete {METADATA}")
    return Dataset(
        "metashift",
        images,
        metadata,
        tuple(paths),
        lines=np.asarray(columns.lines, dtype=np.int64),
        labels=labels,
        attributes=attributes,
        splits=columns.decode_numbers("split", 3),
        words=WORDS,
        published=PUBLISHED,
    )


def _relocated(name: str, images: Path, where: str) -> str:
    """Return a name relative to ``images``; the table has absolute names of the machine that wrote it."""
    return relative_path(name.replace("\\", "/").rpartition(f"{FOLDER}/")[2], images, where)


def subpopbench_split(num_rows: int) -> NDArray[np.int64]:
    """Return split codes (N,) int64: a quarter test, then a tenth validation, from NumPy's frozen `RandomState`."""
    random = np.random.RandomState(42)  # the seed of SubpopBench's script
    rows = np.arange(num_rows)
    test = random.choice(rows, size=int(num_rows * 0.25), replace=False)
    val = random.choice(np.setdiff1d(rows, test), size=int(num_rows * 0.1), replace=False)
    splits = np.zeros(num_rows, dtype=np.int64)
    splits[val], splits[test] = 1, 2
    return splits


def disc_test_split(num_rows: int) -> NDArray[np.int64]:
    """Return split codes (N,) int64 of the test images: 15 % of them are validation.

    The draws are those of scikit-learn's ``train_test_split(test_size=0.85, random_state=0)``.
    """
    shuffled = np.random.RandomState(0).permutation(num_rows)
    splits = np.full(num_rows, 2, dtype=np.int64)
    splits[shuffled[int(np.ceil(0.85 * num_rows)) :]] = 1
    return splits
