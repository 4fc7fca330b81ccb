"""One pass over the missing images: claim a shard, decode its images in threads, run the image tower, store it.

Several processes share the shards of a cache. Batches have a fixed shape, and a failed image leaves its place empty. So
the bytes of a row don't depend on failures of other images, on the process that computed it, or on interruptions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError, NotFinite
from dbpt.features.cache_files import shard_name
from dbpt.features.file_rows import FileRows
from dbpt.features.images import UnreachableImage, UnreadableImage, decoding_threads, pillow_warnings, read_crop
from dbpt.files.lock import OwnedLock

if TYPE_CHECKING:
    from tqdm import tqdm

    from dbpt.features.embed import EmbeddedFiles

LEAST_SHARD_ROWS, MOST_SHARD_ROWS = 512, 16384  # a killed process loses at most one shard of work
SHARDS_OF_A_LIST = 1024
SECONDS_BETWEEN_LOOKS = 10.0  # at the other shards, while waiting for one
PREFETCHED_BATCHES = 2
REACHED, FAILED, UNREACHED = 0, 1, 2
Rows = NDArray[np.int64]


def shard_rows(num_rows: int, batch_size: int) -> int:
    """Return the number of rows in a shard: whole batches, and more for long lists, so that there are about 1024."""
    rows = LEAST_SHARD_ROWS
    while rows < min(MOST_SHARD_ROWS, num_rows / SHARDS_OF_A_LIST):
        rows *= 2
    return -(-rows // batch_size) * batch_size


@dataclass(eq=False)
class _Work:
    """A shard of n rows that this process has claimed."""

    name: str
    rows: FileRows
    claim: OwnedLock
    features: NDArray[Any]  # (n, D)
    outcomes: NDArray[np.uint8]
    reasons: list[str]


@dataclass(eq=False)
class _Batch:
    """Rows ``start`` to ``stop`` of a shard. The task of each row fills its crop in ``pixels``, (B, H, W, 3)."""

    work: _Work
    start: int
    stop: int
    pixels: NDArray[np.uint8]
    tasks: list[Future[tuple[int, str]]]


@dataclass(eq=False)
class EmbeddingPass:
    """Compute features of the files of ``found`` beside other processes, and note failures in ``reasons`` (by path).

    ``first_part`` (number, count) is the part of the shards to begin with.
    """

    found: EmbeddedFiles
    batch_size: int
    first_part: tuple[int, int]
    bar: tqdm
    reasons: dict[str, str]
    _in_hand: list[_Work] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backbone, self.root = self.found.backbone, self.found.root
        self.files, self.cache = self.found.files, self.found.cache

    def run(self, missing: Rows, workers: int | None) -> int:
        """Compute the ``missing`` rows, or wait until others have; return how many images were decoded here."""
        self.cache.prepare_folder()
        size, decoded = shard_rows(len(self.files), self.batch_size), 0
        shards = [missing[start : start + size] for start in range(0, len(missing), size)]
        number, count = self.first_part
        first = number * len(shards) // count
        shards = shards[first:] + shards[:first]
        with pillow_warnings(), decoding_threads(workers) as pool:
            while shards:
                others: list[Rows] = []
                try:
                    for batch in self._decoded(shards, others, pool):
                        self._encode(batch)
                        decoded += batch.stop - batch.start
                        self.bar.update(batch.stop - batch.start)
                        self.found.check_failures(self.reasons)
                        if batch.stop == len(batch.work.rows):
                            self._store(batch.work)
                finally:  # Ctrl-C, too many failures, a full disk: another process can begin these shards again
                    for work in self._in_hand[:]:
                        self._drop(work)
                shards = others
                if shards and (claim := self._claim(shards[0])).wait(SECONDS_BETWEEN_LOOKS):
                    claim.release()
        return decoded

    def _decoded(self, shards: list[Rows], others: list[Rows], pool: ThreadPoolExecutor) -> Iterator[_Batch]:
        """Yield batches in order. Threads decode a few of them ahead of the model, also across shards."""
        import torch

        shape, on_gpu = (self.batch_size, *self.backbone.preprocess.size, 3), self.backbone.device.type == "cuda"
        waiting: deque[_Batch] = deque()
        for work in self._claimed(shards, others):
            for start in range(0, len(work.rows), self.batch_size):
                stop = min(start + self.batch_size, len(work.rows))
                # Copies from pinned memory to a GPU don't block.
                pixels = torch.zeros(shape, dtype=torch.uint8, pin_memory=on_gpu).numpy()
                tasks = [pool.submit(self._decode, work.rows, row, pixels[row - start]) for row in range(start, stop)]
                waiting.append(_Batch(work, start, stop, pixels, tasks))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield waiting.popleft()
        yield from waiting

    def _claimed(self, shards: list[Rows], others: list[Rows]) -> Iterator[_Work]:
        """Claim and yield one shard after another. Shards that another process has claimed go into ``others``."""
        for chosen in shards:
            claim = self._claim(chosen)
            if not claim.take():
                others.append(chosen)
                continue
            name, n = shard_name(self.files.ids[chosen]), len(chosen)
            features = np.zeros((n, self.cache.manifest.embed_dim), self.cache.dtype)
            work = _Work(name, self.files.select(chosen), claim, features, np.zeros(n, np.uint8), [""] * n)
            self._in_hand.append(work)
            self.cache.refresh()  # only now: another process may have finished it just before the claim
            if name in self.cache.names:
                self._drop(work)
                self.bar.update(n)
            else:
                yield work

    def _claim(self, chosen: Rows) -> OwnedLock:
        return self.cache.claim(shard_name(self.files.ids[chosen]))

    def _decode(self, rows: FileRows, row: int, place: NDArray[np.uint8]) -> tuple[int, str]:
        """Fill the place (H, W, 3) of a row; return the outcome and the reason of a failure."""
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
        work.outcomes[chosen], work.reasons[chosen] = zip(*outcomes, strict=True)
        try:
            features = self.backbone.encode_image(batch.pixels).numpy()[: len(outcomes)]
        except NotFinite as error:
            name = work.rows.paths[min(batch.start + error.row, batch.stop - 1)]
            raise InputError(f"{self.root / name}: {error}") from None
        work.features[chosen] = np.where(work.outcomes[chosen, None] == REACHED, features, 0)
        for row in (batch.start + np.flatnonzero(work.outcomes[chosen])).tolist():
            self.reasons[work.rows.paths[row]] = work.reasons[row]

    def _store(self, work: _Work) -> None:
        """Add a shard to the cache. Images that could not be reached are left out and tried again next time."""
        kept = np.flatnonzero(work.outcomes != UNREACHED)
        if len(kept):
            reasons = [work.reasons[row] for row in kept.tolist()]
            failed = (work.outcomes[kept] == FAILED).astype(np.uint8)
            self.cache.add(work.name, work.rows.select(kept), work.features[kept], failed, reasons)
        self._drop(work)

    def _drop(self, work: _Work) -> None:
        self._in_hand.remove(work)
        work.claim.release()
