"""Measurements of a list of images: those in the cache, and the pass over the images that it lacks.

They are cached in a folder beside those of features, of the same form, for each root. Its rows are found by path, size
and time, as features are, and don't depend on an encoder. A row holds the numbers, and how many rows of its shard
further up the same texts first occur; the texts are stored there, in the place of the reason of a failure.
"""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dbpt.environment import progress_bar
from dbpt.features.cache import REACHED, UNREACHED, FeatureCache, outcome_of
from dbpt.features.cache_files import MEASUREMENTS, shard_name, shard_rows
from dbpt.features.cache_keys import FileRows, look_up_files
from dbpt.features.image_properties import NUMBERS, TEXTS, measure
from dbpt.features.images import Look, decoding_threads, pillow_warnings, read_image

# To be raised when a definition changes. Older measurements then stay in a folder that nothing reads.
VERSION = 1
BETWEEN = "\n"  # no text contains it
SECONDS_TO_WAIT = 1.0  # for a shard, before another is tried


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

    def store(self, outcomes: NDArray[np.uint8], reasons: Sequence[str]) -> None:
        """Add the rows to the cache that were reached by their ``outcomes`` (n,); failed ones with their reasons."""
        kept = np.flatnonzero(self.absent & (outcomes != UNREACHED))
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


@dataclass(frozen=True)
class MeasuredText:
    """One text property of N images.

    Attributes:
        codes: (N,) int64 into ``values``; -1 for images that can't be read.
        values: the texts, sorted; "" stands for images whose file doesn't say it.
    """

    codes: NDArray[np.int64]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Measurements:
    """Measured properties of N images, in the order of their paths.

    Attributes:
        numbers: (N,) float32 by the names of `NUMBERS`; NaN for images that can't be read, and where it doesn't apply.
        texts: by the names of `TEXTS`.
        decoded: the number of images that this call decoded; 0 for a warm cache.
    """

    numbers: dict[str, NDArray[np.float32]]
    texts: dict[str, MeasuredText]
    decoded: int


def measure_files(root: Path, paths: Sequence[str], *, cache_dir: Path, num_workers: int | None = None) -> Measurements:
    """Return the measured properties of images from the cache, and decode the images that are missing there.

    Processes that measure at the same time share the work. An image that can't be read is a row without values.

    Args:
        root: the folder that the paths are relative to.
        paths: (N,) image files; a path may occur more than once.
        cache_dir: the folder ``features`` of the cache; created if necessary.
        num_workers: decoding threads; by default this process's share of the processors, at most 16.

    Returns:
        The properties of all N images.

    Raises:
        InputError: for a cache that can't be used.
    """
    cache = MeasurementCache(cache_dir, root)
    files = look_up_files(cache.root, paths)
    decoded = _complete(cache, files, num_workers)
    positions = cache.find(files.ids)
    positions[list(files.errors)] = -1
    numbers, is_unread = cache.read(positions), (positions < 0) | cache.failed(positions)
    first, row_of_first = np.unique((positions - numbers[:, -1].astype(np.int64))[~is_unread], return_inverse=True)
    numbers[is_unread] = np.nan
    table = [text.split(BETWEEN) for text in cache.reasons(first)]
    texts = {}
    for number, name in enumerate(TEXTS):
        values, codes_of_first = np.unique(np.array([row[number] for row in table], np.str_), return_inverse=True)
        codes = np.full(len(paths), -1, np.int64)
        codes[~is_unread] = codes_of_first[row_of_first]
        texts[name] = MeasuredText(codes, tuple(values.tolist()))
    return Measurements({name: numbers[:, column] for column, name in enumerate(NUMBERS)}, texts, decoded)


def _complete(cache: MeasurementCache, files: FileRows, num_workers: int | None) -> int:
    """Measure the files that the cache lacks; return the number that this process decoded."""
    missing, decoded = files.missing(cache.find(files.ids)), 0
    if not len(missing):
        return 0
    cache.prepare_folder()
    size = shard_rows(len(files), 1)
    shards = deque(files.select(missing[start : start + size]) for start in range(0, len(missing), size))
    bar = progress_bar("measuring", "img", total=len(missing))
    with bar, pillow_warnings(), decoding_threads(num_workers) as pool:
        while shards:
            rows = shards.popleft()
            claim = cache.claim(shard_name(rows.ids))
            if not claim.wait(SECONDS_TO_WAIT):  # another process measures it
                shards.append(rows)
                continue
            try:
                measured, outcomes = cache.begin(rows, np.ones(len(rows), np.bool_)), []
                for outcome in pool.map(partial(_decode, cache.root, rows, measured), range(len(rows))):
                    outcomes.append(outcome)
                    bar.update()
                reached, reasons = zip(*outcomes, strict=True)
                measured.store(np.array(reached, np.uint8), reasons)
                decoded += int(measured.absent.sum())
            finally:
                claim.release()
    cache.clear_up()
    return decoded


def _decode(root: Path, rows: FileRows, measured: MeasuredRows, row: int) -> tuple[int, str]:
    """Decode and measure the image of ``row``; return the outcome, and the reason of a failure."""
    if (look := measured.look(row)) is None:
        return REACHED, ""
    return outcome_of(lambda: read_image(root / rows.paths[row], size_and_mtime=rows.size_and_mtime(row), look=look))
