"""A pass: one rank's draws of an epoch, or of the rest of one, as Python objects."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from dbpt._core import Stream

Drawn = TypeVar("Drawn")


class Pass(Iterator[Iterator[Drawn]], Generic[Drawn]):
    """Iterate over the draws with numbers ``draws``, in chunks, and count those that are made.

    Args:
        length: of the epoch; draw i is draw i - length if i is beyond it.
        chunk_size: how many draws become Python objects at a time.
    """

    def __init__(self, stream: Stream, draws: range, length: int, chunk_size: int) -> None:
        self._stream, self._draws, self._length, self._chunk_size = stream, draws, length, chunk_size
        self._read = 0
        self._chunk: Iterator[Drawn] = iter(())

    @property
    def made(self) -> int:
        """Number of draws made so far: those read, less those left in the chunk."""
        return self._read - operator.length_hint(self._chunk)

    def __next__(self) -> Iterator[Drawn]:
        part = self._draws[self._read : self._read + self._chunk_size]
        if not part:
            raise StopIteration
        length = self._length
        drawn = self._stream.indices(min(part.start, length), min(part.stop, length), part.step).tolist()
        for number in part[len(drawn) :]:  # at most one, unless there are more ranks than draws
            drawn += self._stream.indices(number % length, number % length + 1).tolist()
        self._read, self._chunk = self._read + len(drawn), iter(drawn)
        return self._chunk

    def __getstate__(self) -> dict[str, Any]:
        return {"_read": self.made, "_chunk": iter(())}  # a copy only tells how many draws were made
