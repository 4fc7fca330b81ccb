"""What the samplers share: epochs and passes, ranks, chunks, and states that continue anywhere.

Each sampler says what an epoch's draws are; this file only moves through them.
"""

from __future__ import annotations

import itertools
import operator
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.sampling.ranks import Ranks, check_dataset, checked_seed, warn_unless_sharded

Drawn = TypeVar("Drawn")
Distribution = TypeVar("Distribution")

if TYPE_CHECKING:
    from torch.utils.data import Sampler
else:
    try:
        from torch.utils.data import Sampler
    except ImportError:  # it is only a name that loops look for

        class Sampler(Generic[Drawn]):
            """Stands for torch's class where torch isn't installed."""


_STATE_VERSION = 2
# The core's epochs go further: passes count on from any that can be set or loaded.
_LAST_EPOCH = 2**63 - 1
MAX_DRAWS = 2**48


class Stream(Protocol):
    """An epoch of draws in the Rust core, each a pure function of its number."""

    def indices(self, start: int, stop: int, step: int = 1, num_threads: int = 1) -> NDArray[np.int64]:
        """Return the rows, or batches of rows, of the draws ``range(start, stop, step)``."""


class _Phase(Enum):
    """What has become of the pass over the current epoch."""

    NEW = auto()
    """It will start at the epoch's first draw."""
    LOADED = auto()
    """It will continue a loaded state; if nothing is left of it, the next epoch comes instead."""
    ASKED_FOR = auto()
    """It will continue a loaded state, even if nothing is left of it, because `set_epoch` named its epoch."""
    BEGUN = auto()
    """Its first draw was made, and the next pass is over the next epoch."""


@dataclass
class Progress(Generic[Drawn]):
    """How many of its draws this rank has made in a pass."""

    chunked: int = 0
    """Draws up to the end of the chunk."""
    chunk: Iterator[Drawn] = field(default_factory=lambda: iter(()))

    @property
    def made(self) -> int:
        """Draws without those that are left of the chunk."""
        return self.chunked - operator.length_hint(self.chunk)


class EpochSampler(Sampler[Drawn], Generic[Drawn, Distribution]):
    """Passes over epochs of a fixed number of draws, whose distribution may change from one pass to the next.

    Each pass is over the next epoch, whether or not the one before was finished; `set_epoch` and `load_state_dict` say
    where the next pass starts instead. Subclasses set the first distribution (quotas of groups, or weights of rows),
    open an epoch's stream, and turn distributions into plain numbers and back.

    Args:
        seed: an integer from 0 to 2**64 - 1. None takes one from torch's default generator, as torch's own samplers do
            (without torch from NumPy's), in a single process.
        rank: draw only every `num_replicas`-th row (or batch) of the global order, from the `rank`-th on. Leave both
            out where the loop shards (Accelerate, Trainer). With Lightning give both, and
            ``Trainer(use_distributed_sampler=False)``: it would shuffle rows again, and doesn't shard batch samplers.
        num_replicas: the number of ranks, which all make equally many draws: the epoch's first ones fill the last step,
            as in `DistributedSampler`.
        drop_last: leave out the draws of a last step that isn't full, instead of filling it.
        generator: refused; use `seed`.
        dataset: what the rows are read from, so that another length is refused at once.
        num_threads: of the core, by default the number of processors. They change nothing but the time.
    """

    _chunk_rows: ClassVar[int] = 1 << 15
    """About how many rows of this rank become Python objects at a time."""
    _rows_per_draw = 1
    _drawn_from: ClassVar[str]
    """The argument that a state must agree on, for its messages: "groups" or "weights"."""
    _distribution: Distribution
    _phase: _Phase
    _start: int
    """The draw of the global order at which the pass over the current epoch starts, or started."""
    _from_other_ranks: bool
    """Whether that pass goes on from one of another number of ranks."""
    _progress: Progress[Drawn]
    """Of that pass, once it has begun."""
    _opened: Stream | None
    """Of the current epoch and distribution."""

    def __init__(
        self,
        num_rows: int,
        length: tuple[str, int],
        *,
        seed: int | None,
        rank: int | None,
        num_replicas: int | None,
        drop_last: bool,
        generator: Any,
        dataset: Sized | None,
        num_threads: int | None,
    ) -> None:
        check_dataset(dataset, self._drawn_from, num_rows)
        self._ranks = Ranks.checked(rank, num_replicas, drop_last)
        self._seed, self._num_threads = checked_seed(seed, generator, self._ranks), num_threads
        self._length = arguments.integer(*length, 1, MAX_DRAWS)  # draws in an epoch, over all ranks
        if not self._ranks.draws_from(0, self._length):
            raise InputError(
                f"{length[0]} is {length[1]}; expected {self.num_replicas} or above, a draw for each rank, or "
                "drop_last=False"
            )
        self._next_distribution: Distribution | None = None
        self._go_to(0)

    # What subclasses say.

    @abstractmethod
    def _open(self, distribution: Distribution, epoch: int) -> Stream:
        """Return the draws of `epoch` with this distribution."""

    @abstractmethod
    def _digest(self) -> int:
        """Return a number by which a state recognises what is drawn from."""

    @abstractmethod
    def _distributions_to_state(self, current: Distribution, upcoming: Distribution) -> dict[str, int | list[int]]:
        """Return the distributions of this and the next pass as plain numbers."""

    @abstractmethod
    def _distributions_from_state(self, state: dict[str, Any]) -> tuple[Distribution, Distribution, int]:
        """Return both distributions again, and the draws in an epoch, or raise an `InputError`; must change nothing."""

    # Epochs and passes.

    @property
    def seed(self) -> int:
        """The seed, or that of the loaded state."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch of the last pass, or of the next one if `set_epoch` or `load_state_dict` came after it."""
        return self._epoch

    @property
    def rank(self) -> int:
        """The rank that makes these draws."""
        return self._ranks.rank

    @property
    def num_replicas(self) -> int:
        """The number of ranks."""
        return self._ranks.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`; a loaded position in this very epoch is kept, even if nothing is left of it."""
        epoch = arguments.integer("epoch", epoch, 0, _LAST_EPOCH)
        if epoch == self._epoch and self._phase in (_Phase.LOADED, _Phase.ASKED_FOR):
            self._phase = _Phase.ASKED_FOR
        else:
            self._go_to(epoch)

    def __len__(self) -> int:
        """Return the number of draws of this rank in an epoch, the same on every rank.

        Where the pass goes on from one of another number of ranks, those that remain, which no loop can know otherwise;
        with as many ranks as before those of the whole epoch, as loops that count batches (Lightning) expect.
        """
        is_over = self._start == self._length and self._phase is not _Phase.ASKED_FOR
        start = self._start if self._from_other_ranks and not is_over else 0
        return self._ranks.draws_from(start, self._length)

    def __iter__(self) -> Iterator[Drawn]:
        """Start a pass where the loaded state left off, or else over the next epoch; over 0 the first time.

        It begins with the first draw: an iterator that nobody draws from uses nothing up.
        """
        source = _Source(self)
        passing = cast("_Pass[Drawn]", _Pass.from_iterable(source))
        passing.source = source
        return passing

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the draws `start` to `stop` of the current epoch's global order, whatever the rank.

        Of rows int64 (stop - start,), of batches (stop - start, batch_size), in O(its size) wherever `start` lies.
        """
        start = arguments.integer("start", start, 0, self._length)
        stop = self._length if stop is None else arguments.integer("stop", stop, start, self._length)
        return self._stream().indices(start, stop, 1, self._threads())

    def _coming(self, finish: bool) -> tuple[int, int]:
        """Return the epoch and start of the next pass; at the end of an epoch if that is to be finished."""
        is_over = self._phase is _Phase.LOADED and self._start == self._length and not finish
        if self._phase is _Phase.BEGUN or is_over:
            return self._epoch + 1, 0
        return self._epoch, self._start

    def _begin(self, finish: bool) -> Iterator[Iterable[Drawn]]:
        if not self._ranks.are_given:
            warn_unless_sharded()
        epoch, start = self._coming(finish)
        if epoch != self._epoch:
            self._go_to(epoch)
        stream = self._stream()  # or an error, and the pass hasn't begun
        ranks, count = self._ranks, self._ranks.draws_from(start, self._length)
        # Draws beyond the epoch's length stand for its first ones.
        draws = range(start + ranks.rank, start + count * ranks.num_replicas, ranks.num_replicas)
        # Each pass notes its own progress: an older one that is still drawn from must not move the sampler.
        self._phase, self._progress = _Phase.BEGUN, Progress()
        return self._chunks(stream, draws, self._progress, self._length)

    def _chunks(
        self, stream: Stream, draws: range, progress: Progress[Drawn], length: int
    ) -> Iterator[Iterator[Drawn]]:
        """Yield the draws, some at a time, and note in `progress` how many are made."""
        size = max(1, self._chunk_rows // self._rows_per_draw)
        for first in range(0, len(draws), size):
            part = draws[first : first + size]
            made = stream.indices(min(part.start, length), min(part.stop, length), part.step).tolist()
            for draw in part[len(made) :]:  # at most one, unless there are more ranks than draws
                made += stream.indices(draw % length, draw % length + 1).tolist()
            progress.chunked, progress.chunk = first + len(made), iter(made)
            yield progress.chunk

    def _go_to(self, epoch: int) -> None:
        self._epoch, self._start, self._phase = epoch, 0, _Phase.NEW
        self._from_other_ranks = False
        self._progress, self._opened = Progress(), None
        if self._next_distribution is not None:
            self._distribution, self._next_distribution = self._next_distribution, None

    def _set_distribution(self, distribution: Distribution) -> None:
        """Use `distribution` from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        if self._phase is _Phase.NEW:
            self._distribution, self._opened = distribution, None
        else:
            self._next_distribution = distribution

    def _stream(self) -> Stream:
        if self._opened is None:
            self._opened = self._open(self._distribution, self._epoch)
        return self._opened

    def _threads(self) -> int:
        return arguments.num_threads(self._num_threads)

    def _shown_epoch(self) -> str:
        shard = f", rank={self.rank}, num_replicas={self.num_replicas}" if self.num_replicas > 1 else ""
        return f"seed={self.seed}, epoch={self.epoch}{shard}"

    # States.

    def state_dict(self, *, consumed: int | None = None) -> dict[str, int | list[int]]:
        """Return what is needed to continue after the last draw made: plain ints and lists of ints.

        The state is that of all ranks, drawing in step: it is the same on each, and may be loaded by another number
        of ranks. A `DataLoader` with workers draws ahead of the batches it has handed out, so tell how many draws of
        this rank the loop has `consumed` in the present pass, which began where the loaded state left off.
        """
        if consumed is not None:
            consumed = arguments.integer("consumed", consumed, 0)
            made = self._progress.made if self._phase is _Phase.BEGUN else len(self)
            if consumed > made:
                raise InputError(f"consumed is {consumed}; expected up to {made}, what this rank has drawn in its pass")
        count = self._progress.made if consumed is None else consumed
        is_over = count and count >= self._ranks.draws_from(self._start, self._length)
        position = self._length if is_over else self._start + count * self.num_replicas
        return self._state(self._epoch, position, self._distribution)

    def _state(self, epoch: int, position: int, distribution: Distribution) -> dict[str, int | list[int]]:
        upcoming = distribution if self._next_distribution is None else self._next_distribution
        return {
            "version": _STATE_VERSION,
            "seed": self._seed,
            "epoch": epoch,
            "position": position,
            "num_replicas": self.num_replicas,
            f"{self._drawn_from}_digest": self._digest(),
            **self._distributions_to_state(distribution, upcoming),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state` in the next pass; at the very end of an epoch, with the next epoch.

        A state of another version or other data is refused and changes nothing.
        """
        expected = self.state_dict().keys()
        if not isinstance(state, dict) or state.keys() != expected:
            names = ", ".join(sorted(expected))
            raise InputError(f"state is not that of a {type(self).__name__}; expected the keys {names}")
        version = state["version"]
        if not isinstance(version, int) or version != _STATE_VERSION:
            raise InputError(f"state['version'] is {arguments.in_one_line(version)}; expected {_STATE_VERSION}")
        current, upcoming, length = self._distributions_from_state(state)
        seed = arguments.integer("state['seed']", state["seed"], 0, 2**64 - 1)
        epoch = arguments.integer("state['epoch']", state["epoch"], 0, _LAST_EPOCH)
        position = arguments.integer("state['position']", state["position"], 0, length)
        num_replicas = arguments.integer("state['num_replicas']", state["num_replicas"], 1)
        self._go_to(epoch)
        self._seed, self._length = seed, length
        self._distribution, self._next_distribution = current, upcoming
        self._start, self._phase = position, _Phase.LOADED
        self._from_other_ranks = num_replicas != self.num_replicas and position > 0

    def __getstate__(self) -> dict[str, Any]:
        # A pass in progress isn't pickled; its position is.
        return {**self.__dict__, "_progress": Progress(self._progress.made), "_opened": None}


class _Pass(itertools.chain[Drawn]):
    """The draws of a pass, from the first that is asked for.

    torchdata's `StatefulDataLoader` takes and gives back the states of sampler and iterator, in this order. Only the
    second says that a pass is to be finished: loaded at the very end of an epoch, it has nothing left, where a fresh
    pass would be the next epoch.
    """

    source: _Source[Drawn]

    def state_dict(self) -> dict[str, int | list[int]]:
        sampler = self.source.sampler
        if self.source.chunks is not None:
            return sampler.state_dict()
        epoch, start = sampler._coming(self.source.finish)
        upcoming = sampler._next_distribution if epoch != sampler._epoch else None
        return sampler._state(epoch, start, sampler._distribution if upcoming is None else upcoming)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`; before the first draw only."""
        self.source.sampler.load_state_dict(state)
        self.source.finish = True


class _Source(Iterator[Iterable[Drawn]]):
    """The chunks of a pass, which begins when the first is asked for."""

    def __init__(self, sampler: EpochSampler[Drawn, Any]) -> None:
        self.sampler = sampler
        self.finish = False
        self.chunks: Iterator[Iterable[Drawn]] | None = None

    def __next__(self) -> Iterable[Drawn]:
        if self.chunks is None:
            self.chunks = self.sampler._begin(self.finish)
        return next(self.chunks)
