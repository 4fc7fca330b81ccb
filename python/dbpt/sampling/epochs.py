"""What the samplers share: epochs and passes, ranks, chunks, and states that continue anywhere.

What an epoch's draws are, each sampler says; here is only how one moves through them.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from torch.utils.data import Sampler

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.sampling.passes import Drawn, Progress, Stream, chunks

_STATE_VERSION = 1
# The core's epochs go further: passes count on from any that can be set or loaded.
_LAST_EPOCH = 2**63 - 1
_MAX_REPLICAS = 2**48

Law = TypeVar("Law")


class EpochSampler(Sampler[Drawn], Generic[Drawn, Law]):
    """Passes over epochs of a fixed number of draws, whose law may change from one pass to the next.

    Subclasses give the law its meaning: they open an epoch's stream, and turn laws into plain numbers and back.
    """

    _chunk_draws: ClassVar[int]
    """How many draws of this rank become Python objects at a time."""
    _drawn_from: ClassVar[str]
    """What a state must agree on, for its messages, for example "groups"."""

    def __init__(self, law: Law, length: int, seed: int, rank: int, num_replicas: int) -> None:
        self._seed = arguments.seed(seed)
        self.rank, self.num_replicas = rank, num_replicas
        self._epoch = 0
        self._length = length  # draws in an epoch, over all ranks
        self._law = law
        self._next_law: Law | None = None
        self._resume_at: int | None = None  # where the next iter() starts, after load_state_dict
        self._finish_epoch = False  # set_epoch asked for what is left of the loaded epoch, even if it is nothing
        self._progress: Progress[Drawn] | None = None  # of the last pass over the current epoch, if there was one
        self._opened: Stream[Drawn] | None = None  # of the current epoch and law

    # What subclasses say.

    @abstractmethod
    def _open(self, law: Law, epoch: int) -> Stream[Drawn]:
        """The draws of `epoch` under `law`."""

    @abstractmethod
    def _digest(self) -> int:
        """A number by which a state recognises what is drawn from."""

    @abstractmethod
    def _laws_to_state(self, current: Law, upcoming: Law) -> dict[str, int | list[int]]:
        """The laws of this and the next pass as plain numbers."""

    @abstractmethod
    def _laws_from_state(self, state: dict[str, Any]) -> tuple[Law, Law, int]:
        """Both laws again, and the draws in an epoch, or an `InputError`; must change nothing."""

    # Epochs and passes.

    @property
    def seed(self) -> int:
        """The seed, or that of the loaded state."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch of the last pass, or of the next one if `set_epoch` or `load_state_dict` came after it."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`; a loaded position in this very epoch is kept, even if nothing is left of it."""
        epoch = arguments.integer("epoch", epoch, 0, _LAST_EPOCH)
        if epoch == self.epoch and self._resume_at is not None:
            self._finish_epoch = True
        else:
            self._go_to(epoch)

    def __len__(self) -> int:
        """Return the number of draws of this rank in a full epoch."""
        return len(range(self.rank, self._length, self.num_replicas))

    def __iter__(self) -> Iterator[Drawn]:
        """Start a pass: where the loaded state left off, or else from the beginning of the epoch."""
        # Not a generator: the loaded position is used up by iter(), not by the first draw.
        return _Pass.of(self)

    def _begin(self) -> Iterator[Iterable[Drawn]]:
        start = self._resume_at
        if start is None or (start == self._length and not self._finish_epoch):
            self._go_to(self.epoch + 1 if self._is_over() else self.epoch)
            start = 0
        self._resume_at = None
        # Each pass notes its own progress: an older one that is still drawn from must not move the sampler.
        self._progress = Progress.of(start, self._length, self.rank, self.num_replicas)
        return chunks(self._stream(), self._progress, self._chunk_draws)

    def _is_over(self) -> bool:
        if self._resume_at is not None:
            return self._resume_at == self._length
        return self._progress is not None and self._progress.is_over

    def _position(self, consumed: int | None = None) -> int:
        """The global draw up to which all ranks have come, if they are in step."""
        if self._resume_at is None and self._progress is not None:
            return self._progress.position(self._progress.made if consumed is None else consumed)
        return min(self._length, (self._resume_at or 0) + (consumed or 0) * self.num_replicas)

    def _go_to(self, epoch: int) -> None:
        self._epoch = epoch
        self._finish_epoch = False
        self._resume_at, self._progress, self._opened = None, None, None
        if self._next_law is not None:
            self._law, self._next_law = self._next_law, None

    def _set_law(self, law: Law) -> None:
        """Use `law` from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        if self._progress is not None or self._resume_at is not None:
            self._next_law = law
        else:
            self._law, self._opened = law, None

    def _stream(self) -> Stream[Drawn]:
        if self._opened is None:
            self._opened = self._open(self._law, self.epoch)
        return self._opened

    # States.

    def state_dict(self, *, consumed: int | None = None) -> dict[str, int | list[int]]:
        """Return what is needed to continue after the last draw made: plain ints and lists of ints.

        The state is that of all ranks, drawing in step: it is the same on each, and may be loaded by another number
        of ranks. A `DataLoader` with workers draws ahead of the batches it has handed out, so tell how many draws of
        this rank the loop has `consumed` in the present pass, which began where the loaded state left off. Where some
        ranks have a draw less than others, take the state of rank 0.

        Raises:
            InputError: more are `consumed` than were drawn.
        """
        if consumed is not None:
            consumed = arguments.integer("consumed", consumed, 0)
            made = len(self) if self._progress is None else self._progress.made
            if consumed > made:
                raise InputError(f"consumed is {consumed}; expected up to {made}, what this rank has drawn in its pass")
        upcoming = self._law if self._next_law is None else self._next_law
        return {
            "version": _STATE_VERSION,
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self._position(consumed),
            f"{self._drawn_from}_digest": self._digest(),
            **self._laws_to_state(self._law, upcoming),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state` at the next ``iter()``; at the very end of an epoch, with the next epoch.

        Raises:
            InputError: the state is of another version or other data, or isn't a state; nothing has changed then.
        """
        expected = self.state_dict().keys()
        if not isinstance(state, dict) or state.keys() != expected:
            names = ", ".join(sorted(expected))
            raise InputError(f"state is not that of a {type(self).__name__}; expected the keys {names}")
        version = state["version"]
        if not isinstance(version, int) or version != _STATE_VERSION:
            raise InputError(f"state['version'] is {arguments.in_one_line(version)}; expected {_STATE_VERSION}")
        self._check_digest(state[f"{self._drawn_from}_digest"])
        current, upcoming, length = self._laws_from_state(state)
        seed = arguments.integer("state['seed']", state["seed"], 0, 2**64 - 1)
        epoch = arguments.integer("state['epoch']", state["epoch"], 0, _LAST_EPOCH)
        position = arguments.integer("state['position']", state["position"], 0, length)
        self._seed, self._epoch, self._length = seed, epoch, length
        self._law, self._next_law, self._resume_at = current, upcoming, position
        self._finish_epoch, self._progress, self._opened = False, None, None

    def _check_digest(self, digest: Any) -> None:
        if not isinstance(digest, int) or digest != self._digest():
            what = self._drawn_from
            raise InputError(
                f"state['{what}_digest'] differs: the state was saved with other {what}; use the same ones"
            )

    def __getstate__(self) -> dict[str, Any]:
        # A pass in progress isn't pickled; its position is.
        progress = self._progress and self._progress.paused()
        return {**self.__dict__, "_progress": progress, "_opened": None}


class _Pass(itertools.chain[Drawn]):
    """The draws of a pass.

    torchdata's `StatefulDataLoader` takes and gives back the states of sampler and iterator, in this order. Only the
    second says that a pass is to be finished: loaded at the very end of an epoch, it has nothing left, where a fresh
    pass would be the next epoch.
    """

    _sampler: EpochSampler[Drawn, Any]
    _source: _Source[Drawn]

    @classmethod
    def of(cls, sampler: EpochSampler[Drawn, Any]) -> _Pass[Drawn]:
        source = _Source(sampler._begin())
        found = cls.from_iterable(source)
        assert isinstance(found, _Pass)
        found._sampler, found._source = sampler, source
        return found

    def state_dict(self) -> dict[str, int | list[int]]:
        return self._sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`; before the first draw only."""
        self._sampler.load_state_dict(state)
        self._sampler._finish_epoch = True
        self._source.chunks = self._sampler._begin()


class _Source(Iterator[Iterable[Drawn]]):
    """Chunks that can still be exchanged for others."""

    def __init__(self, chunks: Iterator[Iterable[Drawn]]) -> None:
        self.chunks = chunks

    def __next__(self) -> Iterable[Drawn]:
        return next(self.chunks)


def checked_ranks(rank: int | None, num_replicas: int | None) -> tuple[int, int]:
    """Return both, or 0 and 1 if neither was given."""
    if (rank is None) != (num_replicas is None):
        raise InputError(f"rank is {rank} and num_replicas is {num_replicas}; expected both or neither")
    if rank is None or num_replicas is None:
        return 0, 1
    num_replicas = arguments.integer("num_replicas", num_replicas, 1, _MAX_REPLICAS)
    return arguments.integer("rank", rank, 0, num_replicas - 1), num_replicas
