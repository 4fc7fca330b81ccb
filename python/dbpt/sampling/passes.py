"""One pass of one rank over an epoch: its draws chunk by chunk, and how far they have come."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

Drawn = TypeVar("Drawn")


class Stream(Protocol[Drawn]):
    """The draws of one epoch, each a pure function of its number."""

    def chunk(self, start: int, stop: int, step: int) -> list[Drawn]:
        """Return the draws ``range(start, stop, step)``."""


@dataclass
class Progress(Generic[Drawn]):
    """How far a rank has come in its pass."""

    start: int
    """The draw of the global order at which the pass began."""
    draws: range
    """This rank's draws from there on."""
    length: int
    """Draws in the epoch, over all ranks."""
    chunked: int = 0
    """Draws made, up to the end of the chunk."""
    chunk: Iterator[Drawn] = field(default_factory=lambda: iter(()))
    finished: bool = False
    """The pass was asked for more than all its draws, as a ``for`` loop does."""

    @classmethod
    def of(cls, start: int, length: int, rank: int, num_replicas: int) -> Progress[Drawn]:
        """A pass from the global draw `start` on, of which nothing is drawn yet."""
        # Ranks count within the pass, so that a state saved by another number of ranks is shared out evenly.
        return cls(start, range(start + rank, length, num_replicas), length)

    @property
    def made(self) -> int:
        """How many of its draws the rank has made."""
        return self.chunked - operator.length_hint(self.chunk)

    @property
    def is_over(self) -> bool:
        """Whether the rank has made all its draws; a rank that had none must have asked for one."""
        at_end = self.made == len(self.draws)
        return at_end and (self.finished or self.made > 0 or self.start == self.length)

    def position(self, made: int) -> int:
        """The draw of the global order that all ranks have come to in step, when each has `made` so many.

        At the end of the pass that is the end of the epoch, also for ranks that had one draw less than the first.
        """
        if self.finished and made >= len(self.draws):
            return self.length
        return min(self.length, self.start + made * self.draws.step)

    def paused(self) -> Progress[Drawn]:
        """The same without the rest of the chunk, fit to be pickled."""
        return replace(self, chunked=self.made, chunk=iter(()))


def chunks(stream: Stream[Drawn], progress: Progress[Drawn], size: int) -> Iterator[Iterator[Drawn]]:
    """The draws of `progress`, up to `size` at a time; noted there when they are made."""
    for first in range(0, len(progress.draws), size):
        part = progress.draws[first : first + size]
        made = stream.chunk(part.start, min(part.stop, progress.length), part.step)
        progress.chunked, progress.chunk = first + len(made), iter(made)
        yield progress.chunk
    progress.finished = True
