"""The pass over the images that the cache does not have: decode in threads, run the image tower, store by shards.

The rows to do, in their order, are cut into shards; each process claims one after the other. Batches have a fixed shape
and a failed image leaves its place empty, so that a row's bytes depend neither on what failed, nor on who computed it,
nor on how often that was stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt.errors import InputError, NotFinite
from dbpt.features.cache import FeatureCache
from dbpt.features.file_rows import FileRows
from dbpt.features.images import UnreachableImage, UnreadableImage, decoding_threads, pillow_warnings, read_crop
from dbpt.features.ledger import Ledger
from dbpt.features.shards import shard_name
from dbpt.files.lock import OwnedLock

if TYPE_CHECKING:
    from dbpt.clip import Backbone

LEAST_SHARD_ROWS, MOST_SHARD_ROWS = 512, 16384  # a shard is the most work that a kill costs
SHARDS_OF_A_LIST = 1024
SECONDS_BETWEEN_LOOKS = 10.0  # at the other shards, while one is waited for
PREFETCHED_BATCHES = 2
TASK_IMAGES = 16
REACHED, FAILED, UNREACHED = 0, 1, 2


def shard_rows(num_rows: int, batch_size: int) -> int:
    """Rows of a shard, whole batches: few enough shards of a long list, and few enough rows to hold some in memory."""
    rows = LEAST_SHARD_ROWS
    while rows < min(MOST_SHARD_ROWS, num_rows / SHARDS_OF_A_LIST):
        rows *= 2
    return -(-rows // batch_size) * batch_size


def _cut(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


@dataclass(eq=False)
class _Work:
    """A shard in hand; of its n rows the first ``done`` have features (n, D), an ``outcome`` (n,) and reasons."""

    name: str
    rows: FileRows
    claim: OwnedLock
    features: NDArray[Any]
    outcome: NDArray[np.uint8]
    reasons: list[str]
    done: int = 0


@dataclass(eq=False)
class _Batch:
    """Rows ``start`` to ``stop`` of a shard, and their crops (B, H, W, 3), of which the threads fill the first."""

    work: _Work
    start: int
    stop: int
    pixels: NDArray[np.uint8]
    tasks: list[Future[list[tuple[int, str]]]]


class EmbeddingPass:
    """Compute rows of ``files`` that ``cache`` lacks, together with whoever else is at it.

    Args:
        backbone: the frozen model.
        root: what the paths are relative to.
        files: all files of the list.
        cache: where shards go.
        ledger: told of each failed file; raises when there are too many.
        batch_size: rows of every batch, the last one padded; no more than there are files.
        first_shard: which part of the shards to begin with, as (number, count) of this process.
    """

    def __init__(
        self,
        backbone: Backbone,
        root: Path,
        files: FileRows,
        cache: FeatureCache,
        ledger: Ledger,
        *,
        batch_size: int,
        first_shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.backbone, self.root, self.files, self.cache, self.ledger = backbone, root, files, cache, ledger
        self.batch_size, self.first_shard = min(batch_size, max(1, len(files))), first_shard
        self.batch_shape = (self.batch_size, *backbone.preprocess.size, 3)
        self._in_hand: list[_Work] = []
        self._decoded_here = 0

    def run(self, todo: NDArray[np.int64], workers: int | None, bar: tqdm[Any]) -> int:
        """Return when all rows of ``todo`` are in the cache that can be, with how many were decoded here.

        Images that the system could not read are in the ledger alone. Raises `InputError` for too many failures, a
        full disk.
        """
        self.cache.prepare_folder()
        shards = list(_cut(todo, shard_rows(len(self.files), self.batch_size)))
        number, count = self.first_shard
        begin = number * len(shards) // count
        shards = shards[begin:] + shards[:begin]
        with pillow_warnings(), decoding_threads(workers) as pool:
            while shards:
                try:
                    shards = self._compute(shards, pool, bar)
                finally:
                    self._put_down()
                if shards and (first := self._claim(shards[0])).wait(SECONDS_BETWEEN_LOOKS):  # others have them
                    first.release()
        return self._decoded_here

    def _compute(
        self, shards: Sequence[NDArray[np.int64]], pool: ThreadPoolExecutor, bar: tqdm[Any]
    ) -> list[NDArray[np.int64]]:
        """Compute all shards that nobody else has in hand; returns the others."""
        others: list[NDArray[np.int64]] = []
        for batch in self._decoded(self._claimed(shards, others, bar), pool):
            self._encode(batch)
            bar.update(batch.stop - batch.start)
            self.ledger.check()
            if batch.work.done == len(batch.work.rows):
                self._store(batch.work)
        return others

    def _claimed(
        self, shards: Sequence[NDArray[np.int64]], others: list[NDArray[np.int64]], bar: tqdm[Any]
    ) -> Iterator[_Work]:
        """Shards that this process now has in hand, one by one."""
        for chosen in shards:
            claim = self._claim(chosen)
            if not claim.take():
                others.append(chosen)
                continue
            name, n = shard_name(self.files.ids[chosen]), len(chosen)
            features = np.zeros((n, self.cache.manifest.embed_dim), self.cache.dtype)
            work = _Work(name, self.files.select(chosen), claim, features, np.zeros(n, np.uint8), [""] * n)
            self._in_hand.append(work)
            self.cache.refresh()  # after the claim, or somebody might finish it in between
            if self.cache.entry(name):
                self._drop(work)
                bar.update(n)
            else:
                yield work

    def _claim(self, chosen: NDArray[np.int64]) -> OwnedLock:
        return self.cache.claim(shard_name(self.files.ids[chosen]))

    def _decoded(self, works: Iterator[_Work], pool: ThreadPoolExecutor) -> Iterator[_Batch]:
        """Batches in order, decoded a few ahead of the model, over the ends of shards too."""
        waiting: deque[_Batch] = deque()
        for batch in self._batches(works, pool):
            waiting.append(batch)
            if len(waiting) > PREFETCHED_BATCHES:
                yield waiting.popleft()
        yield from waiting

    def _batches(self, works: Iterator[_Work], pool: ThreadPoolExecutor) -> Iterator[_Batch]:
        for work in works:
            for start in range(0, len(work.rows), self.batch_size):
                stop = min(start + self.batch_size, len(work.rows))
                pixels = self._empty_batch()
                parts = range(start, stop, TASK_IMAGES)
                tasks = [
                    pool.submit(self._decode, work.rows, i, min(i + TASK_IMAGES, stop), pixels[i - start :])
                    for i in parts
                ]
                yield _Batch(work, start, stop, pixels, tasks)

    def _empty_batch(self) -> NDArray[np.uint8]:
        """For a GPU in memory that it can fetch from by itself."""
        if self.backbone.device.type != "cuda":
            return np.zeros(self.batch_shape, dtype=np.uint8)
        import torch

        pinned: NDArray[np.uint8] = torch.zeros(self.batch_shape, dtype=torch.uint8, pin_memory=True).numpy()
        return pinned

    def _decode(self, rows: FileRows, start: int, stop: int, places: NDArray[np.uint8]) -> list[tuple[int, str]]:
        """Fill the places of rows ``start`` to ``stop``; returns for each what failed, 0 if nothing, and why."""
        return [self._decode_one(rows, row, place) for row, place in zip(range(start, stop), places, strict=False)]

    def _decode_one(self, rows: FileRows, row: int, place: NDArray[Any]) -> tuple[int, str]:
        as_found = int(rows.sizes[row]), int(rows.mtimes_ns[row])
        try:
            read_crop(self.root / rows.paths[row], self.backbone.preprocess.crop, place, size_and_mtime=as_found)
        except UnreachableImage as error:
            return UNREACHED, str(error)
        except UnreadableImage as error:
            return FAILED, str(error)
        return REACHED, ""

    def _encode(self, batch: _Batch) -> None:
        outcomes = [outcome for task in batch.tasks for outcome in task.result()]
        work, chosen = batch.work, slice(batch.start, batch.stop)
        work.outcome[chosen] = [kind for kind, _ in outcomes]
        work.reasons[chosen] = [reason for _, reason in outcomes]
        try:
            features = self.backbone.encode_image(batch.pixels).numpy()[: len(outcomes)]
        except NotFinite as error:
            name = work.rows.paths[min(batch.start + error.row, batch.stop - 1)]
            raise InputError(f"{self.root / name}: {error}") from None
        work.features[chosen] = np.where(work.outcome[chosen, None] == REACHED, features, 0)
        work.done = batch.stop
        self._decoded_here += len(outcomes)
        for row in (batch.start + np.flatnonzero(work.outcome[chosen])).tolist():
            self.ledger.add(work.rows.paths[row], work.reasons[row])

    def _store(self, work: _Work) -> None:
        """Without what could not be reached: that is tried again the next time."""
        kept = np.flatnonzero(work.outcome != UNREACHED)
        if len(kept):
            reasons = [work.reasons[row] for row in kept.tolist()]
            failed = (work.outcome[kept] == FAILED).astype(np.uint8)
            self.cache.add(work.name, work.rows.select(kept), work.features[kept], failed, reasons)
        self._drop(work)

    def _drop(self, work: _Work) -> None:
        self._in_hand.remove(work)
        work.claim.release()

    def _put_down(self) -> None:
        """Ctrl-C, too many failures, a full disk: whoever goes on begins these shards anew."""
        for work in self._in_hand[:]:
            self._drop(work)
