"""Measurements of a list of images: those in the cache, and the pass over the images that it lacks."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.environment import progress_bar
from dbpt.features.cache_files import shard_name
from dbpt.features.cache_keys import FileRows, look_up_files
from dbpt.features.embedding import REACHED, UNREACHED, outcome_of, shard_rows
from dbpt.features.image_properties import NUMBERS, TEXTS
from dbpt.features.images import decoding_threads, pillow_warnings, read_image
from dbpt.features.measurement_cache import BETWEEN, MeasuredRows, MeasurementCache

SECONDS_TO_WAIT = 1.0  # for a shard, before another is tried


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
                measured.store(np.array(reached) == UNREACHED, reasons)
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
