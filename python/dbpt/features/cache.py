"""The feature cache on disk: a folder for each encoder and root, with .safetensors shards and a manifest.

    CACHE_DIR/<digest of encoder and root>/manifest.json             see manifest.py
    CACHE_DIR/<digest of encoder and root>/<digest of the row ids>.safetensors   see shards.py
    CACHE_DIR/<digest of encoder and root>/claims/<the same>.lock    held by whoever computes that shard

Only what the manifest lists exists, and it is written last. Shards and manifest are written under a lock, so that a
shard without an entry, or a temporary file, that is met while holding the lock was left by a process that died. The
bytes of all of it depend on the rows alone: not on who computed which shard, in which order, how often killed.

Features are used only if the SHA-256 of their shard is that of the manifest: each shard is hashed once, when a process
first reads features from it. Row ids are read without that; a wrong one is a file that is not found, and embedded
again. No symbolic link in such a folder is followed. No torch in here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.features.file_rows import FileRows
from dbpt.features.manifest import (
    MANIFEST,
    SHARD_NAME,
    STORED_AS,
    Manifest,
    ShardEntry,
    differences,
    folder_name,
    read_manifest,
    write_manifest,
)
from dbpt.features.shards import DamagedShard, Shard, shard_bytes
from dbpt.files.disk import file_sha256, reason_of, sync_folder, write_atomically
from dbpt.files.lock import OwnedLock

CLAIMS = "claims"
CLAIM_NAME = re.compile(r"[0-9a-f]{32}\.lock(\.owner)?")
MOST_MAPPED = 128  # shards; Python keeps the file of a map open, and a process may often have only 1024 files


class FeatureCache:
    """Features of one encoder and root, as the manifest listed them when this was made or refreshed.

    Rows are numbered through the shards in the manifest's order: `find` gives the row of a file. Opening reads the
    manifest alone; row ids are read at the first `find`, features when they are asked for. Reading takes no lock and
    writes nothing. ``say`` hears of who else is writing while this process waits.

    Args:
        cache_dir: the folder of all feature caches; need not be there.
        encoder: as `Backbone.encoder_key`.
        root: what the paths are relative to; None for rows that are told by their content.
        embed_dim: D.
    """

    def __init__(self, cache_dir: Path, encoder: Mapping[str, Any], root: Path | None, embed_dim: int) -> None:
        root_name = None if root is None else os.fspath(root)
        self.folder = Path(cache_dir) / folder_name(encoder, root_name)
        self.dtype = STORED_AS[encoder["dtype"]]
        self.manifest = Manifest(dict(encoder), root_name, embed_dim)
        self._shard = lru_cache(MOST_MAPPED)(self._open)
        self.say: Callable[[str], None] = lambda line: None
        self._seen: tuple[int, int, int] | None = None
        self._inode: int | None = None
        self._lost: set[ShardEntry] = set()
        self._checked: set[ShardEntry] = set()
        self._index: tuple[NDArray[np.uint64], NDArray[np.int64]] | None = None
        self._failed: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.refresh()

    def refresh(self) -> None:
        """Read what others have added since."""
        seen = _signature(self.folder / MANIFEST)
        if seen != self._seen or seen is None:
            self._take(self._read_manifest())
            self._seen = seen

    def _take(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._ends = np.cumsum([entry.rows for entry in manifest.shards], dtype=np.int64)
        self._named = {entry.name: entry for entry in manifest.shards}
        self._index = None
        self._shard.cache_clear()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def entry(self, name: str) -> ShardEntry | None:
        """The shard of this name, if there is one."""
        return self._named.get(name)

    def find(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(N,) the row of each of ids (N, 2), -1 where there is none."""
        self._read_ids()
        assert self._index is not None
        stored, rows = self._index
        if not len(rows):
            return np.full(len(ids), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(stored[:, 0], ids[:, 0]), len(rows) - 1)
        found = (stored[at] == ids).all(axis=1)
        for i in np.flatnonzero(~found & (stored[at, 0] == ids[:, 0])).tolist():  # another row with the same first half
            same = np.arange(at[i], np.searchsorted(stored[:, 0], ids[i, 0], side="right"))
            hits = same[stored[same, 1] == ids[i, 1]]
            if len(hits):
                at[i], found[i] = hits[0], True
        return np.where(found, rows[at], -1)

    def failed(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the images of these rows could not be used; False for row -1."""
        self._read_ids()
        return np.where(rows >= 0, self._failed[rows] != 0, False) if len(self._failed) else rows < -1

    def reasons(self, rows: NDArray[np.int64]) -> list[str]:
        """Why the images of these rows could not be used; empty where they could."""
        found = [""] * len(rows)
        for number, chosen, inside in self._by_shard(rows):
            reasons = self._shard(number).reasons
            for place, row in zip(chosen.tolist(), inside.tolist(), strict=True):
                found[place] = reasons[row]
        return found

    def read(self, rows: NDArray[np.int64], dtype: Any = np.float32) -> NDArray[Any]:
        """The features (len(rows), D) of ``rows`` in any order; zero for row -1 and where an image failed."""
        features = np.zeros((len(rows), self.manifest.embed_dim), dtype=dtype)
        for number, chosen, inside in self._by_shard(rows):
            self._check_digest(self.manifest.shards[number])
            features[chosen] = self._shard(number).features[inside]
        return features

    def claim(self, name: str) -> OwnedLock:
        """The right to compute a shard, which its owner's death gives back."""
        claims = self.folder / CLAIMS
        return OwnedLock((claims / name).with_suffix(".lock"), f"shard {name[:8]}", self.say)

    def add(
        self, name: str, rows: FileRows, features: NDArray[Any], failed: NDArray[np.uint8], reasons: Sequence[str]
    ) -> None:
        """Store n rows as the shard ``name``: features (n, D), zeros where an image failed, and why it did.

        Raises `InputError` on a full disk, or if the cache is deleted while it is in use.
        """
        self.prepare_folder()
        content = shard_bytes(rows, features.astype(self.dtype, copy=False), failed, reasons)
        try:
            with OwnedLock(self.folder / "lock", "the feature cache", self.say):
                self._add_locked(name, content, len(rows), int((failed != 0).sum()))
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot read back what was written: {reason_of(error)}; start again"
            ) from None
        self.refresh()

    def _add_locked(self, name: str, content: bytes, rows: int, failed: int) -> None:
        manifest = self._read_manifest()
        for file in leftovers(self.folder, {entry.name for entry in manifest.shards}):
            with suppress(OSError):  # they are in nobody's way
                file.unlink()
        entry = self._write_shard(name, content, rows, failed)
        others = (one for one in manifest.shards if one.name != entry.name)
        write_manifest(self.folder, replace(manifest, shards=(*others, entry)))
        sync_folder(self.folder)

    def clear_up(self) -> None:
        """Delete what the claims of processes that died have left; a cache that is only for reading stays as it is."""
        with suppress(InputError, OSError):
            for file in () if self.folder.is_symlink() else lock_files(self.folder):
                if os.path.lexists(file) and (lock := OwnedLock(file, "the feature cache")).take():
                    lock.release()

    def prepare_folder(self) -> None:
        """Make the folder. Raises `InputError` if it can't be, or isn't any more the one that this process has used."""
        try:
            if self._inode is None:
                (self.folder / CLAIMS).mkdir(parents=True, exist_ok=True)
                self._inode = self.folder.stat().st_ino
            if self.folder.is_symlink() or (self.folder / CLAIMS).is_symlink():
                raise OSError(errno.ELOOP, "a symbolic link stands in its place")
            if self._inode != self.folder.stat().st_ino:
                raise FileNotFoundError
        except FileNotFoundError:
            raise InputError(f"{self.folder}: was deleted while it was in use; start again, from nothing") from None
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.folder}: cannot make the feature cache: {reason_of(error)}; choose another folder"
            ) from None

    def _write_shard(self, name: str, content: bytes, rows: int, failed: int) -> ShardEntry:
        digest = hashlib.sha256(content).hexdigest()
        write_atomically(self.folder / name, content)
        if file_sha256(self.folder / name) != digest:
            raise InputError(
                f"{self.folder / name}: the disk gave back other bytes than were written; choose another cache folder"
            )
        return ShardEntry(name, rows, failed, len(content), digest)

    def _read_manifest(self) -> Manifest:
        found = read_manifest(self.folder)
        if found is None:
            return replace(self.manifest, shards=())
        if differing := differences(self.manifest, found):
            raise InputError(
                f"{self.folder / MANIFEST}: the features are another encoder's ({', '.join(differing)}); "
                "delete this folder"
            )
        return replace(found, shards=tuple(entry for entry in found.shards if self._is_whole(entry)))

    def _is_whole(self, entry: ShardEntry) -> bool:
        try:
            found = size_of(f"{self.folder}/{entry.name}")
        except OSError as error:
            raise self._unreadable(entry, error) from None
        if found != entry.bytes and entry not in self._lost:
            self._lost.add(entry)
            warnings.warn(
                f"{self.folder / entry.name}: {'missing' if found is None else f'{found} bytes'} instead of "
                f"{entry.bytes} bytes; its {entry.rows} images are embedded again",
                stacklevel=4,
            )
        return found == entry.bytes

    def _read_ids(self) -> None:
        """Sort the ids of all rows."""
        if self._index is not None:
            return
        ids, self._failed = np.empty((len(self), 2), np.uint64), np.empty(len(self), np.uint8)
        for number, end in enumerate(self._ends.tolist()):
            shard = self._open(number)  # and closed again: what is mapped around the ids would count as memory
            chosen = slice(end - len(shard.failed), end)
            ids[chosen], self._failed[chosen] = shard.row_ids, shard.failed
        order = np.argsort(ids[:, 0], kind="stable")
        self._index = ids[order], order

    def _by_shard(self, rows: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """The shards that ``rows`` lie in: number, places in ``rows``, and which rows of the shard these are."""
        places = np.flatnonzero(rows >= 0)
        numbers = np.searchsorted(self._ends, rows[places], side="right")
        by_number = np.argsort(numbers, kind="stable")
        parts = np.split(by_number, np.flatnonzero(np.diff(numbers[by_number])) + 1) if len(places) else []
        starts = self._ends - [entry.rows for entry in self.manifest.shards]
        return [(int(numbers[part[0]]), places[part], rows[places[part]] - starts[numbers[part[0]]]) for part in parts]

    def _open(self, number: int) -> Shard:
        entry = self.manifest.shards[number]
        try:
            return Shard(self.folder / entry.name, entry.rows, self.manifest.embed_dim, self.dtype)
        except OSError as error:
            raise self._unreadable(entry, error) from None
        except DamagedShard as error:
            raise self._damaged(entry, str(error)) from None

    def _check_digest(self, entry: ShardEntry) -> None:
        if entry in self._checked:
            return
        try:
            if file_sha256(self.folder / entry.name, follow=False) != entry.sha256:
                raise self._damaged(entry, "its checksum is not that of the manifest")
        except OSError as error:
            raise self._unreadable(entry, error) from None
        self._checked.add(entry)

    def _damaged(self, entry: ShardEntry, reason: str) -> InputError:
        return InputError(
            f"{self.folder / entry.name}: damaged feature shard ({reason}); delete it, its images are embedded again"
        )

    def _unreadable(self, entry: ShardEntry, error: OSError) -> InputError:
        return InputError(
            f"{self.folder / entry.name}: cannot be read: {reason_of(error)}; "
            "make it readable, or choose another cache folder"
        )


def claim_files(folder: Path) -> list[Path]:
    """The claims of a cache and their owners' names; of a folder that is a link, or of other names, none is ours."""
    claims = folder / CLAIMS
    found = [] if claims.is_symlink() else claims.glob("*.lock*")
    return sorted(file for file in found if CLAIM_NAME.fullmatch(file.name))


def lock_files(folder: Path) -> list[Path]:
    """The lock of a cache, and its claims."""
    return [folder / "lock", *(file for file in claim_files(folder) if file.suffix == ".lock")]


def leftovers(folder: Path, listed: set[str]) -> list[Path]:
    """What a process that died has left in the folder of a cache: temporary files, shards without an entry."""
    shards = [file for file in folder.glob("*.safetensors") if SHARD_NAME.fullmatch(file.name)]
    return [file for file in (*shards, *folder.glob(".*.tmp")) if file.name not in listed]


def size_of(file: str | Path) -> int | None:
    """Its bytes, None if there is no such file; a link counts as none. Raises `OSError` if this can't be known."""
    try:
        found = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _signature(file: Path) -> tuple[int, int, int] | None:
    """What changes when the file is replaced."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
