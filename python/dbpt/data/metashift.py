"""MetaShift cats and dogs (Liang and Zou, 2022), indoors and outdoors, in SubpopBench's folders.

y: 0 dog, 1 cat; a: 0 outdoor, 1 indoor. The split comes from ``metadata_metashift.csv``, or is drawn as SubpopBench
draws it. The original script's pickle is never opened.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.checks import GroupCounts
from dbpt.data.dataset import Dataset
from dbpt.data.roots import find_root
from dbpt.data.rows import Columns, read_columns, relative_path
from dbpt.errors import InputError
from dbpt.words import Words

FOLDER = "MetaShift-Cat-Dog-indoor-outdoor"
METADATA = "metadata_metashift.csv"
PICKLE = "imageID_to_group.pkl"
# In SubpopBench's order, on which its split depends: folder -> (y, a).
GROUPS = {
    "train/cat/cat(indoor)": (1, 1),
    "train/dog/dog(outdoor)": (0, 0),
    "test/cat/cat(outdoor)": (1, 0),
    "test/dog/dog(indoor)": (0, 1),
}
WORDS = Words(
    classes={"dog": ("dog",), "cat": ("cat",)},
    attributes={"outdoor": ("outdoors",), "indoor": ("indoors",)},
    templates=("a photo of a {}.",),
    attribute_templates=("a photo taken {}.",),
)
PUBLISHED: GroupCounts = ((784, 507, 196, 789), (127, 75, 33, 114), (273, 191, 65, 345))


def read_metashift(root: Path, words: Words = WORDS) -> Dataset:
    """Read ``metadata_metashift.csv`` in or beside the image folder, or list the four group folders.

    Args:
        root: the folder ``MetaShift-Cat-Dog-indoor-outdoor``, or its parent.
        words: names by index, two classes and two attributes.

    Raises:
        InputError: another layout, a missing group folder, a malformed row, or a file name that is not in the folder.
    """
    try:
        images = find_root(root, (FOLDER, f"metashift/{FOLDER}"), tuple(GROUPS), "MetaShift in SubpopBench's layout")
    except InputError:
        if any((root / name).exists() for name in (PICKLE, "train/" + PICKLE, "val_out_of_domain")):
            raise InputError(
                f"{root}: holds the original MetaShift layout, whose groups are in the pickle {PICKLE}, which is never "
                f"loaded; write a table with columns path,label,split,attribute and give that instead"
            ) from None
        raise
    for metadata in (images / METADATA, images.parent / METADATA):
        if metadata.exists():
            return _from_metadata(images, metadata, words)
    return _from_folders(images, words)


def _from_metadata(images: Path, metadata: Path, words: Words) -> Dataset:
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
        words=words,
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


def _from_folders(images: Path, words: Words) -> Dataset:
    paths: list[str] = []
    codes: list[tuple[int, int]] = []
    for folder, code in GROUPS.items():
        names = sorted(file.name for file in (images / folder).glob("*.jpg"))
        if not names:
            raise InputError(f"{images / folder}: no *.jpg there; MetaShift needs images in all of {', '.join(GROUPS)}")
        paths += [f"{folder}/{name}" for name in names]
        codes += [code] * len(names)
    labels, attributes = np.array(codes, dtype=np.int64).T
    return Dataset(
        name="metashift",
        root=images,
        source=images,
        paths=tuple(paths),
        lines=np.zeros(len(paths), dtype=np.int64),
        labels=labels.copy(),
        attributes=attributes.copy(),
        splits=subpopbench_split(len(paths)),
        words=words,
        notes=(
            f"no {METADATA}: split drawn as SubpopBench does, over sorted file names "
            "(which image lands where differs from splits drawn on other machines)",
        ),
    )


def subpopbench_split(num_rows: int) -> NDArray[np.int64]:
    """(N,) int64 split codes: a quarter test, then a tenth validation, from NumPy's frozen ``RandomState(42)``."""
    random = np.random.RandomState(42)
    rows = np.arange(num_rows)
    test = random.choice(rows, size=int(num_rows * 0.25), replace=False)
    val = random.choice(np.setdiff1d(rows, test), size=int(num_rows * 0.1), replace=False)
    splits = np.zeros(num_rows, dtype=np.int64)
    splits[val], splits[test] = 1, 2
    return splits
