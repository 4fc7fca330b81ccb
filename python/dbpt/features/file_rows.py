"""The files of a list as the disk has them now, and an id for the content of each: by size, time and path, or read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt._core import row_ids, stat_files
from dbpt.archives import find_member
from dbpt.arguments import available_cpus
from dbpt.errors import InputError

from .images import UnreadableImage, decoding_threads, open_with_stamp

NOT_A_FILE, UNNAMED = -1, -2  # errors of `stat_files` that are none of the system's
BLOCK = 1 << 20
TASK_FILES = 256


@dataclass(frozen=True, eq=False)
class FileRows:
    """N files below one root.

    Attributes:
        paths: (N,) relative to the root.
        sizes: (N,) int64, bytes.
        mtimes_ns: (N,) int64, nanoseconds since 1970.
        ids: (N, 2) uint64, the first half of the BLAKE3 of size, time and path (see `dbpt._core.row_ids`), or 16 bytes
            of BLAKE2b of the content.
        errors: by row, why a file is not there or is none. Its size and time are 0, and its id means nothing.
    """

    paths: Sequence[str]
    sizes: NDArray[np.int64]
    mtimes_ns: NDArray[np.int64]
    ids: NDArray[np.uint64]
    errors: dict[int, str]

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, rows: NDArray[np.int64]) -> FileRows:
        """These rows, which have no errors."""
        paths = [self.paths[row] for row in rows.tolist()]
        return FileRows(paths, self.sizes[rows], self.mtimes_ns[rows], self.ids[rows], {})


def look_up_files(root: Path, paths: Sequence[str], *, by_content: bool = False) -> FileRows:
    """Ask the disk for each of ``paths`` below ``root``, inside archives too; ``by_content`` reads every file."""
    names = joined(paths)
    sizes, mtimes_ns, errors = stat_files(os.fsencode(root), names, num_threads=available_cpus())
    reasons: dict[int, str] = {}
    for row in np.flatnonzero(errors).tolist():
        found = _inside(root, paths[row])
        if isinstance(found, str):
            reasons[row] = found if found else _reason(int(errors[row]))
        else:
            sizes[row], mtimes_ns[row] = found
    ids = ids_of(names, sizes, mtimes_ns)
    if by_content:
        _read_ids(root, paths, ids, reasons)
    return FileRows(paths, sizes, mtimes_ns, ids, reasons)


def _read_ids(root: Path, paths: Sequence[str], ids: NDArray[np.uint64], reasons: dict[int, str]) -> None:
    """Replace the ids of files that are there by what their content says; enter what can't be read."""

    def read(first: int) -> None:
        for row in range(first, min(first + TASK_FILES, len(paths))):
            if row not in reasons:
                try:
                    ids[row] = _content_id(root / paths[row])
                except (OSError, UnreadableImage) as error:
                    reasons[row] = getattr(error, "strerror", None) or str(error)

    with decoding_threads() as pool:
        for _ in pool.map(read, range(0, len(paths), TASK_FILES)):
            pass


def _content_id(path: Path) -> NDArray[np.uint64]:
    digest = hashlib.blake2b(digest_size=16)
    opened, _ = open_with_stamp(path)
    with opened as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return np.frombuffer(digest.digest(), dtype="<u8")


def ids_of(names: bytes, sizes: NDArray[np.int64], mtimes_ns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(N, 2) uint64 of names with NULs between them, as `joined` makes them."""
    return row_ids(names, sizes, mtimes_ns, num_threads=available_cpus())


def joined(paths: Sequence[str]) -> bytes:
    """The bytes of the paths with NULs between them; a path that has one itself becomes ``?``, which is no file."""
    text = "\0".join(paths)
    if text.count("\0") >= len(paths) > 0:
        text = "\0".join("?" if "\0" in path else path for path in paths)
    return os.fsencode(text)


def _inside(root: Path, path: str) -> tuple[int, int] | str:
    """Size and time of what lies in an archive; a reason, empty for the system's own, if there is no such thing."""
    if "\0" in path:
        return "no file name holds a NUL"
    try:
        member = find_member(root / path)
    except InputError as error:
        return str(error)
    return "" if member is None else (member.size, member.mtime_ns)


def _reason(error: int) -> str:
    if error == NOT_A_FILE:
        return "not a regular file"
    return "no file can have this name" if error == UNNAMED else os.strerror(error)
