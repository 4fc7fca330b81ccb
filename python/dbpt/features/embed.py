"""The pass over the images: look up the cache, decode in threads, run the image tower, store shard by shard.

Batches have a fixed shape and a failed image leaves its place empty, so that a row's bytes don't depend on what failed,
and a pass that was killed goes on with the very batches it would have had.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from dbpt.errors import InputError
from dbpt.tar_members import find_member

from .cache import FeatureCache
from .images import UnreadableImage, decoding_threads, pillow_warnings, read_pixels
from .shards import RowKey

if TYPE_CHECKING:
    from dbpt.backbone import Backbone

SHARD_ROWS = 8192  # a shard is closed at the first whole batch after so many rows
SHARD_SECONDS = 60.0  # or after so long, which is the most work that a kill costs
PREFETCHED_BATCHES = 2
TASK_IMAGES = 16


@dataclass(frozen=True)
class Failure:
    """An image that could not be read: its row in the list, its path, and why."""

    row: int
    path: str
    reason: str


@dataclass(frozen=True)
class Embeddings:
    """Features in the order of the paths asked for.

    Attributes:
        features: (N, D) float32, rows of length 1; zero where the image failed.
        ok: (N,) bool, False where the image failed.
        failures: the failed rows with their reasons; ``len(paths) == ok.sum() + len(failures)``.
        recomputed: how many images this call decoded, the failed ones included; 0 on a warm cache.
    """

    features: NDArray[np.float32]
    ok: NDArray[np.bool_]
    failures: tuple[Failure, ...]
    recomputed: int


def embed_images(
    backbone: Backbone,
    root: Path,
    paths: Sequence[str],
    *,
    cache_dir: Path,
    batch_size: int = 128,
    num_workers: int | None = None,
    max_failures: float = 0.01,
    progress: bool = True,
) -> Embeddings:
    """Embed images with the frozen image tower, or take them from the cache.

    The cache holds features by encoder key (`Backbone.encoder_key`, device type, batch size, root), and rows by path,
    size and modification time: only new and changed images are computed. A second call gives the same bytes.

    Args:
        backbone: the frozen model.
        root: folder that `paths` are relative to.
        paths: (N,) image files; a path may occur more than once.
        cache_dir: folder of the feature cache, made if it isn't there.
        batch_size: rows of every batch, the last one padded.
        num_workers: decoding threads; default one per processor, at most 16.
        max_failures: fraction of the files that may be unreadable.
        progress: show a bar with rate and remaining time on standard error, if that is a terminal.

    Raises:
        InputError: if more than `max_failures` can't be read (after storing what was computed), the disk is full, or
            an argument is out of range.
    """
    if batch_size < 1 or (num_workers is not None and num_workers < 1):
        raise InputError(f"batch_size {batch_size} and num_workers {num_workers} must be at least 1")
    if not 0 <= max_failures <= 1:
        raise InputError(f"--max-failures {max_failures} must be a fraction between 0 and 1")
    root = Path(root).resolve()
    cache_key = {
        **backbone.encoder_key,
        "device": backbone.device.type,
        "batch_size": str(batch_size),
        "root": str(root),
    }
    cache = FeatureCache(Path(cache_dir), cache_key, backbone.embed_dim)
    ledger = _Ledger(max_failures)
    keys = {path: _row_key(root, path, ledger) for path in dict.fromkeys(paths)}
    ledger.num_files = len(keys)
    todo = []
    for key in filter(None, keys.values()):
        reason = cache.failure(key)
        if reason is not None:
            ledger.add(key.path, reason)
        elif key not in cache:
            todo.append(key)
    ledger.check()
    if todo:
        _Pass(backbone, root, cache, ledger, batch_size).run(todo, num_workers, progress)
    failures = tuple(
        Failure(row, path, ledger.reasons[path]) for row, path in enumerate(paths) if path in ledger.reasons
    )
    ok = np.ones(len(paths), dtype=np.bool_)
    ok[[failure.row for failure in failures]] = False
    return Embeddings(cache.read([keys[path] for path in paths]), ok, failures, len(todo))


def _row_key(root: Path, path: str, ledger: _Ledger) -> RowKey | None:
    try:
        found = os.stat(root / path)  # noqa: PTH116 (a million of them)
    except NotADirectoryError as error:
        if member := find_member(root / path):
            return RowKey(path, member.size, member.mtime_ns)
        ledger.add(path, error.strerror or str(error))
        return None
    except (OSError, ValueError) as error:
        ledger.add(path, getattr(error, "strerror", None) or str(error))
        return None
    if not stat.S_ISREG(found.st_mode):
        ledger.add(path, "not a regular file")
        return None
    return RowKey(path, found.st_size, found.st_mtime_ns)


class _Ledger:
    """Why files failed, and whether that is too many."""

    def __init__(self, max_failures: float) -> None:
        self.reasons: dict[str, str] = {}
        self.max_failures = max_failures
        self.num_files = 0

    def add(self, path: str, reason: str) -> None:
        self.reasons[path] = reason

    def check(self) -> None:
        if len(self.reasons) <= self.max_failures * self.num_files:
            return
        path, reason = next(iter(self.reasons.items()))
        raise InputError(
            f"{len(self.reasons)} of {self.num_files} images can't be read, more than --max-failures "
            f"{self.max_failures:g} allows; the first: {path}: {reason}"
        )


class _Pass:
    """One run over the images that the cache doesn't have."""

    def __init__(self, backbone: Backbone, root: Path, cache: FeatureCache, ledger: _Ledger, batch_size: int) -> None:
        self.backbone, self.root, self.cache, self.ledger = backbone, root, cache, ledger
        blank = backbone.preprocess(Image.new("RGB", (8, 8)))
        self.batch_shape = (batch_size, *blank.shape)
        self.keys: list[RowKey] = []
        self.features: list[NDArray[np.float32]] = []
        self.failures: list[tuple[RowKey, str]] = []
        self.stored_at = time.monotonic()

    def run(self, todo: Sequence[RowKey], workers: int | None, progress: bool) -> None:
        bar = tqdm(total=len(todo), desc="embedding", unit="img", disable=None if progress else True)
        with bar, pillow_warnings(), decoding_threads(workers) as pool:
            try:
                for keys, pixels, reasons in self._decoded(todo, pool):
                    self._encode(keys, pixels, reasons)
                    bar.update(len(keys))
                    self.ledger.check()
                    if len(self.keys) >= SHARD_ROWS or time.monotonic() - self.stored_at > SHARD_SECONDS:
                        self._store()
            finally:  # Ctrl-C, too many failures: what is computed is kept
                self._store()

    def _encode(self, keys: Sequence[RowKey], pixels: NDArray[np.float32], reasons: Sequence[str | None]) -> None:
        features = self.backbone.encode_image(pixels).numpy()
        failed = np.array([reason is not None for reason in reasons], dtype=np.bool_)
        self.features.append(features[: len(keys)][~failed])
        for key, reason in zip(keys, reasons, strict=True):
            if reason is None:
                self.keys.append(key)
            else:
                self.failures.append((key, reason))
                self.ledger.add(key.path, reason)

    def _store(self) -> None:
        keys, features, failures = self.keys, self.features, self.failures
        self.keys, self.features, self.failures = [], [], []  # first, so that a full disk is met once
        if keys or failures:
            self.cache.add(keys, np.concatenate(features), failures)
        self.stored_at = time.monotonic()

    def _decoded(
        self, todo: Sequence[RowKey], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Sequence[RowKey], NDArray[np.float32], list[str | None]]]:
        """Yield batches in order: keys, pixels (B, 3, H, W) with zeros where there is nothing, reasons of failures."""
        waiting: deque[tuple[Sequence[RowKey], NDArray[np.float32], list[Future[list[str | None]]]]] = deque()
        size = self.batch_shape[0]
        for start in range(0, len(todo) + size * PREFETCHED_BATCHES, size):
            keys = todo[start : start + size]
            if keys:
                pixels = np.zeros(self.batch_shape, dtype=np.float32)
                parts = range(0, len(keys), TASK_IMAGES)
                tasks = [
                    pool.submit(self._decode, keys[i : i + TASK_IMAGES], pixels[i : i + TASK_IMAGES]) for i in parts
                ]
                waiting.append((keys, pixels, tasks))
            if waiting and (not keys or len(waiting) > PREFETCHED_BATCHES):
                first, pixels, tasks = waiting.popleft()
                yield first, pixels, [reason for task in tasks for reason in task.result()]

    def _decode(self, keys: Sequence[RowKey], pixels: NDArray[np.float32]) -> list[str | None]:
        return [self._decode_one(key, place) for key, place in zip(keys, pixels, strict=False)]

    def _decode_one(self, key: RowKey, place: NDArray[Any]) -> str | None:
        try:
            place[:] = read_pixels(self.root / key.path, self.backbone.preprocess, size_and_mtime=key[1:])
        except UnreadableImage as error:
            return str(error)
        return None
