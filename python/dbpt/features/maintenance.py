"""Maintenance of the feature caches in a folder: list them, verify every byte, delete those without use.

The features of sentences, in the folder ``texts`` beside it, are maintained with them.
"""

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dbpt.environment import progress_bar
from dbpt.errors import InputError, one_line
from dbpt.features import cache_files, cache_keys
from dbpt.features.cache import CLAIMS, FeatureCache, lock_files, own_files, size_of
from dbpt.storage.files import file_sha256, is_missing, reason_of, system_errors
from dbpt.storage.locks import OwnedLock
from dbpt.storage.tensors import TEXTS, StoredArrays

DAY = 86_400.0


@dataclass(frozen=True)
class CacheInfo:
    """One feature cache.

    Attributes:
        folder: its path.
        manifest: its content; None if it can't be read.
        problem: the reason if the manifest can't be read, else "".
        bytes: the size of its files.
        written: when it was last written, in seconds since 1970.
    """

    folder: Path
    manifest: cache_files.Manifest | None
    problem: str
    bytes: int
    written: float

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.bytes / 1e6:.1f} MB, written {date.fromtimestamp(self.written)}"]
        if self.manifest is None:
            return "\n".join([*lines, f"  {self.problem}"])
        fields = {"root": self.manifest.root, **cache_files.flat(self.manifest.encoder)}
        shards = self.manifest.shards
        fields["images"] = f"{sum(one.rows for one in shards)} ({sum(one.failed for one in shards)} failed)"
        lines += [one_line(f"  {name}: {value}") for name, value in fields.items()]
        return "\n".join(lines)


def list_caches(cache_dir: str | Path) -> list[CacheInfo]:
    """Return the feature caches in a folder; none if there is no such folder.

    Args:
        cache_dir: the folder ``features`` of the cache.
    """
    return [cache for folder in _folders(cache_dir) if (cache := _info(folder))]


def verify_cache(cache_dir: str | Path) -> list[str]:
    """Check every byte of the feature caches in a folder, and of the features of sentences beside them.

    Args:
        cache_dir: the folder ``features`` of the cache.

    Returns:
        A line for each problem, with the fix.
    """
    problems = [problem for folder in _folders(cache_dir) for problem in _problems(folder)]
    texts = stored_texts(cache_dir)
    for file in texts.files():
        try:
            texts.read(file)
        except InputError as error:
            problems.append(str(error))
    return problems


def stored_texts(cache_dir: str | Path) -> StoredArrays:
    """Return the features of lists of sentences that belong to the feature caches in a folder."""
    return StoredArrays(Path(cache_dir).parent / TEXTS)


def nearest_cache(cache: FeatureCache) -> str:
    """Return how the most similar cache differs: one of the same root, or of the same encoder if its root is gone."""
    wanted = cache.manifest
    others: list[tuple[bool, int, str]] = []
    with suppress(InputError):  # a folder that can't be read
        for folder in _folders(cache.folder.parent):
            with suppress(InputError, RecursionError):
                other = cache_files.read_manifest(folder)
                if other is None or not other.has_features or folder == cache.folder:
                    continue
                if other.root == wanted.root or (other.encoder == wanted.encoder and _is_gone(other.root)):
                    differing = cache_files.differences(wanted, other)
                    others.append((other.root != wanted.root, len(differing), ", ".join(differing)))
    return one_line(min(others)[-1]) if others else ""


def prune_caches(cache_dir: str | Path, *, unwritten_for_days: float | None = None, dry_run: bool = False) -> list[str]:
    """Delete caches whose root is gone, and what is old.

    Caches that are being written stay, and so do files in them that dbpt has not written.

    Args:
        cache_dir: the folder ``features`` of the cache.
        unwritten_for_days: also delete what was written longer ago, features of sentences too; None for nothing.
        dry_run: delete nothing.

    Returns:
        A line for each cache and file that was deleted, or that a ``dry_run`` would delete.

    Raises:
        InputError: if one can't be deleted.
    """
    oldest = -math.inf if unwritten_for_days is None else time.time() - unwritten_for_days * DAY
    useless = {}
    for cache in list_caches(cache_dir):
        if cache.manifest and _is_gone(cache.manifest.root):
            useless[cache.folder] = f"its root {cache.manifest.root} is gone"
        elif cache.written < oldest:
            useless[cache.folder] = f"nothing was stored for {unwritten_for_days:g} days"
    for file in stored_texts(cache_dir).files() if unwritten_for_days is not None else ():
        if file.lstat().st_mtime < oldest:
            useless[file] = f"stored over {unwritten_for_days:g} days ago"
    pruned = []
    for path, why in useless.items():
        with system_errors(f"{path}: cannot be deleted", "delete it by hand"):
            if dry_run or _delete(path):
                pruned.append(f"{path}: {why}")
    return pruned


def _delete(path: Path) -> bool:
    """Delete a file, or those files of a cache that dbpt writes; return False for a cache in use."""
    if not path.is_dir():
        path.unlink()
        return True
    with ExitStack() as held:
        for lock in (OwnedLock(file, "the feature cache") for file in lock_files(path)):
            if not lock.take():
                return False
            held.callback(lock.release)
        for file in own_files(path):
            file.unlink(missing_ok=True)
    for folder in (path / CLAIMS, path):
        with suppress(OSError):  # it holds other files
            folder.rmdir()
    return True


def _is_gone(root: str) -> bool:
    """Return whether a folder is missing from a folder with other content; an unmounted disk leaves an empty one."""
    path = Path(root)
    with suppress(OSError):  # a folder that can't be looked up is not gone
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            above = next(parent for parent in path.parents if os.path.lexists(parent))
            return above.is_dir() and any(above.iterdir())
    return False


def _folders(cache_dir: str | Path) -> list[Path]:
    """Return the folders that are named like caches, since others must not be deleted."""
    if is_missing(cache_dir := Path(cache_dir)):
        return []
    with system_errors(f"{cache_dir}: cannot be read", "choose another cache folder"):
        folders = sorted(path for path in cache_dir.iterdir() if cache_keys.FOLDER_NAME.fullmatch(path.name))
        return [path for path in folders if path.is_dir() and not path.is_symlink()]


def _info(folder: Path) -> CacheInfo | None:
    """Return what there is in a folder; None without a manifest, as while the first shard is computed."""
    size, written, manifest, problem = 0, folder.stat().st_mtime, None, ""
    with suppress(OSError):
        written = (folder / cache_files.MANIFEST).stat().st_mtime
        size = sum(size_of(file) or 0 for file in own_files(folder))
    try:
        manifest = cache_files.read_manifest(folder)
        if manifest is None:
            return None
    except InputError as error:
        problem = str(error)
    return CacheInfo(folder, manifest, problem, size, written)


def _problems(folder: Path) -> Iterator[str]:
    cache = _info(folder)
    if cache is None or cache.manifest is None:
        yield from [cache.problem] if cache else ()
        return
    if folder.name != cache_keys.folder_name(cache.manifest.encoder, cache.manifest.root):
        misnamed = f"{folder}: its name is not the digest of encoder and root"
        yield f"{misnamed}; delete it; its images are then {cache.manifest.verb} again"
    for entry in progress_bar(f"verifying {folder.name[:8]}", "shard", cache.manifest.shards):
        file = folder / entry.name
        try:
            problem = "its checksum differs from the manifest's"
            if size_of(file) != entry.bytes:
                problem = f"{size_of(file) or 'no'} bytes instead of {entry.bytes}"
            elif file_sha256(file, follow=False) == entry.sha256:
                continue
            delete = "delete it, " if os.path.lexists(file) else ""
            yield f"{file}: {problem}; {delete}its images are then {cache.manifest.verb} again"
        except OSError as error:
            yield f"{file}: cannot be read: {reason_of(error)}; make it readable"
