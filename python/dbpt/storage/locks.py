"""One process at a time: locks, and folders that appear whole."""

import contextlib
import getpass
import logging
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from dbpt.errors import InputError
from dbpt.storage.files import open_regular, reason_of

logger = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds of waiting before it is reported
POLL = 0.05
LONGEST_NAME = 1000
OWNER = ".owner"  # suffix of the file with the owner's name


_log_once = lru_cache(logger.info)  # even if several waits are for the same owner


class OwnedLock:
    """A lock on ``file``, held within ``with``. Entering waits for the present owner and logs who that is.

    Its files exist only while a process holds the lock, or after its owner died.
    """

    def __init__(self, file: Path, what: str) -> None:
        self.file, self.what = file, what
        # Not local to a thread: one thread may take the lock and another release it.
        self._lock = FileLock(file, mode=0o644, thread_local=False)
        self._owner = file.with_name(file.name + OWNER)

    def take(self) -> bool:
        """Take the lock if it is free; return whether it was."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except (OSError, ValueError) as error:
            problem = f"{self.file.parent}: cannot lock {self.what}: {reason_of(error)}"
            raise InputError(f"{problem}; choose another folder") from None
        with contextlib.suppress(OSError):  # such as a full disk; the lock is held anyway
            self._write_owner()
        return True

    def wait(self, seconds: float = math.inf) -> bool:
        """Take the lock, waiting at most ``seconds``; return whether it is taken."""
        begun, is_logged = time.monotonic(), False
        while not self.take():
            waited = time.monotonic() - begun
            if waited > seconds:
                return False
            if waited > PATIENCE and not is_logged:
                is_logged = True
                _log_once(f"waiting for {self.owner()}, who has {self.what}")
            time.sleep(POLL)
        return True

    def owner(self) -> str:
        """Return the name of the process that holds the lock, or held it last."""
        return self._owner_line() or "another process"

    def release(self) -> None:
        """Release the lock, if it is held."""
        if not self._lock.is_locked:
            return
        for file in (self._owner, self.file):  # still locked; `FileLock` doesn't take a deleted file
            with contextlib.suppress(OSError):
                file.unlink()
        with contextlib.suppress(OSError):
            self._lock.release()

    def _owner_line(self) -> str | None:
        try:
            with open_regular(self._owner, follow=False) as file:
                return file.read(LONGEST_NAME).decode("utf-8", "replace").strip()
        except OSError:
            return None

    def _write_owner(self) -> None:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # such as a user without a name in a container
            user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
        self._owner.unlink(missing_ok=True)
        with self._owner.open("x", encoding="utf-8", errors="replace") as file:  # "x" doesn't follow links
            file.write(f"process {os.getpid()} of {user} on {socket.gethostname()}")

    def __enter__(self) -> "OwnedLock":
        self.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


@contextlib.contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yield a folder to fill, which is then renamed to ``final``; if anything fails, it is deleted."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".partial"))
    try:
        folder = temporary / final.name  # a new folder: others can't read a temporary one
        folder.mkdir()
        yield folder
        folder.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
