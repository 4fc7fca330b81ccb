"""Looking after the feature caches of a folder: every byte checked, what there is, what nobody can ask for any more."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from dbpt.errors import InputError
from dbpt.files import file_sha256, sync_folder

from .cache import STORED_AS, FeatureCache, leftovers, size_of
from .file_rows import look_up_files
from .manifest import (
    FOLDER_NAME,
    MANIFEST,
    Manifest,
    ShardEntry,
    differences,
    flat,
    folder_name,
    read_manifest,
    write_manifest,
)
from .owned_lock import OwnedLock
from .shards import DamagedShard, Shard

DAY = 86_400.0
NO_MANIFEST = f"no {MANIFEST}"
GONE = {os.strerror(number) for number in (errno.ENOENT, errno.ENOTDIR)}  # as `look_up_files` says it


@dataclass(frozen=True)
class CacheInfo:
    """One cache: the features of one encoder and root.

    manifest: what stands in its ``manifest.json``; None where that cannot be read, and ``problem`` says why.
    bytes: of all its files.
    written: when something was last stored, in seconds since 1970.
    """

    folder: Path
    manifest: Manifest | None
    problem: str
    bytes: int
    written: float

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.bytes / 1e6:.1f} MB, written {date.fromtimestamp(self.written)}"]
        if self.manifest is None:
            return "\n".join([*lines, f"  {self.problem}"])
        fields = flat(self.manifest.encoder) | {"images": f"{self.rows} ({self.failed} failed)"}
        lines += [
            f"  {name}: {value}" for name, value in {"root": self.manifest.root or "any, by content", **fields}.items()
        ]
        return "\n".join(lines)

    @property
    def rows(self) -> int:
        """Images it has features of, or knows to be unreadable."""
        return sum(entry.rows for entry in self.manifest.shards) if self.manifest else 0

    @property
    def failed(self) -> int:
        """Images that are unreadable."""
        return sum(entry.failed for entry in self.manifest.shards) if self.manifest else 0


def list_caches(cache_dir: str | Path) -> list[CacheInfo]:
    """What feature caches there are. `InputError` if there is no such folder."""
    return [_info(folder) for folder in _folders(cache_dir)]


def verify_cache(cache_dir: str | Path) -> list[str]:
    """Check every byte of the feature caches; returns the problems, one line each. `InputError` if there is none."""
    return [problem for folder in _folders(cache_dir) for problem in _problems(folder)]


@dataclass(frozen=True)
class Pruned:
    """A file or folder that was deleted, or would be: why, and how many bytes it has."""

    path: Path
    why: str
    bytes: int


def prune_caches(
    cache_dir: str | Path, *, unwritten_for_days: float | None = None, dry_run: bool = False
) -> list[Pruned]:
    """Delete what nobody can ask for any more, and say what that was.

    That is: a cache that can't be read or whose root is gone; a shard of which no file is as it was; what processes
    that died have left. A cache into which something is being written is left alone.

    Args:
        cache_dir: the folder of all feature caches.
        unwritten_for_days: delete also caches in which nothing was stored for so many days.
        dry_run: delete nothing.

    Raises:
        InputError: no such folder, or the system refuses.
    """
    pruned: list[Pruned] = []
    for folder in _folders(cache_dir):
        with _unused(folder) as unused:
            if unused:
                pruned += _prune(_info(folder), unwritten_for_days, dry_run)
    return pruned


def _prune(cache: CacheInfo, unwritten_for_days: float | None, dry_run: bool) -> list[Pruned]:
    why = cache.problem
    if cache.manifest and not _root_is_there(cache.manifest):
        why = f"its root {cache.manifest.root} is gone"
    elif unwritten_for_days is not None and time.time() - cache.written > unwritten_for_days * DAY:
        why = why or f"nothing was stored for {unwritten_for_days:g} days"
    if why or cache.manifest is None:
        found = [Pruned(cache.folder, why, cache.bytes)]
    elif cache.manifest.root is not None and _is_bare(Path(cache.manifest.root)):
        found = []
    else:
        found = [*_outdated(cache.folder, cache.manifest), *_left_behind(cache.folder, cache.manifest)]
    try:
        if not dry_run:
            _delete(cache, [pruned.path for pruned in found])
    except OSError as error:
        raise InputError(f"{cache.folder}: cannot delete: {error.strerror}") from None
    return found


def _root_is_there(manifest: Manifest) -> bool:
    return manifest.root is None or Path(manifest.root).is_dir()


def _is_bare(root: Path) -> bool:
    """Whether nothing can be seen in it, as where the disk that has the images is not mounted."""
    try:
        return not any(root.iterdir())
    except OSError:
        return True


def _outdated(folder: Path, manifest: Manifest) -> Iterator[Pruned]:
    """Shards of which no file is there as it was; what the system can't say now is not gone."""
    for entry in manifest.shards:
        try:
            shard = _open(folder, manifest, entry)
        except DamagedShard as error:
            yield Pruned(folder / entry.name, f"damaged ({error})", entry.bytes)
            continue
        if manifest.root is None:
            continue
        now = look_up_files(Path(manifest.root), shard.paths)
        unknown = any(reason not in GONE for reason in now.errors.values())
        if not unknown and not (now.ids == shard.row_ids).all(axis=1).any():
            yield Pruned(folder / entry.name, f"its {entry.rows} images have changed or are gone", entry.bytes)


def _left_behind(folder: Path, manifest: Manifest) -> Iterator[Pruned]:
    listed = {entry.name for entry in manifest.shards}
    for file in (*leftovers(folder, listed), *sorted((folder / "claims").glob("*")), *(folder / "claims").glob(".*")):
        yield Pruned(file, "left by a process that was stopped", size_of(file) or 0)


def _delete(cache: CacheInfo, paths: list[Path]) -> None:
    if cache.folder in paths:
        shutil.rmtree(cache.folder)
        return
    gone = {path.name for path in paths}
    if cache.manifest and any(entry.name in gone for entry in cache.manifest.shards):
        kept = tuple(entry for entry in cache.manifest.shards if entry.name not in gone)
        write_manifest(cache.folder, replace(cache.manifest, shards=kept))
        sync_folder(cache.folder)
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Hold the lock of a cache, and tell whether nobody else has it or one of its claims."""
    locks = [OwnedLock(file, "the feature cache") for file in (folder / "lock", *(folder / "claims").glob("*.lock"))]
    try:
        yield all(lock.take() for lock in locks)
    finally:
        for lock in locks:
            lock.release()


def nearest_cache(cache: FeatureCache) -> str:
    """In what the most similar cache differs from ``cache``, which has nothing yet; empty if there is none.

    Another one of the same images, or one whose root is gone, which may have become this.
    """
    folder, wanted = cache.folder.parent, cache.manifest
    found: list[list[str]] = []
    for other in _folders(folder) if folder.is_dir() else ():
        with suppress(InputError):
            manifest = read_manifest(other)
            if manifest is not None and (manifest.root == wanted.root or not _root_is_there(manifest)):
                found.append(differences(wanted, manifest))
    found.sort(key=len)
    return ", ".join(found[0]) if found else ""


def _folders(cache_dir: str | Path) -> list[Path]:
    """Those that are called as ours: ``features`` is a name that other things have too, and what is here is deleted."""
    cache_dir = Path(cache_dir)
    if not cache_dir.is_dir():
        raise InputError(f"{cache_dir}: no such feature cache")
    try:
        return sorted(path for path in cache_dir.iterdir() if FOLDER_NAME.fullmatch(path.name) and path.is_dir())
    except OSError as error:
        raise InputError(f"{cache_dir}: cannot be read: {error.strerror}; choose another cache folder") from None


def _info(folder: Path) -> CacheInfo:
    files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)  # noqa: PTH118 (for size_of)
    size = sum(size_of(file) or 0 for file in files)  # a temporary one may go meanwhile
    manifest, problem, written = None, "", folder.stat().st_mtime
    with suppress(OSError):
        written = (folder / MANIFEST).stat().st_mtime
    try:
        manifest = read_manifest(folder)
        problem = "" if manifest else NO_MANIFEST
    except InputError as error:
        problem = str(error)
    return CacheInfo(folder, manifest, problem, size, written)


def _problems(folder: Path) -> list[str]:
    """What is wrong with a cache; if another process is writing into it, as it is between two of its shards."""
    found = list(_problems_now(folder))
    with suppress(InputError):  # a cache that is only for reading has no writers here
        if found:
            with OwnedLock(folder / "lock", "the feature cache"):
                found = list(_problems_now(folder))
    return found


def _problems_now(folder: Path) -> Iterator[str]:
    cache = _info(folder)
    if cache.problem == NO_MANIFEST and list((folder / "claims").glob("*.lock")):
        return  # its first shard is being computed
    if cache.manifest is None:
        yield cache.problem if cache.problem.startswith(str(folder)) else f"{folder}: {cache.problem}"
        return
    if folder.name != folder_name(cache.manifest.encoder, cache.manifest.root):
        yield f"{folder}: the folder's name is not the digest of encoder and root"
    for entry in cache.manifest.shards:
        if problem := _shard_problem(folder, cache.manifest, entry):
            yield f"{folder / entry.name}: {problem}"
    listed = {entry.name for entry in cache.manifest.shards}
    yield from (f"{file}: not in the manifest" for file in sorted(leftovers(folder, listed)) if file.suffix != ".tmp")


def _shard_problem(folder: Path, manifest: Manifest, entry: ShardEntry) -> str | None:
    file = folder / entry.name
    if size_of(file) != entry.bytes:
        return f"{size_of(file) or 'no'} bytes instead of {entry.bytes}"
    if file_sha256(file) != entry.sha256:
        return "the checksum is not that of the manifest"
    try:
        shard = _open(folder, manifest, entry)
    except DamagedShard as error:
        return str(error)
    if int((shard.failed != 0).sum()) != entry.failed:
        return f"{int((shard.failed != 0).sum())} images failed, {entry.failed} in the manifest"
    return shard.problem(by_content=manifest.root is None)


def _open(folder: Path, manifest: Manifest, entry: ShardEntry) -> Shard:
    dtype = STORED_AS.get(manifest.encoder.get("dtype", ""))
    if dtype is None:
        raise DamagedShard(f"features of dtype {manifest.encoder.get('dtype')!r}")
    return Shard(folder / entry.name, entry.rows, manifest.embed_dim, dtype)
