"""Waterbirds (Sagawa et al., 2020): ``waterbird_complete95_forest2water2/metadata.csv`` and its images.

y: 0 landbird, 1 waterbird; place: 0 land, 1 water.
"""

from pathlib import Path

import numpy as np

from dbpt.data.columns import DataRequest
from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.layouts import DatasetReader
from dbpt.data.paths import find_root
from dbpt.data.tables import read_columns
from dbpt.data.words import Words

# The names in group_DRO, SubpopBench and WILDS.
FOLDERS = ("waterbird_complete95_forest2water2", "waterbirds/waterbird_complete95_forest2water2", "waterbirds_v1.0")
METADATA = "metadata.csv"
WORDS = Words(
    classes={"landbird": ("landbird",), "waterbird": ("waterbird",)},
    attributes={"land": ("land background", "forest"), "water": ("water background", "ocean")},
    templates=("This is a picture of a {}.",),
    attribute_templates=("This is a {}.",),
    group_templates=("This is a picture of a {class}, {attribute} behind it.",),
)
PUBLISHED: GroupCounts = ((3498, 184, 56, 1057), (467, 466, 133, 133), (2255, 2255, 642, 642))


class Waterbirds(DatasetReader):
    """The reader of Waterbirds."""

    words = WORDS
    holds = f"{FOLDERS[0]}/{METADATA}"

    @staticmethod
    def read(root: Path, request: DataRequest) -> Dataset:
        """Read ``metadata.csv`` in ``root`` or a folder below it, with the columns img_filename, y, split and place."""
        root = find_root(root, FOLDERS, (METADATA,), "Waterbirds")
        columns = read_columns(root / METADATA, ("img_filename", "y", "split", "place"))
        return Dataset(
            "waterbirds",
            root,
            root / METADATA,
            columns.image_paths("img_filename", root),
            lines=np.asarray(columns.lines, dtype=np.int64),
            labels=columns.decode_numbers("y", 2),
            attributes=columns.decode_numbers("place", 2),
            splits=columns.decode_numbers("split", 3),
            words=WORDS,
            published=PUBLISHED,
            average="adjusted",  # the group shares of its test split differ from those of its training split
        )
