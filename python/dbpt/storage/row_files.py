"""Rows of numbers in a part of a file, read without mapping it, or in memory."""

import os
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.storage.files import reason_of, system_errors

LARGEST_GAP = 1 << 14
"""Bytes between two rows that are read too, since another read costs more."""


class UnreadableRows(InputError):
    """A file that could be read before; ``problem`` says what is wrong without the way out."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; put the file back, and start again")
        self.problem = problem


class Rows(Protocol):
    """M rows of D numbers: ``shape`` (M, D), and their ``dtype``."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def read(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read ``rows`` (n,), in ascending order, perhaps with repeats, into ``out`` (n, D) of the same dtype."""

    def for_other_processes(self) -> "Rows":
        """Return rows that can be pickled, for processes that see the same files."""


class RowsInMemory:
    """The rows of an array (M, D)."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self.shape, self.dtype = array, (len(array), array.shape[1]), array.dtype

    def read(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Copy ``rows`` into ``out``."""
        np.take(self._array, rows, axis=0, out=out, mode="clip")  # without it, take makes a copy first

    def for_other_processes(self) -> "RowsInMemory":
        """Return these rows."""
        return self


class RowsFile:
    """The rows (M, D) that begin at a byte of a file.

    Each read opens the file, and before and after it refuses one that was changed or replaced since this object was
    made (in another process: since the first read), by size, time and inode. A file that ends early is an error too;
    reading a mapped one would end the process by a signal.
    """

    _seen: tuple[int, int, int] | None

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, int], offset: int) -> None:
        self.path, self.dtype, self.shape, self._offset = path, dtype, shape, offset
        self._row_bytes = dtype.itemsize * shape[1]
        self._seen = self._look()

    def _look(self) -> tuple[int, int, int] | None:
        return _identity(os.stat(self.path))  # noqa: PTH116 (once a block)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123
            self._seen = self._seen or _identity(os.fstat(file.fileno()))
            self._compare(file)
            yield file
            self._compare(file)

    def _compare(self, file: IO[bytes]) -> None:
        if _identity(os.fstat(file.fileno())) != self._seen:
            raise UnreadableRows(f"{self.path}: was changed or replaced while it was in use")

    def for_other_processes(self) -> "RowsFile":
        """Return these rows; the file may be another copy elsewhere."""
        rows = copy(self)
        rows._seen = None
        return rows

    def read(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read ``rows`` into ``out``, neighbours at once. Raises `InputError` for a changed file."""
        try:
            with self._opened() as file:
                # Rows that are near enough are read at once.
                ends = np.flatnonzero(np.diff(rows) * self._row_bytes > LARGEST_GAP) + 1
                for start, stop in pairwise([0, *ends.tolist(), len(rows)]):
                    self._read_run(file, rows[start:stop], out[start:stop])
        except OSError as error:
            raise UnreadableRows(f"{self.path}: cannot be read: {reason_of(error)}") from None

    def _read_run(self, file: IO[bytes], rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
        is_whole = count == len(rows) and bool((np.diff(rows) == 1).all())
        read = out if is_whole else np.empty((count, self.shape[1]), self.dtype)
        file.seek(self._offset + first * self._row_bytes)
        left = read.reshape(-1).view(np.uint8).data
        while len(left):
            if not (number := file.readinto(left)):  # type: ignore[attr-defined]
                raise UnreadableRows(f"{self.path}: ended while it was read")
            left = left[number:]
        if not is_whole:
            np.take(read, rows - first, axis=0, out=out, mode="clip")


class CopiedRows(RowsFile):
    """A copy of rows in a temporary file without a name, for formats whose rows can't be read singly.

    Args:
        path: where the rows come from, for messages.
        blocks: (m, D) each, of one dtype, of which there is at least one.
    """

    def __init__(self, path: Path, blocks: Iterable[NDArray[Any]]) -> None:
        self._lock, number = threading.Lock(), 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the rows)
        weakref.finalize(self, self._file.close)
        for block in blocks:
            with system_errors(f"{tempfile.gettempdir()}: no copy of {path} can be written", "set TMPDIR"):
                self._file.write(np.ascontiguousarray(block).view(np.uint8).data)
                self._file.flush()
            number += len(block)
        super().__init__(path, block.dtype, (number, block.shape[1]), 0)

    def _look(self) -> None:
        return None  # nobody else can change it

    def for_other_processes(self) -> RowsFile:
        """Refuse."""
        hint = "their columns can't be read by rows; save them as .npy or .safetensors"
        raise InputError(f"{self.path}: these features are too large to be sent to other processes, and {hint}")

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        with self._lock:  # its position is that of all threads
            yield self._file


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
