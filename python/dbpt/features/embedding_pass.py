"""The pass over the images that the cache does not have: decode in threads, run the image tower, store by shards.

The rows to do, in their order, are cut into shards; each process claims one after the other. Batches have a fixed shape
and a failed image leaves its place empty, so that a row's bytes depend neither on what failed, nor on who computed it,
nor on how often that was stopped.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt.errors import InputError

from .cache import FeatureCache
from .claims import Claim
from .file_rows import FileRows
from .images import UnreachableImage, UnreadableImage, decoding_threads, pillow_warnings, read_crop
from .ledger import Ledger
from .shards import FAILED, UNREACHABLE, shard_name

if TYPE_CHECKING:
    from dbpt.backbone import Backbone

LEAST_SHARD_ROWS, MOST_SHARD_ROWS = 2048, 16384
SHARDS_OF_A_LIST = 1024
SECONDS_BETWEEN_LOOKS = 10.0  # at the other shards, while one is waited for
SAVE_SECONDS = 60.0  # between two times that the shard in hand is saved, which is the most work that a kill costs
PREFETCHED_BATCHES = 2
TASK_IMAGES = 16


def shard_rows(num_rows: int, batch_size: int) -> int:
    """Rows of a shard, whole batches: few enough shards of a long list, and few enough rows to hold some in memory."""
    rows = LEAST_SHARD_ROWS
    while rows < min(MOST_SHARD_ROWS, num_rows / SHARDS_OF_A_LIST):
        rows *= 2
    return -(-rows // batch_size) * batch_size


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """The same, but for lines that were said before."""
    return lru_cache(None)(say)


def _cut(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


@dataclass(eq=False)
class _Work:
    """A shard in hand; of its n rows the first ``done`` have features (n, D), ``failed`` (n,) and reasons."""

    rows: FileRows
    claim: Claim
    features: NDArray[Any]
    failed: NDArray[np.uint8]
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
        batch_size: rows of every batch, the last one padded.
        first_shard: which part of the shards to begin with, as (number, count) of this process.
        say: gets a line when this process waits for another.
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
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.backbone, self.root, self.files, self.cache, self.ledger = backbone, root, files, cache, ledger
        self.batch_size, self.first_shard, self.say = batch_size, first_shard, _once(say)
        self.batch_shape = (batch_size, *backbone.preprocess.size, 3)
        self._in_hand: list[_Work] = []
        self._decoded_here = 0
        self._saved_at = time.monotonic()

    def run(self, todo: NDArray[np.int64], workers: int | None, bar: tqdm[Any]) -> int:
        """Return when all rows of ``todo`` are in the cache, with how many of them were decoded here.

        Raises `InputError` for too many failures, a full disk.
        """
        self.cache.prepare_folder()
        self._outdated = set(self.cache.manifest.shards)  # one of rows to do has only what could not be reached
        size = shard_rows(len(self.files), self.batch_size)
        again = self.cache.find(self.files.ids[todo], unreachable=True) >= 0
        shards = [*_cut(todo[~again], size), *_cut(todo[again], size)]  # apart: the new are cut as before what failed
        number, count = self.first_shard
        begin = number * len(shards) // count
        shards = shards[begin:] + shards[:begin]
        with pillow_warnings(), decoding_threads(workers) as pool:
            while shards:
                try:
                    shards = self._compute(shards, pool, bar)
                finally:
                    self._put_down()
                if shards:  # others have them: see what becomes of the first
                    self._claim(shards[0]).lock.wait_until_free(SECONDS_BETWEEN_LOOKS)
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
            elif time.monotonic() - self._saved_at > SAVE_SECONDS:
                self._save(batch.work)
        return others

    def _claimed(
        self, shards: Sequence[NDArray[np.int64]], others: list[NDArray[np.int64]], bar: tqdm[Any]
    ) -> Iterator[_Work]:
        """Shards that this process now has in hand, one by one, with what is done of each already."""
        for chosen in shards:
            claim = self._claim(chosen)
            if not claim.lock.take():
                others.append(chosen)
                continue
            try:
                work = self._begin(chosen, claim)
            except BaseException:
                claim.lock.release(remove=True)
                raise
            bar.update(len(chosen) if work is None else work.done)
            if work is not None:
                yield work

    def _claim(self, chosen: NDArray[np.int64]) -> Claim:
        return Claim(self.cache.folder, shard_name(self.files.ids[chosen]), self.say)

    def _begin(self, chosen: NDArray[np.int64], claim: Claim) -> _Work | None:
        """The shard as far as somebody has left it; None if it is in the cache meanwhile."""
        self.cache.refresh()  # after the claim, or somebody might finish it in between
        entry = self.cache.entry(claim.name)
        if entry and entry not in self._outdated:
            claim.done()
            return None
        n, width = len(chosen), self.cache.manifest.embed_dim
        features, failed = np.zeros((n, width), self.cache.dtype), np.zeros(n, np.uint8)
        work = _Work(self.files.select(chosen), claim, features, failed, [""] * n)
        if found := claim.begun(n, width):
            k = work.done = len(found[1])
            features[:k], failed[:k], work.reasons[:k] = found
            for row in np.flatnonzero(failed).tolist():
                self.ledger.add(work.rows.paths[row], work.reasons[row])
            self.ledger.check()
        self._in_hand.append(work)
        return work

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
            if work.done == len(work.rows):  # it was stopped just before it was stored
                self._store(work)
            for start in range(work.done, len(work.rows), self.batch_size):
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
            return UNREACHABLE, str(error)
        except UnreadableImage as error:
            return FAILED, str(error)
        return 0, ""

    def _encode(self, batch: _Batch) -> None:
        outcomes = [outcome for task in batch.tasks for outcome in task.result()]
        work, chosen = batch.work, slice(batch.start, batch.stop)
        work.failed[chosen] = [kind for kind, _ in outcomes]
        work.reasons[chosen] = [reason for _, reason in outcomes]
        features = self.backbone.encode_image(batch.pixels).numpy()[: len(outcomes)]
        work.features[chosen] = np.where(work.failed[chosen, None] == 0, features, 0)
        work.done = batch.stop
        self._decoded_here += len(outcomes)
        for row in (batch.start + np.flatnonzero(work.failed[chosen])).tolist():
            self.ledger.add(work.rows.paths[row], work.reasons[row])

    def _store(self, work: _Work) -> None:
        self.cache.add(work.rows, work.features, work.failed, work.reasons)
        self._in_hand.remove(work)
        work.claim.done()
        self._saved_at = time.monotonic()

    def _save(self, work: _Work) -> None:
        k = work.done
        work.claim.leave(work.features[:k], work.failed[:k], work.reasons[:k])
        self._saved_at = time.monotonic()

    def _put_down(self) -> None:
        """Ctrl-C, too many failures, a full disk: what is computed is left for whoever goes on."""
        for work in self._in_hand:
            with contextlib.suppress(InputError):  # the reason for stopping is the one to tell
                if work.done:
                    self._save(work)
            work.claim.lock.release(remove=True)
        self._in_hand = []
