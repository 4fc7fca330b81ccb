"""`embed_images`: features of a list of images, from the cache as far as it has them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.arguments import integer
from dbpt.data.progress import progress_bar
from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError
from dbpt.features.cache import FeatureCache
from dbpt.features.embedding_pass import EmbeddingPass
from dbpt.features.file_rows import look_up_files

if TYPE_CHECKING:
    from dbpt.clip import Backbone

ATTEMPTS = 3  # passes; more than one if another process could not reach some images


@dataclass(frozen=True)
class Failure:
    """An image that could not be read: its row in the list, its path, and the reason."""

    row: int
    path: str
    reason: str


@dataclass(frozen=True)
class Embeddings:
    """Features in the order of the given paths."""

    features: NDArray[np.float32]  # (N, D), rows of length 1; zero if the image failed
    ok: NDArray[np.bool_]  # (N,), False if the image failed
    failures: tuple[Failure, ...]
    recomputed: int  # number of images that this call decoded, including failed ones; 0 for a warm cache


def embed_images(
    backbone: Backbone,
    root: Path,
    paths: Sequence[str],
    *,
    cache_dir: Path,
    batch_size: int = 128,
    num_workers: int | None = None,
    max_failures: float = 0.01,
) -> Embeddings:
    """Return the features of images from the cache, and compute those that are missing with the frozen image tower.

    The cache identifies features by encoder (`Backbone.encoder_key`), root, path, size and modification time, so only
    new and changed images are computed. Processes that embed into one cache at the same time share the work.

    Args:
        paths: (N,) image files relative to ``root``; a path may occur more than once.
        cache_dir: folder of the feature cache; created if necessary.
        num_workers: decoding threads; by default this process's share of the processors, at most 16.
        max_failures: fraction of the images that may be unreadable. Features computed until then are stored.
    """
    batch_size = integer("batch_size", batch_size, 1)
    num_workers = None if num_workers is None else integer("num_workers", num_workers, 1)
    if not 0 <= max_failures <= 1:
        raise InputError(f"max_failures is {max_failures}; expected a fraction from 0 to 1")
    found = EmbeddedFiles(backbone, root, paths, cache_dir, max_failures=max_failures)
    recomputed = found.complete(batch_size=batch_size, num_workers=num_workers)
    failures, ok = found.failures(), np.ones(len(paths), dtype=np.bool_)
    ok[[failure.row for failure in failures]] = False
    return Embeddings(found.features()[:], ok, failures, recomputed)


class TooManyFailures(InputError):
    """More images have failed than ``max_failures`` allows. ``reasons`` are those known so far, by path."""

    def __init__(self, line: str, reasons: Mapping[str, str]) -> None:
        super().__init__(line)
        self.reasons = reasons


class EmbeddedFiles:
    """The files of a list, as they are on disk, and the cache of this encoder and root.

    ``places`` (N,) int64 are their rows in ``cache``, -1 if it has none. ``missing`` are the rows of the list to
    compute, in order, with each file once.
    """

    def __init__(
        self, backbone: Backbone, root: Path, paths: Sequence[str], cache_dir: Path, *, max_failures: float
    ) -> None:
        self.backbone, self.max_failures = backbone, max_failures
        self.root = Path(os.path.realpath(root))  # Path.resolve raises for circular links
        self.cache = FeatureCache(Path(cache_dir), backbone.encoder_key, self.root, backbone.embed_dim)
        self.files = look_up_files(self.root, paths)
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

    def features(self) -> StoredFeatures:
        """Return the features (N, D), which stay in the cache; zero for rows without any."""
        return StoredFeatures(self.cache.read, self.places, self.backbone.embed_dim)

    def failures(self) -> tuple[Failure, ...]:
        """Return the rows without features, in order, each with its reason."""
        rows = np.flatnonzero(self.cache.failed(self.places))
        reasons = dict(zip(rows.tolist(), self.cache.reasons(self.places[rows]), strict=True)) | self.files.errors
        for row in np.flatnonzero(self.places < 0).tolist() if self._is_complete else ():
            reasons.setdefault(row, self._unreached.get(self.files.paths[row], "could not be read"))
        return tuple(Failure(row, self.files.paths[row], reasons[row]) for row in sorted(reasons))

    def complete(self, *, batch_size: int, num_workers: int | None = None, first_part: tuple[int, int] = (0, 1)) -> int:
        """Compute the missing features; return how many images were decoded here.

        ``first_part`` (number, count) is the part to begin with, another one for each of several processes.
        """
        reasons, decoded = self._known_reasons(), 0
        if len(self.missing):
            with progress_bar("embedding", "img", total=len(self.missing)) as bar:
                embedding = EmbeddingPass(self, min(batch_size, len(self.files)), first_part, bar, reasons)
                for _ in range(ATTEMPTS):
                    decoded += embedding.run(self.missing, num_workers)
                    self._unreached |= reasons
                    self.cache.refresh()
                    self._find()
                    if not len(self.missing):
                        break
                else:
                    raise InputError(f"{self.cache.folder}: was deleted while it was in use; start again, from nothing")
            self._is_complete = True
            self._known_reasons()  # including those that other processes found
        self.cache.clear_up()
        return decoded

    def _known_reasons(self) -> dict[str, str]:
        reasons = {failure.path: failure.reason for failure in self.failures()}
        self.check_failures(reasons)
        return reasons

    def check_failures(self, reasons: Mapping[str, str]) -> None:
        """Raise `TooManyFailures` if there are too many ``reasons`` (by path)."""
        if len(reasons) > self.max_failures * len(self.files):
            path, reason = next(iter(reasons.items()))
            raise TooManyFailures(
                f"{len(reasons)} of {len(self.files)} images can't be read, more than --max-failures "
                f"{self.max_failures:g} allows; the first: {path}: {reason}",
                reasons,
            )
