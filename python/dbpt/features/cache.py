"""The feature cache on disk: a folder per encoder key, with .safetensors shards and a manifest that is written last.

    CACHE_DIR/<digest of the key>/manifest.json                    the key, readable; the shards with their checksums;
                                                                   the ledger of images that failed
    CACHE_DIR/<digest of the key>/<digest of the content>.safetensors   see shards.py

Only what the manifest lists exists. Shard and manifest are written under a lock, so that a shard without an entry, or a
temporary file, that is met while holding the lock was left by a process that died. No torch in here.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.files import write_atomically

from .lock import locked
from .shards import DamagedShard, RowKey, read_features, read_keys, shard_bytes

CACHE_SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


class FeatureCache:
    """Features of one encoder key, looked up by `RowKey`. Opening and reading take no lock and write nothing."""

    def __init__(self, cache_dir: Path, key: Mapping[str, str], embed_dim: int) -> None:
        self.folder = cache_dir / key_digest(key)
        self.key = dict(key)
        self.embed_dim = embed_dim
        manifest = self._manifest()
        self._shards: list[dict[str, Any]] = [entry for entry in manifest["shards"] if self._is_whole(entry, warn=True)]
        self._failures = {RowKey(*row[:3]): row[3] for row in manifest["failures"]}
        self._places: dict[RowKey, tuple[int, int]] = {}
        for index, entry in enumerate(self._shards):
            try:
                keys = read_keys(self.folder / entry["name"])
            except DamagedShard as error:
                raise self._damaged(entry, str(error)) from None
            self._places.update((row_key, (index, row)) for row, row_key in enumerate(keys))

    def failure(self, key: RowKey) -> str | None:
        """Return why this very file could not be read before, or None."""
        return self._failures.get(key)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def read(self, keys: Sequence[RowKey | None]) -> NDArray[np.float32]:
        """Return the features (len(keys), D) float32; rows of keys that are None or not in the cache are zero."""
        features = np.zeros((len(keys), self.embed_dim), dtype=np.float32)
        places = [self._places.get(key, (-1, -1)) if key is not None else (-1, -1) for key in keys]
        shard, row = np.array(places, dtype=np.int64).reshape(-1, 2).T
        for index in np.unique(shard[shard >= 0]):
            entry = self._shards[index]
            try:
                stored = read_features(self.folder / entry["name"], entry["rows"], self.embed_dim)
            except DamagedShard as error:
                raise self._damaged(entry, str(error)) from None
            features[shard == index] = stored[row[shard == index]]
        return features

    def add(
        self, keys: Sequence[RowKey], features: NDArray[np.float32], failures: Sequence[tuple[RowKey, str]]
    ) -> None:
        """Store features (len(keys), D) as one shard and failures in the ledger. Raises `InputError` on a full disk."""
        _make_folder(self.folder)
        with locked(self.folder):
            manifest = self._manifest()
            manifest["shards"] = [entry for entry in manifest["shards"] if self._is_whole(entry)]
            self._remove_leftovers({entry["name"] for entry in manifest["shards"]})
            if keys:
                entry = self._write_shard(shard_bytes(keys, features), len(keys))
                manifest["shards"] = [one for one in manifest["shards"] if one["name"] != entry["name"]] + [entry]
            superseded = {key.path for key in keys} | {key.path for key, _ in failures}
            manifest["failures"] = [row for row in manifest["failures"] if row[0] not in superseded]
            manifest["failures"] += [[*key, reason] for key, reason in failures]
            write_atomically(self.folder / MANIFEST, json.dumps(manifest, indent=1))
            _sync_folder(self.folder)
        if keys:
            self._places.update((key, (len(self._shards), row)) for row, key in enumerate(keys))
            self._shards.append(entry)
        self._failures.update(failures)

    def _write_shard(self, content: bytes, rows: int) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        file = self.folder / f"{digest[:32]}.safetensors"
        write_atomically(file, content)
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise InputError(f"{file}: the disk gave back other bytes than were written; choose another cache folder")
        return {"name": file.name, "rows": rows, "bytes": len(content), "sha256": digest}

    def _manifest(self) -> dict[str, Any]:
        if not (self.folder / MANIFEST).is_file():
            return {
                "schema_version": CACHE_SCHEMA_VERSION,
                "encoder": self.key,
                "embed_dim": self.embed_dim,
                "shards": [],
                "failures": [],
            }
        manifest = read_manifest(self.folder)
        differing = sorted(
            k for k in {*self.key, *manifest["encoder"]} if self.key.get(k) != manifest["encoder"].get(k)
        )
        if differing:
            raise InputError(
                f"{self.folder / MANIFEST}: the features are another encoder's ({', '.join(differing)} differ); "
                "delete this folder"
            )
        return manifest

    def _is_whole(self, entry: dict[str, Any], warn: bool = False) -> bool:
        found = _size(self.folder / entry["name"])
        if warn and found != entry["bytes"]:
            warnings.warn(
                f"{self.folder / entry['name']}: {'missing' if found is None else f'{found} bytes'} instead of "
                f"{entry['bytes']} bytes; its {entry['rows']} images are embedded again",
                stacklevel=4,
            )
        return bool(found == entry["bytes"])

    def _remove_leftovers(self, listed: set[str]) -> None:
        for file in (*self.folder.glob("*.safetensors"), *self.folder.glob(".*.tmp")):
            if file.name not in listed:
                file.unlink(missing_ok=True)

    def _damaged(self, entry: dict[str, Any], reason: str) -> InputError:
        return InputError(
            f"{self.folder / entry['name']}: damaged feature shard ({reason}); delete it, its images are embedded again"
        )


def key_digest(key: Mapping[str, str]) -> str:
    """Return the name of the folder that holds the features of an encoder key."""
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:20]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a manifest and check its form. Raises `InputError` if it isn't one of ours."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text("utf-8"))
        if manifest["schema_version"] != CACHE_SCHEMA_VERSION:
            raise InputError(
                f"{file}: schema version {manifest['schema_version']!r}, this version reads 1; delete {folder}"
            )
        well_formed = (
            isinstance(manifest["encoder"], dict)
            and isinstance(manifest["embed_dim"], int)
            and all(set(entry) >= {"name", "rows", "bytes", "sha256"} for entry in manifest["shards"])
            and all(Path(entry["name"]).name == entry["name"] for entry in manifest["shards"])
            and all(len(row) == 4 for row in manifest["failures"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: damaged manifest ({type(error).__name__}: {error}); delete {folder}") from None
    if not well_formed:
        raise InputError(f"{file}: damaged manifest; delete {folder}")
    return manifest  # type: ignore[no-any-return]


def verify_cache(cache_dir: str | Path) -> list[str]:
    """Check every byte of a feature cache; returns the problems, one line each. `InputError` if there is no cache."""
    cache_dir = Path(cache_dir)
    if not cache_dir.is_dir():
        raise InputError(f"{cache_dir}: no such feature cache")
    problems: list[str] = []
    for folder in sorted(path for path in cache_dir.iterdir() if path.is_dir()):
        if not (folder / MANIFEST).is_file():
            problems.append(f"{folder}: no {MANIFEST}")
            continue
        try:
            manifest = read_manifest(folder)
        except InputError as error:
            problems.append(str(error))
            continue
        if folder.name != key_digest(manifest["encoder"]):
            problems.append(f"{folder}: the folder's name is not the digest of its encoder key")
        for entry in manifest["shards"]:
            problem = _shard_problem(folder / entry["name"], entry, manifest["embed_dim"])
            problems += [f"{folder / entry['name']}: {problem}"] if problem else []
        listed = {entry["name"] for entry in manifest["shards"]}
        problems += [f"{f}: not in the manifest" for f in sorted(folder.glob("*.safetensors")) if f.name not in listed]
    return problems


def _shard_problem(file: Path, entry: dict[str, Any], embed_dim: int) -> str | None:
    if _size(file) != entry["bytes"]:
        return f"{_size(file) or 'no'} bytes instead of {entry['bytes']}"
    if hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
        return "the checksum is not that of the manifest"
    try:
        features = read_features(file, entry["rows"], embed_dim)
        if len(read_keys(file)) != entry["rows"]:
            return "another number of row keys than rows"
    except DamagedShard as error:
        return str(error)
    return None if bool(np.isfinite(features).all()) else "NaN or infinite features"


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make the feature cache: {error.strerror}; choose another folder") from None


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # a directory can't be opened elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
