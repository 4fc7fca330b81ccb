"""`embed_images`: features of a list of images, from the cache where it has them.

An image goes from `EmbeddedFiles.complete` through `EmbeddingPass.run` to `FeatureCache.add`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt.arguments import integer
from dbpt.errors import InputError
from dbpt.features.cache import FeatureCache
from dbpt.features.embedding_pass import EmbeddingPass, check_failures
from dbpt.features.file_rows import FileRows, look_up_files

if TYPE_CHECKING:
    from dbpt.clip import Backbone

ATTEMPTS = 3  # a second pass for what another process could not reach
UNREACHED = "could not be read"


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
    by_content: bool = False,
    progress: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> Embeddings:
    """Embed images with the frozen image tower, or take them from the cache.

    The cache holds features by encoder (`Backbone.encoder_key`) and root, and rows by path, size and modification time:
    only new and changed images are computed. A second call gives the same bytes. Processes that embed into one cache at
    the same time share the work.

    Args:
        backbone: the frozen model.
        root: folder that `paths` are relative to.
        paths: (N,) image files; a path may occur more than once.
        cache_dir: folder of the feature cache, made if it isn't there.
        batch_size: rows of every batch, the last one padded.
        num_workers: decoding threads; by default as many as this process has processors for itself, at most 16.
        max_failures: fraction of the images that may be unreadable.
        by_content: identify rows by the content of their files, which are all read, instead of path, size and time;
            then files that were moved or touched are found again.
        progress: show a bar with rate and remaining time on standard error, if that is a terminal.
        log: gets a line when this process waits for another.

    Raises:
        InputError: if more than `max_failures` can't be read (after storing what was computed), the disk is full, or
            an argument is out of range.
    """
    batch_size = integer("batch_size", batch_size, 1)
    num_workers = None if num_workers is None else integer("num_workers", num_workers, 1)
    if not 0 <= max_failures <= 1:
        raise InputError(f"max_failures is {max_failures}; expected a fraction from 0 to 1")
    found = EmbeddedFiles(backbone, root, paths, cache_dir, max_failures=max_failures, by_content=by_content)
    recomputed = found.complete(batch_size=batch_size, num_workers=num_workers, progress=progress, log=log)
    failures = found.failures()
    ok = np.ones(len(paths), dtype=np.bool_)
    ok[[failure.row for failure in failures]] = False
    return Embeddings(found.cache.read(found.places), ok, failures, recomputed)


class EmbeddedFiles:
    """The files of a list, and the place of each one's features in the cache.

    Attributes:
        files: as the disk has them.
        cache: the cache of this encoder and root.
        places: (N,) int64, the row of ``cache``, -1 where there is none.
        missing: rows to compute, in order, no file twice.
    """

    def __init__(
        self,
        backbone: Backbone,
        root: Path,
        paths: Sequence[str],
        cache_dir: Path,
        *,
        max_failures: float,
        by_content: bool,
    ) -> None:
        self.backbone, self.max_failures = backbone, max_failures
        self.root = Path(os.path.realpath(root))  # Path.resolve raises on a link that leads to itself
        key_root = None if by_content else self.root
        self.cache = FeatureCache(Path(cache_dir), backbone.encoder_key, key_root, backbone.embed_dim)
        self.files: FileRows = look_up_files(self.root, paths, by_content=by_content)
        self._unreached: dict[str, str] = {}
        self._is_complete = False
        self._find()

    def _find(self) -> None:
        self.places = self.cache.find(self.files.ids)
        errors = list(self.files.errors)
        self.places[errors] = -1
        absent = self.places < 0
        absent[errors] = False
        rows = np.flatnonzero(absent)
        first = rows[np.sort(np.unique(self.files.ids[rows], axis=0, return_index=True)[1])]
        self.missing = first[[self.files.paths[row] not in self._unreached for row in first.tolist()]]

    def failures(self) -> tuple[Failure, ...]:
        """Return the rows that have no features, in order, each with its reason."""
        rows = np.flatnonzero(self.cache.failed(self.places))
        reasons = dict(zip(rows.tolist(), self.cache.reasons(self.places[rows]), strict=True)) | self.files.errors
        for row in np.flatnonzero(self.places < 0).tolist() if self._is_complete else ():
            reasons.setdefault(row, self._unreached.get(self.files.paths[row], UNREACHED))
        return tuple(Failure(row, self.files.paths[row], reasons[row]) for row in sorted(reasons))

    def complete(
        self,
        *,
        batch_size: int,
        num_workers: int | None = None,
        progress: bool = True,
        first_shard: tuple[int, int] = (0, 1),
        log: Callable[[str], None] = lambda line: None,
    ) -> int:
        """Compute what is missing; return how many images were decoded here.

        Raises `InputError` as `embed_images` does.
        """
        reasons, decoded = self._checked_failures(), 0
        if len(self.missing):
            self.cache.say = lru_cache(None)(log)  # each line once
            with tqdm(total=len(self.missing), desc="embedding", unit="img", disable=None if progress else True) as bar:
                for _ in range(ATTEMPTS):
                    work = EmbeddingPass(self, reasons, batch_size=batch_size, first_shard=first_shard)
                    decoded += work.run(num_workers, bar)
                    self._unreached |= reasons
                    self.cache.refresh()
                    self._find()
                    if not len(self.missing):
                        break
                else:
                    raise InputError(f"{self.cache.folder}: was deleted while it was in use; start again, from nothing")
            self._is_complete = True
            self._checked_failures()  # with what other processes have found
        self.cache.clear_up()
        return decoded

    def _checked_failures(self) -> dict[str, str]:
        """Return the known reasons by path. Raises `TooManyFailures`."""
        reasons = {failure.path: failure.reason for failure in self.failures()}
        check_failures(reasons, len(self.files), self.max_failures)
        return reasons
