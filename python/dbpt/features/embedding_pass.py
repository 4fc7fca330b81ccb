"""The pass over the images that the cache does not have: decode in threads, run the image tower, store by shards.

The missing rows, in their order, are cut into shards, and each process claims one after the other. Batches have a fixed
shape, and a failed image leaves its place empty. So the bytes of a row depend neither on which other images failed, nor
on which process computed it, nor on how often that was stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt.errors import InputError, NotFinite
from dbpt.features.file_rows import FileRows
from dbpt.features.images import UnreachableImage, UnreadableImage, decoding_threads, pillow_warnings, read_crop
from dbpt.features.shards import shard_name
from dbpt.files.lock import OwnedLock

if TYPE_CHECKING:
    from dbpt.features.embed import EmbeddedFiles

LEAST_SHARD_ROWS, MOST_SHARD_ROWS = 512, 16384  # a shard is the most work that a kill costs
SHARDS_OF_A_LIST = 1024
SECONDS_BETWEEN_LOOKS = 10.0  # at the other shards, while one is waited for
PREFETCHED_BATCHES = 2
REACHED, FAILED, UNREACHED = 0, 1, 2


class TooManyFailures(InputError):
    """More images have failed than may. ``reasons`` are those by path that are known by then."""

    def __init__(self, line: str, reasons: Mapping[str, str]) -> None:
        super().__init__(line)
        self.reasons = reasons


def check_failures(reasons: Mapping[str, str], num_files: int, max_failures: float) -> None:
    """Raise `TooManyFailures` if ``reasons``, by path, are more than the part ``max_failures`` of all files."""
    if len(reasons) > max_failures * num_files:
        path, reason = next(iter(reasons.items()))
        raise TooManyFailures(
            f"{len(reasons)} of {num_files} images can't be read, more than --max-failures {max_failures:g} allows; "
            f"the first: {path}: {reason}",
            reasons,
        )


def shard_rows(num_rows: int, batch_size: int) -> int:
    """Return the rows of a shard, whole batches: more in a long list, so that it has about 1024 shards."""
    rows = LEAST_SHARD_ROWS
    while rows < min(MOST_SHARD_ROWS, num_rows / SHARDS_OF_A_LIST):
        rows *= 2
    return -(-rows // batch_size) * batch_size


@dataclass(eq=False)
class _Work:
    """A shard that this process has claimed: its n rows, their features (n, D), outcomes (n,) and reasons."""

    name: str
    rows: FileRows
    claim: OwnedLock
    features: NDArray[Any]
    outcomes: NDArray[np.uint8]
    reasons: list[str]


@dataclass(eq=False)
class _Batch:
    """Rows ``start`` to ``stop`` of a shard; a task for each fills the first of the crops (B, H, W, 3)."""

    work: _Work
    start: int
    stop: int
    pixels: NDArray[np.uint8]
    tasks: list[Future[tuple[int, str]]]


class EmbeddingPass:
    """Compute the missing rows of ``found``, together with other processes that do the same.

    Args:
        found: the files of the list, their cache, and the model.
        reasons: why images have failed, by path; each that fails is added.
        batch_size: rows of every batch, the last one padded; no more than there are files.
        first_shard: which part of the shards to begin with, as (number, count) of this process.
    """

    def __init__(
        self, found: EmbeddedFiles, reasons: dict[str, str], *, batch_size: int, first_shard: tuple[int, int]
    ) -> None:
        self.backbone, self.root, self.files, self.cache = found.backbone, found.root, found.files, found.cache
        self.todo, self.max_failures = found.missing, found.max_failures
        self.reasons, self.first_shard = reasons, first_shard
        self.batch_size = min(batch_size, max(1, len(self.files)))
        self.batch_shape = (self.batch_size, *self.backbone.preprocess.size, 3)
        self._in_hand: list[_Work] = []

    def run(self, workers: int | None, bar: tqdm[Any]) -> int:
        """Compute the missing rows, or wait until others have; return how many images were decoded here.

        Images that the system could not read are not stored. Raises `InputError` for too many failures, a full disk.
        """
        self.cache.prepare_folder()
        size, decoded = shard_rows(len(self.files), self.batch_size), 0
        shards = [self.todo[start : start + size] for start in range(0, len(self.todo), size)]
        number, count = self.first_shard
        begin = number * len(shards) // count
        shards = shards[begin:] + shards[:begin]
        with pillow_warnings(), decoding_threads(workers) as pool:
            while shards:
                others: list[NDArray[np.int64]] = []
                try:
                    for batch in self._decoded(shards, others, pool, bar):
                        self._encode(batch)
                        decoded += batch.stop - batch.start
                        bar.update(batch.stop - batch.start)
                        check_failures(self.reasons, len(self.files), self.max_failures)
                        if batch.stop == len(batch.work.rows):
                            self._store(batch.work)
                finally:  # Ctrl-C, too many failures, a full disk: another process begins these shards anew
                    for work in self._in_hand[:]:
                        self._drop(work)
                shards = others
                if shards and (first := self._claim(shards[0])).wait(SECONDS_BETWEEN_LOOKS):
                    first.release()
        return decoded

    def _decoded(
        self,
        shards: Sequence[NDArray[np.int64]],
        others: list[NDArray[np.int64]],
        pool: ThreadPoolExecutor,
        bar: tqdm[Any],
    ) -> Iterator[_Batch]:
        """Yield batches in order, decoded a few ahead of the model, also across shards."""
        waiting: deque[_Batch] = deque()
        for work in self._claimed(shards, others, bar):
            for start in range(0, len(work.rows), self.batch_size):
                stop, pixels = min(start + self.batch_size, len(work.rows)), self._empty_batch()
                tasks = [pool.submit(self._decode, work.rows, row, pixels[row - start]) for row in range(start, stop)]
                waiting.append(_Batch(work, start, stop, pixels, tasks))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield waiting.popleft()
        yield from waiting

    def _claimed(
        self, shards: Sequence[NDArray[np.int64]], others: list[NDArray[np.int64]], bar: tqdm[Any]
    ) -> Iterator[_Work]:
        """Claim one shard after the other; those that another process has go into ``others``."""
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
            if self.cache.has_shard(name):
                self._drop(work)
                bar.update(n)
            else:
                yield work

    def _claim(self, chosen: NDArray[np.int64]) -> OwnedLock:
        return self.cache.claim(shard_name(self.files.ids[chosen]))

    def _empty_batch(self) -> NDArray[np.uint8]:
        if self.backbone.device.type != "cuda":
            return np.zeros(self.batch_shape, dtype=np.uint8)
        import torch

        # in memory that a GPU can fetch from by itself
        pinned: NDArray[np.uint8] = torch.zeros(self.batch_shape, dtype=torch.uint8, pin_memory=True).numpy()
        return pinned

    def _decode(self, rows: FileRows, row: int, place: NDArray[np.uint8]) -> tuple[int, str]:
        """Fill the place (H, W, 3) of a row; return the outcome, and why it failed."""
        as_found = int(rows.sizes[row]), int(rows.mtimes_ns[row])
        try:
            read_crop(self.root / rows.paths[row], self.backbone.preprocess.crop, place, size_and_mtime=as_found)
        except UnreachableImage as error:
            return UNREACHED, str(error)
        except UnreadableImage as error:
            return FAILED, str(error)
        return REACHED, ""

    def _encode(self, batch: _Batch) -> None:
        outcomes = [task.result() for task in batch.tasks]
        work, chosen = batch.work, slice(batch.start, batch.stop)
        work.outcomes[chosen] = [outcome for outcome, _ in outcomes]
        work.reasons[chosen] = [reason for _, reason in outcomes]
        try:
            features = self.backbone.encode_image(batch.pixels).numpy()[: len(outcomes)]
        except NotFinite as error:
            name = work.rows.paths[min(batch.start + error.row, batch.stop - 1)]
            raise InputError(f"{self.root / name}: {error}") from None
        work.features[chosen] = np.where(work.outcomes[chosen, None] == REACHED, features, 0)
        for row in (batch.start + np.flatnonzero(work.outcomes[chosen])).tolist():
            self.reasons[work.rows.paths[row]] = work.reasons[row]

    def _store(self, work: _Work) -> None:
        """Add a shard to the cache, without images that could not be reached: they are tried again the next time."""
        kept = np.flatnonzero(work.outcomes != UNREACHED)
        if len(kept):
            reasons = [work.reasons[row] for row in kept.tolist()]
            failed = (work.outcomes[kept] == FAILED).astype(np.uint8)
            self.cache.add(work.name, work.rows.select(kept), work.features[kept], failed, reasons)
        self._drop(work)

    def _drop(self, work: _Work) -> None:
        self._in_hand.remove(work)
        work.claim.release()
