"""The files of a list as they are on disk now. An id identifies a file by its size, modification time and path."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.archives import find_member
from dbpt.errors import InputError
from dbpt.features.images import UnreadableImage, decoding_threads
from dbpt.files.disk import reason_of

TASK_FILES = 1024
_SIZE_AND_TIME, _TWO_WORDS = struct.Struct("<qq"), struct.Struct("<QQ")


@dataclass(frozen=True, eq=False)
class FileRows:
    """N files, with paths relative to one root. Rows with ``errors`` have size, time and id 0."""

    paths: Sequence[str]
    sizes: NDArray[np.int64]  # bytes
    mtimes_ns: NDArray[np.int64]  # since 1970
    ids: NDArray[np.uint64]  # (N, 2), 16 bytes of BLAKE2b of size, time and path
    errors: dict[int, str]  # reasons by row, for files that are missing or not regular

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: NDArray[np.int64]) -> FileRows:
        """Return only ``rows``, none of which has an error."""
        paths = [self.paths[row] for row in rows.tolist()]
        return FileRows(paths, self.sizes[rows], self.mtimes_ns[rows], self.ids[rows], {})


def look_up_files(root: Path, paths: Sequence[str]) -> FileRows:
    """Look up ``paths`` below ``root``, also inside archives; in threads, because network disks are slow."""
    n = len(paths)
    found = FileRows(paths, np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((n, 2), np.uint64), {})

    def look(first: int) -> None:
        for row in range(first, min(first + TASK_FILES, n)):
            try:
                size, mtime_ns = _size_and_time(os.path.join(root, paths[row]))  # noqa: PTH118 (once an image)
                found.ids[row] = _id(paths[row], size, mtime_ns)
                found.sizes[row], found.mtimes_ns[row] = size, mtime_ns
            except (OSError, InputError, UnreadableImage) as error:
                found.errors[row] = reason_of(error)
            except ValueError:  # a NUL, or a character that file names here can't contain
                found.errors[row] = "no file can have this name"

    with decoding_threads() as pool:
        list(pool.map(look, range(0, n, TASK_FILES)))  # raises the exception of a thread
    return found


def ids_of(paths: Sequence[str], sizes: NDArray[np.int64], mtimes_ns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the ids of files, (N, 2) uint64, from size, time and path."""
    ids = [_id(*file) for file in zip(paths, sizes.tolist(), mtimes_ns.tolist(), strict=True)]
    return np.array(ids, np.uint64).reshape(-1, 2)


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 (once an image)
    except NotADirectoryError:
        if member := find_member(Path(path)):
            return member.size, member.mtime_ns
        raise
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableImage("not a regular file")
    return found.st_size, found.st_mtime_ns


def _id(path: str, size: int, mtime_ns: int) -> tuple[int, int]:
    return _TWO_WORDS.unpack(blake2b(_SIZE_AND_TIME.pack(size, mtime_ns) + os.fsencode(path), digest_size=16).digest())
