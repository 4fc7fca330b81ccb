"""One process at a time: locks, folders that appear whole, and torchrun's variables."""

import contextlib
import getpass
import logging
import math
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout

from dbpt.errors import InputError
from dbpt.storage.files import open_regular, reason_of

logger = logging.getLogger(__name__)


def launched() -> bool:
    """Return whether a launcher started this process as one of several. Refuses impossible variables."""
    size = _variable("WORLD_SIZE", 1, 2**31) if "WORLD_SIZE" in os.environ else 0
    if "RANK" in os.environ:
        _variable("RANK", 0, (size or 2**31) - 1)
    if size < 2 or "RANK" not in os.environ:  # containers and batch systems may set only one of them
        return False
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        dist = sys.modules.get("torch.distributed")
        if dist is not None and dist.is_available() and dist.is_initialized():  # the caller did it
            return False
        hint = "where the processes meet: start with torchrun, or unset WORLD_SIZE to run alone"
        raise InputError(f"$WORLD_SIZE is {size} and $RANK is set, but not ${' and $'.join(missing)}, {hint}")
    limits = {"MASTER_PORT": (0, 2**16 - 1), "LOCAL_RANK": (0, size - 1), "LOCAL_WORLD_SIZE": (1, size)}
    for name, (low, high) in limits.items():
        if name in os.environ:
            _variable(name, low, high)
    return True


def _variable(name: str, low: int, high: int) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        hint = "start with torchrun, or unset RANK and WORLD_SIZE to run alone"
        raise InputError(f"${name} is {text!r}; expected a number from {low} to {high}: {hint}")
    return int(text)


def launched_rank() -> int:
    """Return the rank of this process among those launched together; 0 if it was launched alone."""
    return int(os.environ["RANK"]) if launched() else 0


def launched_size() -> int:
    """Return how many processes were launched together; 1 if this one was launched alone."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def local_rank() -> int:
    """Return the rank of this process on its machine; 0 if it was launched alone."""
    return int(os.environ.get("LOCAL_RANK", launched_rank())) if launched() else 0


def local_size() -> int:
    """Return how many processes were launched together on this machine; 1 if unknown."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if launched() else 1


def take_own_gpu(device: str) -> bool:
    """Make this process's GPU the current one, which ``cuda`` and ``auto`` then mean, if several were launched.

    Return whether it computes on a GPU. Raises `InputError` if there are too few GPUs or ``device`` names one of them.
    """
    import torch

    if not launched():
        return device != "cpu" and torch.cuda.is_available()
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not on_gpu and device not in ("auto", "cpu"):
        problem = f"--device {device} with several processes: each takes a device of its own"
        raise InputError(f"{problem}; use auto, cuda or cpu")
    if on_gpu:
        number, gpus = local_rank(), torch.cuda.device_count()
        processes = max(local_size(), number + 1)
        if processes > gpus:
            hint = "start one for each GPU (--nproc-per-node), or use --device cpu"
            raise InputError(f"{processes} processes on this machine, and {gpus} GPUs: {hint}")
        torch.cuda.set_device(number)
    return on_gpu


PATIENCE = 2.0  # seconds of waiting before it is reported
POLL = 0.05
LONGEST_NAME = 1000
OWNER = ".owner"  # suffix of the file with the owner's name
OWN_CONTENT = re.compile(r"|process \d+ of .+ on .+", re.DOTALL)  # empty if its writer was killed


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

    def check_owner_file(self) -> None:
        """Refuse a file of somebody else in the place of the owner's name. Taking the lock would replace it."""
        if not OWN_CONTENT.fullmatch(self._owner_line() or ""):
            raise InputError(f"{self._owner}: a name that dbpt needs for itself; rename it, or choose another folder")

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
        with contextlib.suppress(FileNotFoundError):
            self._owner.unlink()
        descriptor = os.open(self._owner, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)  # O_EXCL doesn't follow links
        try:
            owner = f"process {os.getpid()} of {user} on {socket.gethostname()}"
            os.write(descriptor, owner.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)

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
