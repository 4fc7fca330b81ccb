"""The row numbers of a stream of the Rust core, as arrays or as Python ints."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments


class RowStream(Protocol):
    """An epoch of draws in the Rust core."""

    def indices(self, start: int, stop: int, step: int = 1, num_threads: int = 1) -> NDArray[np.int64]:
        """The rows of the draws ``range(start, stop, step)``."""


class Rows:
    """The draws of `stream`."""

    def __init__(self, stream: RowStream) -> None:
        self._stream = stream

    def rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the draws ``range(start, stop)`` as int64."""
        return self._stream.indices(start, stop, 1, arguments.num_threads())

    def chunk(self, start: int, stop: int, step: int) -> list[int]:
        """Return the draws ``range(start, stop, step)``."""
        # A chunk is too short for threads, but the first one may have to wait for a whole order.
        rows: list[int] = self._stream.indices(start, stop, step, arguments.num_threads()).tolist()
        return rows
