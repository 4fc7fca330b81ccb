"""The feature cache on disk: a folder for each encoder and root, with .safetensors shards and a manifest.

``cache_files.py`` describes its files. A process that computes a shard holds ``claims/<name of the shard>.lock``.

A shard counts only if the manifest, which is written last, lists it. Shards and manifest are written under a lock. So a
process that holds the lock may delete temporary files and unlisted shards: the process that wrote them has died. The
bytes depend only on the rows, not on the process that computed a shard, the order of shards, or interruptions.

Features are used only if the SHA-256 of their shard matches the manifest; each process checks it when it first reads
features from a shard. Row ids need no check: a file with a wrong one is not found, and is embedded again. Symbolic
links in such a folder are not followed.
"""

import errno
import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError
from dbpt.features import cache_files, cache_keys
from dbpt.features.images import UnreachableImage, UnreadableImage
from dbpt.storage.files import file_sha256, sync_folder, system_errors, write_atomically
from dbpt.storage.locks import OWNER, OwnedLock
from dbpt.storage.row_files import RowsFile

logger = logging.getLogger(__name__)
_log_once = lru_cache(logger.info)  # the manifest is read many times

CLAIMS = "claims"
REACHED, FAILED, UNREACHED = 0, 1, 2
"""What came of reading an image. The cache remembers failed ones; those that were not reached are tried again."""
CLAIM_NAME = re.compile(r"[0-9a-f]{32}\.lock(\.owner)?")


def outcome_of(read: Callable[[], object]) -> tuple[int, str]:
    """Read an image; return the outcome, and the reason of a failure."""
    try:
        read()
    except UnreachableImage as error:
        return UNREACHED, str(error)
    except UnreadableImage as error:
        return FAILED, str(error)
    return REACHED, ""


class FeatureCache:
    """Features of one encoder (`Backbone.encoder_key`) and root, as the manifest listed them at the last `refresh`.

    Rows are numbered across the shards in the order of the manifest; `find` returns the row of a file. The constructor
    reads only the manifest, the first `find` row ids, and `read` features. Reading takes no lock and writes nothing.
    """

    def __init__(self, cache_dir: Path, encoder: Mapping[str, Any], root: Path, embed_dim: int) -> None:
        self.folder = Path(cache_dir) / cache_keys.folder_name(encoder, os.fspath(root))
        self.dtype = cache_files.STORED_AS[encoder["dtype"]]
        self.manifest = cache_files.Manifest(dict(encoder), os.fspath(root), embed_dim)
        self._seen: tuple[int, int, int] | None = None
        self._inode: int | None = None
        self._checked: set[cache_files.ShardEntry] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the manifest again, which other processes may have changed."""
        seen = None
        with suppress(OSError, ValueError):
            status = (self.folder / cache_files.MANIFEST).stat()
            # The inode tells replaced manifests apart even where the clock of the file system is coarse.
            seen = status.st_ino, status.st_size, status.st_mtime_ns
        if seen is not None and seen == self._seen:
            return
        self.manifest, self._seen = self._read_manifest(), seen
        self._ends = np.cumsum([entry.rows for entry in self.manifest.shards], dtype=np.int64)
        self.names = {entry.name for entry in self.manifest.shards}
        self._index: tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.bool_]] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def find(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the rows (N,) of ids (N, 2); -1 for unknown ids."""
        stored, rows, _ = self._ids()
        if not len(rows):
            return np.full(len(ids), -1, dtype=np.int64)
        # Among ten million images, two have the same first half with a probability of 3e-6.
        at = np.minimum(np.searchsorted(stored[:, 0], ids[:, 0]), len(rows) - 1)
        return np.where((stored[at] == ids).all(axis=1), rows[at], -1)

    def failed(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for each row whether its image failed; False for row -1."""
        # Row -1 reads the value that is appended.
        return np.append(self._ids()[2], False)[rows]

    def reasons(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the reason for each of ``rows`` whose image failed, "" for the others."""
        reasons, numbers = [""] * len(rows), np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(numbers[rows >= 0]).tolist():
            entry = self.manifest.shards[number]
            of_shard, first = self._open(entry).reasons, int(self._ends[number]) - entry.rows
            for position in np.flatnonzero((numbers == number) & (rows >= 0)).tolist():
                reasons[position] = of_shard[rows[position] - first]
        return reasons

    def features(self, rows: NDArray[np.int64], *, check: bool = True) -> StoredFeatures:
        """Return the features (len(rows), D), which stay in the shards; zero for row -1 and for failed images.

        Without ``check`` of the checksums, nothing but the rows that are asked for is read.
        """
        parts = [_ShardRows(self, entry, check) for entry in self.manifest.shards]
        return StoredFeatures(parts, rows, self.manifest.embed_dim)

    def read(self, rows: NDArray[np.int64], *, check: bool = True) -> NDArray[np.float32]:
        """Return the `features` of ``rows``, in memory."""
        return self.features(rows, check=check)[:]

    def open_shard(self, entry: cache_files.ShardEntry, *, check: bool) -> RowsFile:
        """Return the features of a shard, after a ``check`` of its checksum."""
        with self._errors_of(entry):
            if check and entry not in self._checked:
                if file_sha256(self.folder / entry.name, follow=False) != entry.sha256:
                    raise cache_files.DamagedShard("its checksum differs from the manifest's")
                self._checked.add(entry)
            return self._open(entry).features

    def claim(self, name: str) -> OwnedLock:
        """Return the lock for computing a shard, which is released if its owner dies."""
        return OwnedLock((self.folder / CLAIMS / name).with_suffix(".lock"), f"shard {name[:8]}")

    def add(
        self,
        name: str,
        rows: cache_keys.FileRows,
        features: NDArray[Any],
        outcomes: NDArray[np.uint8],
        reasons: Sequence[str],
    ) -> None:
        """Store n rows as the shard ``name``, but for those that could not be reached; do nothing without any others.

        Args:
            name: of the shard, by its rows.
            rows: the files.
            features: (n, D), zero for failed images.
            outcomes: (n,) of reading them.
            reasons: (n,) of failures.
        """
        kept = np.flatnonzero(outcomes != UNREACHED)
        if not len(kept):
            return
        self.prepare_folder()
        rows, failed = rows.select(kept), outcomes[kept] == FAILED
        stored, reasons = features[kept].astype(self.dtype, copy=False), [reasons[row] for row in kept.tolist()]
        content = cache_files.shard_bytes(rows, stored, failed.astype(np.uint8), reasons)
        digest = hashlib.sha256(content).hexdigest()
        entry = cache_files.ShardEntry(name, len(rows), int(failed.sum()), len(content), digest)
        file, unreadable = self.folder / name, f"{self.folder}: cannot read back what was written"
        with system_errors(unreadable, "start again"), OwnedLock(self.folder / "lock", "the feature cache"):
            manifest = self._read_manifest()
            for leftover in leftovers(self.folder, {one.name for one in manifest.shards}):
                with suppress(OSError):  # leftovers do no harm
                    leftover.unlink()
            # The shard before the manifest: one that no manifest lists does no harm, the reverse would.
            write_atomically(file, content)
            if file_sha256(file) != digest:
                raise InputError(f"{file}: the disk returned other bytes than were written; choose another folder")
            others = (one for one in manifest.shards if one.name != name)
            cache_files.write_manifest(self.folder, replace(manifest, shards=(*others, entry)))
            sync_folder(self.folder)
        self.refresh()

    def clear_up(self) -> None:
        """Delete the claims of processes that died; do nothing in a read-only cache."""
        with suppress(InputError, OSError):
            for file in () if self.folder.is_symlink() else lock_files(self.folder):
                if os.path.lexists(file) and (lock := OwnedLock(file, "the feature cache")).take():
                    lock.release()

    def prepare_folder(self) -> None:
        """Create the folder. Raises `InputError` if that fails, or if the folder has been replaced during use.

        Rows lost with the folder would come into other shards than in a run without interruption.
        """
        with system_errors(f"{self.folder}: cannot make the feature cache", "choose another folder with --cache"):
            if self._inode is None:
                (self.folder / CLAIMS).mkdir(parents=True, exist_ok=True)
                self._inode = self.folder.stat().st_ino
            if self.folder.is_symlink() or (self.folder / CLAIMS).is_symlink():
                raise OSError(errno.ELOOP, "it is a symbolic link")
            if not self.folder.exists() or self._inode != self.folder.stat().st_ino:
                raise InputError(f"{self.folder}: was deleted while it was in use; start again")

    def _read_manifest(self) -> cache_files.Manifest:
        stored = cache_files.read_manifest(self.folder)
        if stored is None:
            return replace(self.manifest, shards=())
        if replace(stored, shards=()) != replace(self.manifest, shards=()):
            differing = ", ".join(cache_files.differences(self.manifest, stored))
            file = self.folder / cache_files.MANIFEST
            raise InputError(f"{file}: the features come from another encoder ({differing}); delete this folder")
        return replace(stored, shards=tuple(entry for entry in stored.shards if self._is_whole(entry)))

    def _is_whole(self, entry: cache_files.ShardEntry) -> bool:
        with self._errors_of(entry):
            size = size_of(f"{self.folder}/{entry.name}")
        if size != entry.bytes:
            _log_once(
                f"{self.folder / entry.name}: {'missing' if size is None else f'{size} bytes'} instead of "
                f"{entry.bytes} bytes; its {entry.rows} images are {self.manifest.verb} again"
            )
        return size == entry.bytes

    def _ids(self) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return all ids in sorted order, the row of each; and for each row whether it failed."""
        if self._index is None:
            ids, failed = np.empty((len(self), 2), np.uint64), np.empty(len(self), np.uint8)
            for entry, end in zip(self.manifest.shards, self._ends.tolist(), strict=True):
                shard, rows = self._open(entry), slice(end - entry.rows, end)
                ids[rows], failed[rows] = shard.tensor("row_ids"), shard.tensor("failed")
            order = np.argsort(ids[:, 0], kind="stable")
            self._index = ids[order], order, failed != 0
        return self._index

    def _open(self, entry: cache_files.ShardEntry) -> cache_files.Shard:
        with self._errors_of(entry):
            return cache_files.Shard(self.folder / entry.name, entry.rows, self.manifest.embed_dim, self.dtype)

    @contextmanager
    def _errors_of(self, entry: cache_files.ShardEntry) -> Iterator[None]:
        file = self.folder / entry.name
        with system_errors(f"{file}: cannot be read", cache_files.UNREADABLE):
            try:
                yield
            except cache_files.DamagedShard as error:
                hint = f"delete it; its images are then {self.manifest.verb} again"
                raise InputError(f"{file}: damaged feature shard ({error}); {hint}") from None


class _ShardRows:
    """The rows of a shard, which is opened when the first are read."""

    def __init__(self, cache: FeatureCache, entry: cache_files.ShardEntry, check: bool) -> None:
        self._open = partial(cache.open_shard, entry, check=check)
        self.shape, self.dtype = (entry.rows, cache.manifest.embed_dim), cache.dtype
        self._rows: RowsFile | None = None

    def read(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read ``rows`` into ``out``."""
        self._rows = self._rows or self._open()
        self._rows.read(rows, out)

    def for_other_processes(self) -> RowsFile:
        """Return the opened shard."""
        return self._open().for_other_processes()


def read_features(cache: str | Path, rows: Sequence[str] | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
    """Read the features of some images from a feature cache, without reading those of others.

    Checksums are not compared, as this would read whole shards; ``dbpt cache verify`` does so.

    Args:
        cache: the folder of one cache, ``CACHE/features/KEY``, as ``dbpt cache list`` shows it.
        rows: n paths of images as in the table, relative to the cache's root; or n row numbers from 0, (n,) integers,
            in the order of the shards in ``manifest.json``.

    Returns:
        (n, D) float32, of length 1.

    Raises:
        InputError: if the cache can't be read, or if an image is not in it or could not be embedded.
    """
    folder = Path(cache).absolute()
    if (manifest := cache_files.read_manifest(folder)) is None:
        hint = "give one of the folders that dbpt cache list shows"
        raise InputError(f"{folder}: not a feature cache (no {cache_files.MANIFEST}); {hint}")
    if not manifest.has_features:
        raise InputError(f"{folder}: holds measurements, no features; give another folder that dbpt cache list shows")
    opened = FeatureCache(folder.parent, manifest.encoder, Path(manifest.root), manifest.embed_dim)
    if opened.folder != folder:
        raise InputError(f"{folder}: was renamed, or {cache_files.MANIFEST} changed; its name is {opened.folder.name}")
    try:
        asked = np.asarray(rows)
    except ValueError:  # of different lengths
        asked = np.empty((0, 0))
    if asked.ndim != 1 or (asked.size and asked.dtype.kind not in "iuUO"):
        raise InputError(f"rows: found {rows!r:.200}; expected a list of paths, or of row numbers")
    if asked.dtype.kind in "UO":
        numbers = opened.find(cache_keys.look_up_files(Path(manifest.root), [str(path) for path in rows]).ids)
    else:
        numbers = np.where((asked < 0) | (asked >= len(opened)), -1, asked).astype(np.int64)
    for position in np.flatnonzero(numbers < 0)[:1]:
        hint = f"it has {len(opened)} rows; embed other images first, with dbpt embed"
        raise InputError(f"rows: {asked.item(position)!r:.200} is not in {folder}; {hint}")
    features = opened.read(numbers, check=False)
    for position in np.flatnonzero(~features.any(axis=1))[:1]:
        reason = opened.reasons(numbers[position : position + 1])[0]
        problem = f"has no features, its image could not be read: {reason}"
        raise InputError(f"rows: {asked.item(position)!r:.200} {problem}; leave it out")
    return features


def claim_files(folder: Path) -> list[Path]:
    """Return the claims of a cache and their owner files; only files with our names, and not through links."""
    claims = folder / CLAIMS
    files = [] if claims.is_symlink() else claims.glob("*.lock*")
    return sorted(file for file in files if CLAIM_NAME.fullmatch(file.name))


def lock_files(folder: Path) -> list[Path]:
    """Return the lock of a cache and its claims."""
    return [folder / "lock", *(file for file in claim_files(folder) if file.suffix == ".lock")]


def leftovers(folder: Path, listed: set[str]) -> list[Path]:
    """Return the temporary files and unlisted shards of a cache, left by processes that died."""
    shards = [file for file in folder.glob("*.safetensors") if cache_files.SHARD_NAME.fullmatch(file.name)]
    return [file for file in (*shards, *folder.glob(".*.tmp")) if file.name not in listed]


def own_files(folder: Path) -> list[Path]:
    """Return the files of a cache that have our names, the manifest last."""
    others = (*claim_files(folder), folder / "lock", folder / f"lock{OWNER}", folder / cache_files.MANIFEST)
    return [file for file in (*leftovers(folder, set()), *others) if size_of(file) is not None]


def size_of(file: str | Path) -> int | None:
    """Return the size of a file in bytes, None if it is missing or a link. Raises `OSError`."""
    try:
        status = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
