"""DISC's variant of MetaShift: the backgrounds of training never occur in the test images.

y: 0 dog, 1 cat (DISC itself counts the other way round); a: 0 sofa, 1 bed, 2 bench, 3 bike, 4 shelf.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.dataset import Dataset
from dbpt.data.metashift.folders import list_folders, listed_dataset
from dbpt.words import Words

FOLDERS = ("MetaDatasetCatDog", "metashift/MetaDatasetCatDog", "metashifts/MetaDatasetCatDog")
# In DISC's order, on which its split depends: folder -> (y, a).
TRAIN = {
    "train/cat/cat(sofa)": (1, 0),
    "train/cat/cat(bed)": (1, 1),
    "train/dog/dog(bench)": (0, 2),
    "train/dog/dog(bike)": (0, 3),
}
TEST = {"test/cat/cat(shelf)": (1, 4), "test/dog/dog(shelf)": (0, 4)}
MARKERS = (*TRAIN, *TEST)
WORDS = Words(
    classes={"dog": ("dog",), "cat": ("cat",)},
    attributes={
        "sofa": ("on a sofa",),
        "bed": ("on a bed",),
        "bench": ("at a bench",),
        "bike": ("at a bike",),
        "shelf": ("at a shelf",),
    },
    templates=("a photo of a {}.",),
    attribute_templates=("a photo taken {}.",),
)


def read(images: Path) -> Dataset:
    """List the six folders, and draw the validation rows out of the two of the test."""
    paths, codes = list_folders(images, TRAIN | TEST, "MetaShift in DISC's layout")
    labels, attributes = zip(*codes, strict=True)
    splits = np.zeros(len(paths), dtype=np.int64)
    is_test = np.array([path.startswith("test/") for path in paths])
    splits[is_test] = disc_test_split(int(is_test.sum()))
    note = (
        "DISC's variant of MetaShift, not comparable with the others; validation drawn as DISC does, over sorted file "
        "names (which image lands where differs from splits drawn on other machines)"
    )
    return listed_dataset(images, paths, labels, attributes, splits, WORDS, note)


def disc_test_split(num_rows: int) -> NDArray[np.int64]:
    """(N,) int64 split codes of the test images, 15 % of them validation.

    What scikit-learn's ``train_test_split(test_size=0.85, random_state=0)`` draws, from NumPy's frozen `RandomState`.
    """
    shuffled = np.random.RandomState(0).permutation(num_rows)
    splits = np.full(num_rows, 2, dtype=np.int64)
    splits[shuffled[int(np.ceil(0.85 * num_rows)) :]] = 1
    return splits
