"""Samplers that are iterated an epoch at a time: passes, resuming, and ranks."""

import copy
import itertools
import operator
from abc import abstractmethod
from collections.abc import Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dbpt import arguments
from dbpt._core import Stream
from dbpt.errors import InputError
from dbpt.sampling.rank_draws import RankDraws, warn_unless_sharded

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

    The loader loads the state into the sampler, and then into this iterator, which finishes its epoch. So an iterator
    loaded at the end of an epoch has no draws left. The next pass of a sampler loaded there is over the next epoch.
    """

    chunks: "Chunks[Drawn]"

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

    def __init__(self, sampler: "EpochSampler[Drawn, Any]") -> None:
        self.sampler, self.finish = sampler, False
        self.begun: Pass[Drawn] | None = None

    def __next__(self) -> Iterator[Drawn]:
        if self.begun is None:
            self.begun = self.sampler._begin(self.finish)
        return next(self.begun)


Distribution = TypeVar("Distribution")

if TYPE_CHECKING:
    from torch.utils.data import Sampler
else:
    try:
        from torch.utils.data import Sampler
    except ImportError:  # samplers work without torch; loops that use torch look for its class

        class Sampler(Generic[Drawn]):
            """Stands for torch's class where torch isn't installed."""


_STATE_VERSION = 3
# The limit of what can be set or loaded. Passes may count on from it: the core takes larger numbers.
_LAST_EPOCH = 2**63 - 1
MAX_DRAWS = 2**48


class _Phase(Enum):
    """The relation of the next pass to the current epoch."""

    NEW = auto()  # it starts at the epoch's first draw
    LOADED = auto()  # it continues a loaded state; if that is the end of the epoch, the next epoch comes instead
    ASKED_FOR = auto()  # it continues a loaded state whose epoch `set_epoch` then named: empty at the epoch's end
    BEGUN = auto()  # the pass over this epoch has made its first draw; the next pass is over the next epoch


class EpochSampler(Sampler[Drawn], Generic[Drawn, Distribution]):
    """Iterate over epochs of a fixed number of draws, whose distribution may change between passes.

    Each pass is over the next epoch, even if the previous pass was not finished. `set_epoch` and `load_state_dict`
    choose another start for the next pass. A subclass sets the first distribution (shares of groups, or weights of
    rows), opens the stream of an epoch, and converts distributions to plain numbers and back.

    Arguments of all samplers:
        seed: an integer from 0 to 2**64 - 1. None draws one from torch's default generator, as torch's own samplers do
            (from NumPy's without torch); only in a single process.
        rank: make only every `num_replicas`-th draw of the global order, starting with number `rank`. Leave both out
            if the loop shards the draws (Accelerate, Trainer). With Lightning give both, and
            ``Trainer(use_distributed_sampler=False)``: it would shuffle rows again, and doesn't shard batch samplers.
        num_replicas: the number of ranks. All make equally many draws: the first draws of the epoch fill the last
            step, as in `DistributedSampler`.
        drop_last: leave out the draws of an incomplete last step instead of filling it.
        generator: refused; use `seed`.
        dataset: the data set that the rows index. Another length than expected is refused.
        num_threads: threads of the core, by default the number of processors. Results don't depend on it.
    """

    _chunk_rows: ClassVar[int] = 1 << 15  # about so many rows become Python objects at a time
    _rows_per_draw = 1
    _distribution: Distribution
    _phase: _Phase
    _start: int  # the draw of the global order at which the pass over the current epoch starts, or started
    _from_other_ranks: bool  # whether that pass continues one of another number of ranks
    _pass: Pass[Drawn] | None  # over the current epoch, once it has begun
    _opened: Stream | None  # of the current epoch and distribution

    def __init__(self, length: tuple[str, int], shard: RankDraws, seed: int, num_threads: int | None) -> None:
        """Check the ``length``, the name and value of the argument with the draws in an epoch."""
        self._shard, self._seed, self._num_threads = shard, seed, num_threads
        self._length = arguments.integer(*length, 1, MAX_DRAWS)  # draws in an epoch, over all ranks
        if not self._draws_from(0):
            raise InputError(
                f"{length[0]} is {length[1]}; expected {self.num_replicas} or above, a draw for each rank, or "
                "drop_last=False"
            )
        self._next_distribution: Distribution | None = None
        self._go_to(0)

    @abstractmethod
    def _open(self, distribution: Distribution, epoch: int) -> Stream:
        """Return the draws of `epoch` with this distribution."""

    @abstractmethod
    def _distributions_to_state(self, current: Distribution, upcoming: Distribution) -> dict[str, int | list[float]]:
        """Return both distributions as plain numbers, with a digest of the groups or weights."""

    @abstractmethod
    def _distributions_from_state(self, state: dict[str, Any]) -> tuple[Distribution, Distribution, int]:
        """Return both distributions and the draws in an epoch, or raise an `InputError`; must change nothing."""

    @property
    def seed(self) -> int:
        """The seed, or that of the loaded state."""
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch of the last pass, or that of the next one after `set_epoch` or `load_state_dict`."""
        return self._epoch

    @property
    def rank(self) -> int:
        """The rank that makes these draws."""
        return self._shard.rank

    @property
    def num_replicas(self) -> int:
        """The number of ranks."""
        return self._shard.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch. A loaded position in this epoch is kept, even if it is the end of the epoch.

        Args:
            epoch: the number of the next pass, 0 or above.

        Raises:
            InputError: for anything else.
        """
        epoch = arguments.integer("epoch", epoch, 0, _LAST_EPOCH)
        if epoch == self._epoch and self._phase in (_Phase.LOADED, _Phase.ASKED_FOR):
            self._phase = _Phase.ASKED_FOR
        else:
            self._go_to(epoch)

    def __len__(self) -> int:
        """Return the number of draws of this rank in an epoch, the same on every rank.

        If the pass continues one of another number of ranks, only those that remain: a loop can't know their number.
        With the same number of ranks, those of the whole epoch, as loops that count batches (Lightning) expect.
        """
        is_over = self._start == self._length and self._phase is not _Phase.ASKED_FOR
        return self._draws_from(self._start if self._from_other_ranks and not is_over else 0)

    def __iter__(self) -> Iterator[Drawn]:
        """Return the draws of the next pass: the rest of a loaded epoch, or else the next epoch; 0 the first time.

        The pass begins with its first draw, so an iterator that nobody draws from changes nothing.
        """
        chunks = Chunks(self)
        draws = cast("Draws[Drawn]", Draws.from_iterable(chunks))
        draws.chunks = chunks
        return draws

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return draws of the current epoch's global order, for any rank. The time doesn't depend on ``start``.

        Args:
            start: the first draw, 0 or above.
            stop: the end of the draws; by default that of the epoch.

        Returns:
            int64: rows (stop - start,), or batches (stop - start, batch_size).

        Raises:
            InputError: for draws outside the epoch.
        """
        start = arguments.integer("start", start, 0, self._length)
        stop = self._length if stop is None else arguments.integer("stop", stop, start, self._length)
        return self._stream().indices(start, stop, 1, self._threads())

    def _draws_from(self, start: int) -> int:
        """Return the number of draws of this rank from `start` to the end of the epoch."""
        return len(self._shard.draws(start, self._length))

    def _coming(self, finish: bool) -> tuple[int, int]:
        """Return the epoch and the first draw of the next pass; the end of an epoch only to ``finish`` that epoch."""
        is_over = self._phase is _Phase.LOADED and self._start == self._length and not finish
        if self._phase is _Phase.BEGUN or is_over:
            return self._epoch + 1, 0
        return self._epoch, self._start

    def _begin(self, finish: bool) -> Pass[Drawn]:
        """Begin the next pass."""
        if not self._shard.is_given:
            warn_unless_sharded()
        epoch, start = self._coming(finish)
        if epoch != self._epoch:
            self._go_to(epoch)
        chunk_size = max(1, self._chunk_rows // self._rows_per_draw)
        begun: Pass[Drawn] = Pass(self._stream(), self._shard.draws(start, self._length), self._length, chunk_size)
        # The sampler follows its newest pass. An older one that is still drawn from doesn't move it.
        self._phase, self._pass = _Phase.BEGUN, begun
        return begun

    def _go_to(self, epoch: int) -> None:
        self._epoch, self._start, self._phase = epoch, 0, _Phase.NEW
        self._from_other_ranks = False
        self._pass = self._opened = None
        if self._next_distribution is not None:
            self._distribution, self._next_distribution = self._next_distribution, None

    def _set_distribution(self, distribution: Distribution) -> None:
        """Use `distribution` from the next pass on. A pass that has begun or was loaded keeps its own."""
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

    def state_dict(self, *, consumed: int | None = None) -> dict[str, int | list[float]]:
        """Return the state after the last draw. All ranks draw in step and have the same state.

        Args:
            consumed: the number of draws of this rank that the loop has taken in the present pass, counted from where a
                loaded state continued. A `DataLoader` with workers draws ahead of the batches that it returns, so give
                it there.

        Returns:
            Plain numbers and lists of numbers, which another number of ranks may load too.

        Raises:
            InputError: if more is ``consumed`` than this rank has drawn.
        """
        count = made = 0 if self._pass is None else self._pass.made
        if consumed is not None:
            limit = len(self) if self._pass is None else made
            count = arguments.integer("consumed", consumed, 0)
            if count > limit:
                raise InputError(f"consumed is {count}; expected up to {limit}, what this rank has drawn in its pass")
        is_over = count and count >= self._draws_from(self._start)
        # The last step may be filled with draws from the start of the epoch, which don't move the position.
        position = self._length if is_over else self._start + count * self.num_replicas
        return self._state(self._epoch, position, self._distribution)

    def _state_to_come(self, finish: bool) -> dict[str, int | list[float]]:
        """Return the state before the first draw of the next pass."""
        epoch, start = self._coming(finish)
        if epoch == self._epoch or self._next_distribution is None:
            return self._state(epoch, start, self._distribution)
        return self._state(epoch, start, self._next_distribution)

    def _state(self, epoch: int, position: int, distribution: Distribution) -> dict[str, int | list[float]]:
        upcoming = distribution if self._next_distribution is None else self._next_distribution
        return {
            "version": _STATE_VERSION,
            "seed": self._seed,
            "epoch": epoch,
            "position": position,
            "num_replicas": self.num_replicas,
            **self._distributions_to_state(distribution, upcoming),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state in the next pass; from the end of an epoch, with the next epoch.

        Args:
            state: from `state_dict` of a sampler of the same data.

        Raises:
            InputError: The state has another version or belongs to other data. The sampler stays as it is.
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
        return {**self.__dict__, "_pass": copy.copy(self._pass), "_opened": None}  # a copy has no pass in progress
