"""A pass: one rank's draws of an epoch, or of the rest of one, as Python objects."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dbpt._core import Stream

if TYPE_CHECKING:
    from dbpt.sampling.epochs import EpochSampler

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


class Draws(itertools.chain[Drawn]):
    """The draws of a pass, with states for torchdata's `StatefulDataLoader`.

    It saves and loads the state of the sampler, then that of this iterator, which finishes its epoch: loaded at the end
    of one, it has no draws left, whereas the next pass of a sampler loaded there is the next epoch.
    """

    chunks: Chunks[Drawn]

    def state_dict(self) -> dict[str, int | list[float]]:
        """Return the state after the last draw."""
        sampler = self.chunks.sampler
        return sampler._state_to_come(self.chunks.finish) if self.chunks.begun is None else sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`; only before the first draw."""
        self.chunks.sampler.load_state_dict(state)
        self.chunks.finish = True


class Chunks(Iterator[Iterator[Drawn]]):
    """The chunks of a pass, which begins when the first is asked for."""

    def __init__(self, sampler: EpochSampler[Drawn, Any]) -> None:
        self.sampler, self.finish = sampler, False
        self.begun: Pass[Drawn] | None = None

    def __next__(self) -> Iterator[Drawn]:
        if self.begun is None:
            self.begun = self.sampler._begin(self.finish)
        return next(self.begun)
