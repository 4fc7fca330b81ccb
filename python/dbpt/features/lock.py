"""A lock between processes on one cache folder; the system releases it when its owner dies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbpt.errors import InputError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock file, waiting for whoever has it."""
    try:
        file = (folder / "lock").open("ab")
        _lock(file.fileno())
    except OSError as error:
        raise InputError(f"{folder}: cannot lock the feature cache: {error.strerror}; choose another folder") from None
    with file:  # closing it releases the lock
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
