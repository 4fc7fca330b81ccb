"""SubpopBench's variant of MetaShift: four group folders, and a split of its own.

y: 0 dog, 1 cat; a: 0 outdoor, 1 indoor. The split comes from ``metadata_metashift.csv``, or is drawn as SubpopBench
draws it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.metashift.folders import list_folders, listed_dataset
from dbpt.data.roots import first_of
from dbpt.data.rows import Columns, read_columns, relative_path
from dbpt.errors import InputError
from dbpt.words import Words

FOLDER = "MetaShift-Cat-Dog-indoor-outdoor"
METADATA = "metadata_metashift.csv"
# In SubpopBench's order, on which its split depends: folder -> (y, a).
GROUPS = {
    "train/cat/cat(indoor)": (1, 1),
    "train/dog/dog(outdoor)": (0, 0),
    "test/cat/cat(outdoor)": (1, 0),
    "test/dog/dog(indoor)": (0, 1),
}
FOLDERS = (FOLDER, f"metashift/{FOLDER}")
MARKERS = tuple(GROUPS)
WORDS = Words(
    classes={"dog": ("dog",), "cat": ("cat",)},
    attributes={"outdoor": ("outdoors",), "indoor": ("indoors",)},
    templates=("a photo of a {}.",),
    attribute_templates=("a photo taken {}.",),
)
PUBLISHED: GroupCounts = ((784, 507, 196, 789), (127, 75, 33, 114), (273, 191, 65, 345))


def read(images: Path) -> Dataset:
    """Read ``metadata_metashift.csv`` in or beside the image folder, or list the four group folders."""
    for place in (images, images.parent):
        if metadata := first_of(place, (METADATA,)):
            return _from_metadata(images, metadata)
    return _from_folders(images)


def _from_metadata(images: Path, metadata: Path) -> Dataset:
    columns = read_columns(metadata, ("filename", "split", "y", "a"))
    binary, three = {"0": 0, "1": 1}, {"0": 0, "1": 1, "2": 2}
    names = columns.values["filename"]
    dataset = Dataset(
        name="metashift",
        root=images,
        source=metadata,
        paths=tuple(_relocated(name, images, columns.where(row)) for row, name in enumerate(names)),
        lines=np.array(columns.lines, dtype=np.int64),
        labels=columns.decode("y", binary.get, list(binary)),
        attributes=columns.decode("a", binary.get, list(binary)),
        splits=columns.decode("split", three.get, list(three)),
        words=WORDS,
        published=PUBLISHED,
    )
    _check_folders(dataset, columns)
    return dataset


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


def _check_folders(dataset: Dataset, columns: Columns) -> None:
    for row, path in enumerate(dataset.paths):
        found = int(dataset.labels[row]), int(dataset.attributes[row])
        expected = GROUPS.get(path.rpartition("/")[0], found)
        if found != expected:
            raise InputError(
                f"{columns.where(row)}: y,a is {found[0]},{found[1]} but the folder of {path!r} means "
                f"{expected[0]},{expected[1]}; correct the row or delete {METADATA}"
            )


def _from_folders(images: Path) -> Dataset:
    paths, codes = list_folders(images, GROUPS, "MetaShift")
    labels, attributes = zip(*codes, strict=True)
    note = (
        f"no {METADATA}: split drawn as SubpopBench does, over sorted file names "
        "(which image lands where differs from splits drawn on other machines)"
    )
    return listed_dataset(images, paths, labels, attributes, subpopbench_split(len(paths)), WORDS, note, PUBLISHED)


def subpopbench_split(num_rows: int) -> NDArray[np.int64]:
    """(N,) int64 split codes: a quarter test, then a tenth validation, from NumPy's frozen ``RandomState(42)``."""
    random = np.random.RandomState(42)
    rows = np.arange(num_rows)
    test = random.choice(rows, size=int(num_rows * 0.25), replace=False)
    val = random.choice(np.setdiff1d(rows, test), size=int(num_rows * 0.1), replace=False)
    splits = np.zeros(num_rows, dtype=np.int64)
    splits[val], splits[test] = 1, 2
    return splits
