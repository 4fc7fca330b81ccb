"""The keys of a feature cache, which decide whether a feature is stale: the id of an image, the name of a folder.

A feature is found only by the encoder, the folder of the images, and the path, size and time of the image.
"""

import dataclasses
import hashlib
import json
import os
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.paths import find_member
from dbpt.errors import InputError
from dbpt.features.images import UnreadableImage, decoding_threads
from dbpt.storage.files import reason_of

SCHEMA_VERSION = 3
FOLDER_NAME = re.compile(r"[0-9a-f]{20}")
TASK_FILES = 1024
_SIZE_AND_TIME, _TWO_WORDS = struct.Struct("<qq"), struct.Struct("<QQ")


def folder_name(encoder: Mapping[str, Any], root: str) -> str:
    """Return the name of the folder for the features of an encoder and a root."""
    key = {"schema_version": SCHEMA_VERSION, "encoder": dict(encoder), "root": root}
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]


@dataclasses.dataclass(frozen=True, eq=False)
class FileRows:
    """N files, with paths relative to one root. Rows with ``errors`` have size, time and id 0."""

    paths: Sequence[str]
    sizes: NDArray[np.int64]  # bytes
    mtimes_ns: NDArray[np.int64]  # since 1970
    ids: NDArray[np.uint64]  # (N, 2), 16 bytes of BLAKE2b of size, time and path
    errors: dict[int, str]  # reasons by row, for files that are missing or not regular

    def __len__(self) -> int:
        return len(self.paths)

    def size_and_mtime(self, row: int) -> tuple[int, int]:
        """Return bytes and nanoseconds of a file."""
        return int(self.sizes[row]), int(self.mtimes_ns[row])

    def missing(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows that exist but have the position -1 in a cache, in order, each file once."""
        absent = positions < 0
        absent[list(self.errors)] = False
        rows = np.flatnonzero(absent)
        return rows[np.sort(np.unique(self.ids[rows], axis=0, return_index=True)[1])]

    def select(self, rows: NDArray[np.int64]) -> "FileRows":
        """Return only ``rows``, none of which has an error."""
        paths = [self.paths[row] for row in rows.tolist()]
        return FileRows(paths, self.sizes[rows], self.mtimes_ns[rows], self.ids[rows], {})


def look_up_files(root: Path, paths: Sequence[str]) -> FileRows:
    """Look up ``paths`` below ``root``, also inside archives; in threads, because network disks are slow."""
    n = len(paths)
    files = FileRows(paths, np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((n, 2), np.uint64), {})

    def look(first: int) -> None:
        for row in range(first, min(first + TASK_FILES, n)):
            try:
                size, mtime_ns = _size_and_time(os.path.join(root, paths[row]))  # noqa: PTH118 (once an image)
                files.ids[row] = _id(paths[row], size, mtime_ns)
                files.sizes[row], files.mtimes_ns[row] = size, mtime_ns
            except (OSError, InputError, UnreadableImage) as error:
                files.errors[row] = reason_of(error)
            except ValueError:  # a NUL, or a character that file names here can't contain
                files.errors[row] = "no file can have this name"

    with decoding_threads() as pool:
        list(pool.map(look, range(0, n, TASK_FILES)))  # raises the exception of a thread
    return files


def ids_of(paths: Sequence[str], sizes: NDArray[np.int64], mtimes_ns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the ids of files, (N, 2) uint64, from size, time and path."""
    ids = [_id(*file) for file in zip(paths, sizes.tolist(), mtimes_ns.tolist(), strict=True)]
    return np.array(ids, np.uint64).reshape(-1, 2)


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 (once an image)
    except NotADirectoryError:
        if member := find_member(Path(path)):
            return member.size, member.mtime_ns
        raise
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage("not a regular file")
    return status.st_size, status.st_mtime_ns


def _id(path: str, size: int, mtime_ns: int) -> tuple[int, int]:
    return _TWO_WORDS.unpack(blake2b(_SIZE_AND_TIME.pack(size, mtime_ns) + os.fsencode(path), digest_size=16).digest())
