"""Lets a process meet a fault at its n-th call that changes or secures the disk; it calls `arm` before the command.

Only calls on files below one folder count, by name or by a descriptor opened there. They are those of the main thread,
so that their order is the same in each run.
"""

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = [
    "open",
    "write",
    "fsync",
    "ftruncate",
    "close",
    "chmod",
    "mkdir",
    "rmdir",
    "replace",
    "rename",
    "unlink",
    "remove",
]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
ONE_ERROR, ERRORS_FROM_THEN_ON = "one error", "errors from then on"
DELETE, MAKE_READ_ONLY = "delete the folder", "make the folders read-only"
KILL_BEFORE, KILL_HALFWAY, KILL_AFTER = "kill before", "kill halfway", "kill after"
KINDS = (ONE_ERROR, ERRORS_FROM_THEN_ON, DELETE, MAKE_READ_ONLY, KILL_BEFORE, KILL_HALFWAY, KILL_AFTER)


class Faults:
    """Let ``kind`` happen at call ``number`` of those below ``folder``; if it is an error, with the errno ``error``."""

    def __init__(self, folder: str, kind: str, number: int, error: int, trace: str) -> None:
        self.folder, self.kind, self.number, self.error = folder, kind, number, error
        self._seen, self._trace = 0, Path(trace).open("w", buffering=1)  # noqa: SIM115 (as long as the process)
        self._descriptors: set[int] = set()
        self._at_it = False

    def watch(self, owner: Any, name: str) -> None:
        """Have the calls of ``owner.name`` counted."""
        real = getattr(owner, name)

        def counted(target: Any, *arguments: Any, **options: Any) -> Any:
            if self._at_it or not self._is_below(target, options.get("dir_fd")):
                return real(target, *arguments, **options)
            if name == "close":
                self._descriptors.discard(target)
            self._seen += 1
            print(name, target if isinstance(target, int) else Path(target).name, file=self._trace)
            act = self._act if self._is_due() else call
            result = act(real, target, *arguments, **options)
            if name == "open":
                self._descriptors.add(result)
            return result

        setattr(owner, name, counted)

    def _is_below(self, target: Any, beside: int | None) -> bool:
        if isinstance(target, int) or beside is not None:
            return (target if beside is None else beside) in self._descriptors
        path = os.fspath(target)
        return path == self.folder or path.startswith(self.folder + os.sep)

    def _is_due(self) -> bool:
        past = self.kind == ERRORS_FROM_THEN_ON and self._seen > self.number
        return past or self._seen == self.number

    def _act(self, real: Callable[..., Any], target: Any, *arguments: Any, **options: Any) -> Any:
        if self.kind in (ONE_ERROR, ERRORS_FROM_THEN_ON):
            if real.__name__ == "close":  # the system gives the descriptor back all the same
                real(target)
            raise OSError(self.error, os.strerror(self.error))
        if self.kind in (DELETE, MAKE_READ_ONLY):
            self._at_it = True
            (_delete if self.kind == DELETE else _make_read_only)(self.folder)
            self._at_it = False
        elif self.kind in (KILL_BEFORE, KILL_HALFWAY):
            if self.kind == KILL_HALFWAY and real.__name__ == "write":
                real(target, arguments[0][: len(arguments[0]) // 2])
            die()
        try:
            return real(target, *arguments, **options)
        finally:
            if self.kind == KILL_AFTER:
                die()


def call(real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return real(*arguments, **options)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _delete(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _make_read_only(folder: str) -> None:
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o555)


def _forgo_privileges() -> None:
    """Have permissions count for root too."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0


def arm(folder: str, kind: str, number: int, error: int, trace: str) -> None:
    """Let ``kind`` happen at call ``number``, at none if that is 0; the calls are written down in ``trace``."""
    import fcntl  # not everywhere, as little as fork

    if kind == MAKE_READ_ONLY:
        _forgo_privileges()
    faults = Faults(folder, kind, number, error, trace)
    for name in CALLS:
        faults.watch(os, name)
    faults.watch(fcntl, "flock")


def all_faults(calls: list[str]) -> list[tuple[str, int, int]]:
    """Each kind at each of ``calls``, the errors by turns: (kind, number, errno)."""
    numbers = range(1, len(calls) + 1)
    faults = [
        (kind, number, ERRORS[(number + turn) % len(ERRORS)])
        for turn, kind in enumerate(kind for kind in KINDS if kind != KILL_HALFWAY)
        for number in numbers
    ]
    return faults + [(KILL_HALFWAY, number, 0) for number in numbers if calls[number - 1].startswith("write ")]
