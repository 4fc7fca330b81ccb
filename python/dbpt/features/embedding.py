"""One pass of the frozen image tower over each image: what must be embedded, and the pass itself."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.arguments import check_backbone, integer, probability
from dbpt.data.features_from_file import MAX_FAILURES
from dbpt.data.stored_features import StoredFeatures
from dbpt.environment import launched_rank, launched_size, progress_bar
from dbpt.errors import InputError, NotFinite, in_digits
from dbpt.features.cache import REACHED, FeatureCache, outcome_of
from dbpt.features.cache_files import shard_name, shard_rows
from dbpt.features.cache_keys import FileRows, look_up_files
from dbpt.features.images import decoding_threads, pillow_warnings, read_crop
from dbpt.features.measurements import MeasuredRows, MeasurementCache
from dbpt.storage.locks import OwnedLock

if TYPE_CHECKING:
    from tqdm import tqdm

    from dbpt.clip import Backbone


ATTEMPTS = 3  # passes; more than one if another process could not reach some images


@dataclass(frozen=True)
class Failure:
    """An image that could not be read.

    Attributes:
        row: its number in the list, from 0.
        path: its path, as in the list.
        reason: one line.
    """

    row: int
    path: str
    reason: str


@dataclass(frozen=True)
class Embeddings:
    """Features in the order of the given paths.

    Attributes:
        features: (N, D) float32, rows of length 1; zero if the image failed.
        ok: (N,) bool, False if the image failed.
        failures: an entry for each image that failed, in order.
        recomputed: the number of images that this call decoded, including failed ones; 0 for a warm cache.
    """

    features: NDArray[np.float32]
    ok: NDArray[np.bool_]
    failures: tuple[Failure, ...]
    recomputed: int


def embed_images(
    backbone: "Backbone",
    root: Path,
    paths: Sequence[str],
    *,
    cache_dir: Path,
    batch_size: int = 128,
    num_workers: int | None = None,
    max_failures: float = MAX_FAILURES,
) -> Embeddings:
    """Return the features of images from the cache, and compute those that are missing with the frozen image tower.

    The cache identifies features by encoder (`Backbone.encoder_key`), root, path, size and modification time, so only
    new and changed images are computed. Processes that embed into one cache at the same time share the work.

    Args:
        backbone: the frozen CLIP.
        root: the folder that the paths are relative to.
        paths: (N,) image files; a path may occur more than once.
        cache_dir: folder of the feature cache; created if necessary.
        batch_size: images per forward pass. Features differ in the last digits with it.
        num_workers: decoding threads; by default this process's share of the processors, at most 16.
        max_failures: fraction of the images that may be unreadable. Features computed until then are stored.

    Returns:
        Features, and the images that failed.

    Raises:
        InputError: for wrong arguments, a cache that can't be used, and damaged weights.
        TooManyFailures: if more images fail than ``max_failures`` allows.
    """
    check_backbone(backbone)
    batch_size = integer("batch_size", batch_size, 1)
    num_workers = None if num_workers is None else integer("num_workers", num_workers, 1)
    max_failures = probability("max_failures", max_failures)
    files = EmbeddedFiles(backbone, root, paths, cache_dir, max_failures=max_failures)
    recomputed = files.complete(batch_size=batch_size, num_workers=num_workers)
    failures, ok = files.failures(), np.ones(len(paths), dtype=np.bool_)
    ok[[failure.row for failure in failures]] = False
    return Embeddings(files.features()[:], ok, failures, recomputed)


class TooManyFailures(InputError):
    """More images have failed than ``max_failures`` allows.

    Args:
        line: the message.
        reasons: those known so far, by path.
    """

    def __init__(self, line: str, reasons: Mapping[str, str]) -> None:
        super().__init__(line)
        self.reasons = reasons


class EmbeddedFiles:
    """The files of a list, as they are on disk, and the cache of this encoder and root.

    ``positions`` (N,) int64 are their rows in ``cache``, -1 if it has none. ``missing`` are the rows of the list to
    compute, in order, with each file once.

    Args:
        backbone, root, paths, cache_dir, max_failures: as in `embed_images`.
        measure: whether to measure images too that are decoded for features, for `measure_files`.
    """

    def __init__(
        self,
        backbone: "Backbone",
        root: Path,
        paths: Sequence[str],
        cache_dir: Path,
        *,
        max_failures: float,
        measure: bool = False,
    ) -> None:
        self.backbone, self.max_failures = backbone, max_failures
        self.root = Path(os.path.realpath(root))  # Path.resolve raises for circular links
        self.cache = FeatureCache(Path(cache_dir), backbone.encoder_key, self.root, backbone.embed_dim)
        self.measurements = MeasurementCache(Path(cache_dir), self.root) if measure else None
        self.files = look_up_files(self.root, paths)
        self._unreached: dict[str, str] = {}
        self._find()

    def _find(self) -> None:
        self.positions = self.cache.find(self.files.ids)
        self.positions[list(self.files.errors)] = -1
        first = self.files.missing(self.positions)
        self.missing = first[[self.files.paths[row] not in self._unreached for row in first.tolist()]]

    def features(self) -> StoredFeatures:
        """Return the features (N, D), which stay in the cache; zero for rows without any."""
        return self.cache.features(self.positions)

    def failures(self) -> tuple[Failure, ...]:
        """Return the rows without features, in order, each with its reason."""
        rows = np.flatnonzero(self.cache.failed(self.positions))
        reasons = dict(zip(rows.tolist(), self.cache.reasons(self.positions[rows]), strict=True)) | self.files.errors
        for row in np.flatnonzero(self.positions < 0).tolist():
            if (path := self.files.paths[row]) in self._unreached:
                reasons.setdefault(row, self._unreached[path])
        return tuple(Failure(row, self.files.paths[row], reasons[row]) for row in sorted(reasons))

    def complete(self, *, batch_size: int, num_workers: int | None = None) -> int:
        """Compute the missing features.

        Args:
            batch_size: images per forward pass.
            num_workers: decoding threads, as in `embed_images`.

        Returns:
            The number of images that were decoded here.

        Raises:
            TooManyFailures: if more images fail than ``max_failures`` allows.
        """
        reasons, decoded = self._known_reasons(), 0
        if len(self.missing):
            with progress_bar("embedding", "img", total=len(self.missing)) as bar:
                embedding = EmbeddingPass(self, min(batch_size, len(self.files)), bar, reasons)
                for _ in range(ATTEMPTS):
                    decoded += embedding.run(self.missing, num_workers)
                    self._unreached |= reasons
                    self.cache.refresh()
                    self._find()
                    if not len(self.missing):
                        break
                else:
                    raise InputError(f"{self.cache.folder}: was deleted while it was in use; start again")
            self._known_reasons()  # including those that other processes found
        self.cache.clear_up()
        return decoded

    def _known_reasons(self) -> dict[str, str]:
        reasons = {failure.path: failure.reason for failure in self.failures()}
        self.check_failures(reasons)
        return reasons

    def check_failures(self, reasons: Mapping[str, str]) -> None:
        """Refuse too many failures.

        Args:
            reasons: why images failed, by path.

        Raises:
            TooManyFailures: if there are more than ``max_failures`` allows.
        """
        if len(reasons) > self.max_failures * len(self.files):
            path, reason = next(iter(reasons.items()))
            problem = f"{len(reasons)} of {len(self.files)} images can't be read"
            allowed = f"more than --max-failures {in_digits(self.max_failures)} allows"
            way_out = "dbpt data check lists all"
            if len(reasons) == len(self.files):
                way_out += "; if the paths are relative to another folder, name it with --root"
            raise TooManyFailures(f"{problem}, {allowed}; the first: {path}: {reason}; {way_out}", reasons)


SECONDS_BETWEEN_LOOKS = 10.0  # at the other shards, while waiting for one
PREFETCHED_BATCHES = 2
Rows = NDArray[np.int64]


@dataclass(eq=False)
class _Work:
    """A shard of n rows that this process has claimed."""

    name: str
    rows: FileRows
    claim: OwnedLock
    features: NDArray[Any]  # (n, D)
    outcomes: NDArray[np.uint8]
    reasons: list[str]
    measured: MeasuredRows | None = None


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
    """Compute features of the files of ``embedded`` beside other processes; note failures in ``reasons``, by path."""

    embedded: EmbeddedFiles
    batch_size: int
    bar: "tqdm"
    reasons: dict[str, str]
    _in_hand: list[_Work] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backbone, self.root = self.embedded.backbone, self.embedded.root
        self.files, self.cache = self.embedded.files, self.embedded.cache
        if self.embedded.measurements is not None:
            self.is_unmeasured = self.embedded.measurements.find(self.files.ids) < 0

    def run(self, missing: Rows, workers: int | None) -> int:
        """Compute the ``missing`` rows, or wait until others have; return how many images were decoded here."""
        self.cache.prepare_folder()
        size, decoded = shard_rows(len(self.files), self.batch_size), 0
        shards = [missing[start : start + size] for start in range(0, len(missing), size)]
        # Each process begins at another shard, so that they seldom compete for one.
        first = launched_rank() * len(shards) // launched_size()
        shards = shards[first:] + shards[:first]
        with pillow_warnings(), decoding_threads(workers) as pool:
            while shards:
                others: list[Rows] = []
                try:
                    for batch in self._decoded(shards, others, pool):
                        self._encode(batch)
                        decoded += batch.stop - batch.start
                        self.bar.update(batch.stop - batch.start)
                        self.embedded.check_failures(self.reasons)
                        if batch.stop == len(batch.work.rows):
                            self._store(batch.work)
                finally:  # Ctrl-C, too many failures, a full disk: another process can begin these shards again
                    for work in self._in_hand[:]:
                        self._drop(work)
                shards = others
                # Wait for one of them, but not for long, as another may be free before.
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
                # Always a full batch: the last digits of features depend on the shape of the batch.
                pixels = torch.zeros(shape, dtype=torch.uint8, pin_memory=on_gpu).numpy()
                tasks = [pool.submit(self._decode, work, row, pixels[row - start]) for row in range(start, stop)]
                waiting.append(_Batch(work, start, stop, pixels, tasks))
                if len(waiting) > PREFETCHED_BATCHES:
                    yield waiting.popleft()
        yield from waiting

    def _claimed(self, shards: list[Rows], others: list[Rows]) -> Iterator[_Work]:
        """Claim and yield one shard after another. Shards that another process has claimed go into ``others``."""
        for rows in shards:
            claim = self._claim(rows)
            if not claim.take():
                others.append(rows)
                continue
            name, n = shard_name(self.files.ids[rows]), len(rows)
            features = np.zeros((n, self.cache.manifest.embed_dim), self.cache.dtype)
            work = _Work(name, self.files.select(rows), claim, features, np.zeros(n, np.uint8), [""] * n)
            self._in_hand.append(work)
            self.cache.refresh()  # only now: another process may have finished it just before the claim
            if name in self.cache.names:
                self._drop(work)
                self.bar.update(n)
                continue
            if self.embedded.measurements is not None:
                work.measured = self.embedded.measurements.begin(work.rows, self.is_unmeasured[rows])
            yield work

    def _claim(self, rows: Rows) -> OwnedLock:
        return self.cache.claim(shard_name(self.files.ids[rows]))

    def _decode(self, work: _Work, row: int, pixels: NDArray[np.uint8]) -> tuple[int, str]:
        """Fill the place (H, W, 3) of a row; return the outcome and the reason of a failure."""
        look = None if work.measured is None else work.measured.look(row)
        crop = self.backbone.preprocess.crop
        as_found = work.rows.size_and_mtime(row)
        return outcome_of(
            lambda: read_crop(self.root / work.rows.paths[row], crop, pixels, size_and_mtime=as_found, look=look)
        )

    def _encode(self, batch: _Batch) -> None:
        outcomes = [task.result() for task in batch.tasks]
        work, rows = batch.work, slice(batch.start, batch.stop)
        work.outcomes[rows], work.reasons[rows] = zip(*outcomes, strict=True)
        try:
            # The last batch of a shard is filled up with black images, whose features are cut off.
            features = self.backbone.encode_image(batch.pixels).numpy()[: len(outcomes)]
        except NotFinite as error:
            # The row can be one of those that only fill the last batch.
            name = work.rows.paths[min(batch.start + error.row, batch.stop - 1)]
            raise InputError(f"{self.root / name}: {error}") from None
        work.features[rows] = np.where(work.outcomes[rows, None] == REACHED, features, 0)
        for row in (batch.start + np.flatnonzero(work.outcomes[rows])).tolist():
            self.reasons[work.rows.paths[row]] = work.reasons[row]

    def _store(self, work: _Work) -> None:
        # Before the features: if they are stored, nothing decodes these images for features again.
        if work.measured is not None:
            work.measured.store(work.outcomes, work.reasons)
        self.cache.add(work.name, work.rows, work.features, work.outcomes, work.reasons)
        self._drop(work)

    def _drop(self, work: _Work) -> None:
        self._in_hand.remove(work)
        work.claim.release()
