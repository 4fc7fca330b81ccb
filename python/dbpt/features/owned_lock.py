"""Locks between processes, also of several machines on one file system, that say who has them.

A lock is a file that the system locks, and unlocks when its owner dies, however that is.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dbpt.errors import InputError

PATIENCE = 2.0  # seconds until a wait is worth a line
POLL = 0.05
FAR_AWAY = 1 << 30  # where Windows locks a byte, so that the owner's name can still be read


class OwnedLock:
    """The lock of ``file``, held within ``with``; entering waits for whoever has it, and tells ``say`` who that is."""

    def __init__(self, file: Path, what: str, say: Callable[[str], None] = lambda line: None) -> None:
        self.file, self.what, self._say = file, what, say
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take it if it is free. Raises `InputError` if this can't be known."""
        try:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._refused(error) from None
        try:
            _lock(descriptor)
        except OSError as error:
            _close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise self._refused(error) from None
        if not self._is_file_of(descriptor):  # who had it has removed it since it was opened: there may be a new one
            _close(descriptor)
            return False
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # a full disk: the lock is held all the same
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _myself().encode("utf-8", "replace"))
        return True

    def _is_file_of(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.file.stat())
        except OSError:
            return False

    def wait(self) -> None:
        """Take it, waiting as long as it takes."""
        self._wait(math.inf)

    def wait_until_free(self, seconds: float) -> None:
        """Wait, no longer than ``seconds``, until nobody has it."""
        if self._wait(seconds):
            self.release(remove=True)

    def _wait(self, seconds: float) -> bool:
        begun, told = time.monotonic(), False
        while not self.take():
            waited = time.monotonic() - begun
            if waited > seconds:
                return False
            if waited > PATIENCE and not told:
                told = True
                self._say(f"waiting for {self.owner()}, who has {self.what}")
            time.sleep(POLL)
        return True

    def owner(self) -> str:
        """Who has it, or had it last."""
        try:
            return self.file.read_text("utf-8", "replace").strip() or "another process"
        except OSError:
            return "another process"

    def release(self, *, remove: bool = False) -> None:
        """Give it back; ``remove`` the file where nobody needs this lock any more."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        with contextlib.suppress(OSError):
            if remove:
                self.file.unlink()
        _close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> OwnedLock:
        self.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def _refused(self, error: OSError) -> InputError:
        return InputError(f"{self.file.parent}: cannot lock {self.what}: {error.strerror}; choose another folder")


def _close(descriptor: int) -> None:
    """Unlock by it; whatever the system says, the descriptor is closed."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _myself() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
    return f"process {os.getpid()} of {user} on {socket.gethostname()}"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, FAR_AWAY, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            raise BlockingIOError from None
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
