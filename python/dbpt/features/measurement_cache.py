"""Measurements of images in the cache: a folder beside those of features, of the same form, for each root.

Its rows are found by path, size and time, as features are, and don't depend on an encoder. A row holds the numbers, and
how many rows of its shard further up the same texts first occur; the texts are stored there, in the place of the reason
of a failure.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dbpt.features.cache import FeatureCache
from dbpt.features.cache_files import MEASUREMENTS, shard_name
from dbpt.features.cache_keys import FileRows
from dbpt.features.image_properties import NUMBERS, TEXTS, measure
from dbpt.features.images import Look

# To be raised when a definition changes. Older measurements then stay in a folder that nothing reads.
VERSION = 1
BETWEEN = "\n"  # no text contains it


class MeasurementCache(FeatureCache):
    """The measurements of images below a root.

    Args:
        cache_dir: the folder ``features`` of the cache.
        root: the folder that paths are relative to.
    """

    def __init__(self, cache_dir: Path, root: Path) -> None:
        properties = {MEASUREMENTS: " ".join((*NUMBERS, *TEXTS)), "version": VERSION, "dtype": "float32"}
        self.root = Path(os.path.realpath(root))  # Path.resolve raises for circular links
        super().__init__(cache_dir, properties, self.root, len(NUMBERS) + 1)

    def begin(self, rows: FileRows, absent: NDArray[np.bool_]) -> "MeasuredRows":
        """Return an empty place for the measurements of a shard.

        Args:
            rows: its n files.
            absent: (n,) those that the cache lacked.
        """
        self.refresh()
        if shard_name(rows.ids[absent]) in self.names:  # another process was faster
            absent = np.zeros_like(absent)
        return MeasuredRows(self, rows, absent)


class MeasuredRows:
    """Measurements of n rows while they are decoded. Rows that the cache already has are not measured.

    Args:
        cache: where to store them.
        rows: their files.
        absent: (n,) the rows to measure.
    """

    def __init__(self, cache: MeasurementCache, rows: FileRows, absent: NDArray[np.bool_]) -> None:
        self._cache, self._rows, self.absent = cache, rows, absent
        self._numbers = np.zeros((len(rows), len(NUMBERS) + 1), np.float32)
        self._texts: dict[int, str] = {}

    def look(self, row: int) -> Look | None:
        """Return a function that measures the image of ``row``; None if the cache has it. Safe in several threads."""
        if not self.absent[row]:
            return None

        def look(image: Image.Image, pixels: Image.Image) -> None:
            self._numbers[row, :-1], texts = measure(image, pixels, int(self._rows.sizes[row]))
            self._texts[row] = BETWEEN.join(texts)

        return look

    def store(self, unreached: NDArray[np.bool_], reasons: Sequence[str]) -> None:
        """Add the rows to the cache, without those (n,) that could not be reached; failed ones with their reasons."""
        kept = np.flatnonzero(self.absent & ~unreached)
        if not len(kept):
            return
        first: dict[str, int] = {}
        stored = []
        for number, row in enumerate(kept.tolist()):
            text = self._texts.get(row)
            up = 0 if text is None else number - first.setdefault(text, number)
            self._numbers[row, -1] = up
            stored.append("" if up else reasons[row] if text is None else text)
        failed = np.array([row not in self._texts for row in kept.tolist()], np.uint8)
        name = shard_name(self._rows.ids[self.absent])
        self._cache.add(name, self._rows.select(kept), self._numbers[kept], failed, stored)
