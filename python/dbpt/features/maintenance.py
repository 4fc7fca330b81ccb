"""Maintenance of the feature caches in a folder: list them, verify every byte, delete what is useless.

The features of sentences, in the folder ``texts`` beside it, are maintained with them.
"""

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from dbpt.data.progress import progress_bar
from dbpt.errors import InputError, in_quotes, one_line
from dbpt.features.cache import CLAIMS, FeatureCache, cache_files, claim_files, leftovers, lock_files, size_of
from dbpt.features.cache_files import (
    FOLDER_NAME,
    MANIFEST,
    STORED_AS,
    DamagedShard,
    Manifest,
    OlderVersion,
    Shard,
    ShardEntry,
    differences,
    flat,
    folder_name,
    read_manifest,
)
from dbpt.files.disk import file_sha256, is_missing, reason_of, system_errors
from dbpt.files.lock import OwnedLock
from dbpt.files.stored_arrays import TEXTS, StoredArrays

DAY = 86_400.0
DAYS_OF_A_WRITE = 1
NO_MANIFEST = f"no {MANIFEST}"
LEFT_BEHIND = "left by a process that was stopped"
COPIES = ("datasets", "demo")  # folders beside ``features`` for copies of data sets
BEGUN_COPY = re.compile(r"\.([0-9a-f]{32}|demo-.+)\.[a-z0-9_]{8}\.partial")


@dataclass(frozen=True)
class CacheInfo:
    """One feature cache."""

    folder: Path
    manifest: Manifest | None  # None if it can't be read
    problem: str  # the reason
    is_outdated: bool  # written by an older version of dbpt; not readable any more
    bytes: int  # size of all its files
    written: float  # seconds since 1970

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.bytes / 1e6:.1f} MB, written {date.fromtimestamp(self.written)}"]
        if self.manifest is None:
            return "\n".join([*lines, f"  {self.problem}"])
        fields = {"root": self.manifest.root, **flat(self.manifest.encoder)}
        shards = self.manifest.shards
        fields["images"] = f"{sum(one.rows for one in shards)} ({sum(one.failed for one in shards)} failed)"
        lines += [one_line(f"  {name}: {value}") for name, value in fields.items()]
        return "\n".join(lines)


def list_caches(cache_dir: str | Path) -> list[CacheInfo]:
    """Return the feature caches in a folder; none if there is no such folder."""
    return [_info(folder) for folder in _folders(cache_dir)]


def verify_cache(cache_dir: str | Path) -> list[str]:
    """Check every byte of the feature caches in a folder; return a line for each problem, with the fix."""
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
    found: list[tuple[bool, int, str]] = []
    with suppress(InputError):  # a folder that can't be read
        for folder in _folders(cache.folder.parent):
            with suppress(InputError, RecursionError):
                other = read_manifest(folder)
                if other is None or folder == cache.folder:
                    continue
                if other.root == wanted.root or (other.encoder == wanted.encoder and _is_gone(other.root)):
                    differing = differences(wanted, other)
                    found.append((other.root != wanted.root, len(differing), ", ".join(differing)))
    return one_line(min(found)[-1]) if found else ""


@dataclass(frozen=True)
class Pruned:
    """A file or folder that was deleted (or would be), the reason, and its size."""

    path: Path
    why: str
    bytes: int


def prune_caches(
    cache_dir: str | Path, *, unwritten_for_days: float | None = None, dry_run: bool = False
) -> tuple[list[Pruned], list[str]]:
    """Delete what is useless; return a list of it, and a line for each folder that can't be pruned.

    This means caches whose root is gone or that an older version of dbpt wrote, caches in which nothing was stored for
    ``unwritten_for_days`` and features of sentences stored before that, and files of processes that died, also in
    copies of data sets beside ``cache_dir``. A cache stays if it is being written, or if it can't be read, perhaps
    temporarily. A ``dry_run`` deletes and writes nothing
    and takes no lock, so it also lists what is in use.
    """
    pruned, problems = list[Pruned](), list[str]()
    for folder in [*_folders(cache_dir), *_begun_copies(Path(cache_dir).parent)]:
        try:
            with _unused(folder, dry_run) as unused:
                found = list(_prunable(folder, unwritten_for_days)) if unused else []
                _delete(found if not dry_run else [])
            pruned += found
        except (InputError, OSError) as error:
            problems.append(f"{folder}: cannot be pruned: {reason_of(error)}")
        except RecursionError:
            problems.append(f"{folder}: cannot be pruned: folders in it are nested too deeply; delete it")
    texts = stored_texts(cache_dir)
    try:
        found = list(_prunable_texts(texts, unwritten_for_days))
        _delete(found if not dry_run else [])
        pruned += found
    except (InputError, OSError) as error:
        problems.append(f"{texts.folder}: cannot be pruned: {reason_of(error)}")
    return pruned, problems


def _delete(found: list[Pruned]) -> None:
    """Delete files and folders; of a cache only the files that dbpt writes, since others may have put theirs there."""
    for one in found:
        if not one.path.is_dir() or one.path.is_symlink():
            one.path.unlink(missing_ok=True)
        elif not FOLDER_NAME.fullmatch(one.path.name):
            shutil.rmtree(one.path)
        else:
            for file in cache_files(one.path):
                file.unlink(missing_ok=True)
            for folder in (one.path / CLAIMS, one.path):
                with suppress(OSError):  # it holds other files
                    folder.rmdir()


def _prunable_texts(texts: StoredArrays, unwritten_for_days: float | None) -> Iterator[Pruned]:
    """Yield files stored before ``unwritten_for_days``, and those of writes that take longer than any write takes."""
    for file in [*texts.files(), *texts.unfinished()]:
        is_whole, days = not file.name.startswith("."), (time.time() - file.lstat().st_mtime) / DAY
        if not is_whole and days > DAYS_OF_A_WRITE:
            yield Pruned(file, LEFT_BEHIND, _size(file) or 0)
        elif is_whole and unwritten_for_days is not None and days > unwritten_for_days:
            yield Pruned(file, f"features of sentences, stored over {unwritten_for_days:g} days ago", _size(file) or 0)


def _prunable(folder: Path, unwritten_for_days: float | None) -> Iterator[Pruned]:
    cache, why = _info(folder), ""
    if not FOLDER_NAME.fullmatch(folder.name):
        why = "an unfinished copy of a data set"
    elif cache.is_outdated:
        why = cache.problem
    elif cache.manifest and _is_gone(cache.manifest.root):
        why = f"its root {cache.manifest.root} is gone"
    elif cache.manifest and unwritten_for_days is not None and time.time() - cache.written > unwritten_for_days * DAY:
        why = f"nothing was stored for {unwritten_for_days:g} days"
    if why and FOLDER_NAME.fullmatch(folder.name):
        own = cache_files(folder)
        if foreign := sorted({file.name for file in folder.iterdir()} - {file.name for file in own} - {CLAIMS}):
            why += f"; {in_quotes(foreign[:3])} {'stay' if foreign[1:] else 'stays'}, which dbpt has not written"
        yield Pruned(folder, why, sum(_size(file) or 0 for file in own))
    elif why:
        yield Pruned(folder, why, cache.bytes)
    elif cache.manifest:
        listed = {entry.name for entry in cache.manifest.shards}
        for file in (*leftovers(folder, listed), *claim_files(folder)):
            yield Pruned(file, LEFT_BEHIND, size_of(file) or 0)


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


def _begun_copies(cache_root: Path) -> list[Path]:
    """Return the temporary folders of `whole_folder`, whose writer has died or is still writing; ours have a lock."""
    found = (path for place in COPIES for path in (cache_root / place).glob(".*") if BEGUN_COPY.fullmatch(path.name))
    return sorted(path for path in found if not path.is_symlink() and _size(path / "lock") is not None)


@contextmanager
def _unused(folder: Path, dry_run: bool) -> Iterator[bool]:
    """Take the locks of a folder; yield whether all of them were free."""
    if problem := _lock_problem(folder):
        raise InputError(problem)
    locks = [OwnedLock(file, "the feature cache") for file in (() if dry_run else lock_files(folder))]
    try:
        yield all(lock.take() for lock in locks)
    finally:
        for lock in locks:
            lock.release()


def _folders(cache_dir: str | Path) -> list[Path]:
    """Return the folders that are named like caches, since others in ``cache_dir`` must not be deleted."""
    if is_missing(cache_dir := Path(cache_dir)):
        return []
    with system_errors(f"{cache_dir}: cannot be read", "choose another cache folder"):
        found = sorted(path for path in cache_dir.iterdir() if FOLDER_NAME.fullmatch(path.name))
        return [path for path in found if path.is_dir() and not path.is_symlink()]


def _info(folder: Path) -> CacheInfo:
    files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118 (for _size)
    size = 0
    with suppress(RecursionError):  # before Python 3.12 `os.walk` recurses
        for file in files:
            size += _size(file) or 0
    manifest, problem, is_outdated, written = None, "", False, folder.stat().st_mtime
    with suppress(OSError):
        written = (folder / MANIFEST).stat().st_mtime
    try:
        manifest = read_manifest(folder)
        problem = "" if manifest else NO_MANIFEST
    except InputError as error:
        problem, is_outdated = str(error), isinstance(error, OlderVersion)
    return CacheInfo(folder, manifest, problem, is_outdated, size, written)


def _size(file: str | Path) -> int | None:
    """Return the size of a file in bytes, None if it is missing or can't be looked up."""
    with suppress(OSError):
        return size_of(file)
    return None


def _lock_problem(folder: Path) -> str | None:
    with suppress(OSError):  # if it can't be looked up, taking it reports the error
        for file in lock_files(folder):
            if os.path.lexists(file) and not stat.S_ISREG(file.lstat().st_mode):
                return f"{file}: not a regular file, so the cache cannot be locked; delete it"
    return None


def _problems(folder: Path) -> Iterator[str]:
    cache = _info(folder)
    yield from filter(None, [_lock_problem(folder)])
    if cache.manifest is None:
        if cache.problem != NO_MANIFEST:  # a cache has none while its first shard is computed
            yield cache.problem
        return
    if folder.name != folder_name(cache.manifest.encoder, cache.manifest.root):
        yield f"{folder}: its name is not the digest of encoder and root; delete it, its images are embedded again"
    for entry in progress_bar(f"verifying {folder.name[:8]}", "shard", cache.manifest.shards):
        file = folder / entry.name
        try:
            if problem := _shard_problem(folder, cache.manifest, entry):
                delete = "delete it, " if os.path.lexists(file) else ""
                yield f"{file}: {problem}; {delete}its images are embedded again"
        except OSError as error:
            yield f"{file}: cannot be read: {reason_of(error)}; make it readable"


def _shard_problem(folder: Path, manifest: Manifest, entry: ShardEntry) -> str | None:
    file = folder / entry.name
    if size_of(file) != entry.bytes:
        return f"{size_of(file) or 'no'} bytes instead of {entry.bytes}"
    if file_sha256(file, follow=False) != entry.sha256:
        return "the checksum is not that of the manifest"
    try:
        shard = Shard(file, entry.rows, manifest.embed_dim, STORED_AS[manifest.encoder["dtype"]])
    except DamagedShard as error:
        return str(error)
    failed = np.count_nonzero(shard.tensor("failed"))
    if failed != entry.failed:
        return f"{failed} images failed, {entry.failed} in the manifest"
    return shard.problem()
