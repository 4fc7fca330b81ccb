"""Samplers for PyTorch over the group stream of the Rust core.

Which row is draw i of epoch e is a pure function, so a sampler's state is a handful of integers. What groups weigh is
decided elsewhere (`dbpt._core.GroupWeights`).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from dbpt import arguments
from dbpt._core import GroupIndex, GroupStream, quotas
from dbpt.errors import InputError, nearest

__all__ = ["GroupSampler"]

_STATE_VERSION = 1
_CHUNK = 1 << 15  # draws turned into Python ints at a time


class GroupSampler(Sampler[int]):
    """Draw row numbers so that each group gets its share of the epoch, exactly.

    Every member of a group is drawn equally often, to within one. The draws of an epoch depend on nothing but the
    groups, the shares, `seed` and the epoch's number: not on ranks, workers or the position one starts from.

    A pass that is left in the middle starts over on a fresh ``iter()``, unless a state was loaded; after a finished
    pass the next one is the next epoch, so that calling `set_epoch` is possible but not necessary.

    Args:
        groups: (N,) group of each row, integers from 0 to ``num_groups - 1``.
        shares: what fraction of the draws each group gets: "balanced" (equal shares of all groups with members),
            "natural" (in proportion to their sizes) or (G,) non-negative numbers on any scale.
        group_weights: (G,) what one *sample* of a group weighs, instead of `shares`: group g gets a share
            proportional to ``N_g * group_weights[g]``.
        num_samples: draws in an epoch, over all ranks. By default N, raised to a multiple of `num_replicas`.
        seed: an integer from 0 to 2**64 - 1.
        num_groups: G, if the last groups have no members. By default ``max(groups) + 1``.
        rank: draw only every `num_replicas`-th row of the global order, from the `rank`-th on. Leave both out where
            the framework shards (Accelerate, Lightning, Trainer). If `num_samples` isn't a multiple of
            `num_replicas`, the first ranks have one draw more.
        num_replicas: the number of ranks.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> sampler = GroupSampler([0, 0, 0, 0, 0, 0, 1, 1], seed=1)
        >>> sorted(sampler)[-4:]
        [6, 6, 7, 7]
    """

    def __init__(
        self,
        groups: ArrayLike,
        *,
        shares: str | ArrayLike = "balanced",
        group_weights: ArrayLike | None = None,
        num_samples: int | None = None,
        seed: int = 0,
        num_groups: int | None = None,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        group_array = _checked_groups(groups)
        largest = int(group_array.max())
        if num_groups is None:
            num_groups = largest + 1
        self._index = GroupIndex(group_array, arguments.integer("num_groups", num_groups, 1))
        self.rank, self.num_replicas = _checked_ranks(rank, num_replicas)
        if num_samples is None:
            num_samples = -(-len(group_array) // self.num_replicas) * self.num_replicas
        self.num_samples = arguments.integer("num_samples", num_samples, 1)
        self.seed = arguments.seed(seed)
        self.epoch = 0
        self._quotas: NDArray[np.int64] = self._quotas_of(shares, group_weights)
        self._next_quotas: NDArray[np.int64] | None = None
        self._resume_at: int | None = None  # where the next iter() starts, after load_state_dict
        self._finish_epoch = False  # set_epoch asked for what is left of the loaded epoch, even if it is nothing
        self._begun = False  # the current epoch has been iterated over
        self._start = 0  # global draw at which the current pass started
        self._drawn = 0  # draws of this rank in the current pass, up to the end of the chunk
        self._chunk: Iterator[int] = iter(())
        self._stream_of: tuple[int, GroupStream] | None = None
        self._digest: int | None = None

    @property
    def num_groups(self) -> int:
        """The number of groups, empty ones included."""
        return self._index.num_groups

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) the number of members of each group."""
        return self._index.counts

    @property
    def quotas(self) -> NDArray[np.int64]:
        """(G,) how often each group is drawn in the current epoch, over all ranks."""
        return np.array(self._quotas)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`; a loaded position in this very epoch is kept, even if nothing is left of it."""
        epoch = arguments.integer("epoch", epoch, 0, 2**64 - 1)
        if epoch == self.epoch and self._resume_at is not None:
            self._finish_epoch = True
        else:
            self._go_to(epoch)

    def set_shares(self, shares: str | ArrayLike) -> None:
        """Use other shares from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        self._set_quotas(self._quotas_of(shares, None))

    def set_group_weights(self, group_weights: ArrayLike) -> None:
        """Use other weights (G,), what one sample of each group weighs, from the next pass on."""
        self._set_quotas(self._quotas_of("balanced", group_weights))

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return draws `start` to `stop` of the current epoch's global order, as an int64 array, in O(stop - start)."""
        start = arguments.integer("start", start, 0, self.num_samples)
        stop = self.num_samples if stop is None else arguments.integer("stop", stop, start, self.num_samples)
        return self._stream().indices(start, stop, arguments.num_threads())

    def __len__(self) -> int:
        """Return the number of draws of this rank in a full epoch."""
        return len(range(self.rank, self.num_samples, self.num_replicas))

    def __iter__(self) -> Iterator[int]:
        """Start a pass: where the loaded state left off, or else from the beginning of the epoch."""
        # Not a generator: the loaded position is used up by iter(), not by the first draw.
        at_end = self._position() == self.num_samples
        if self._resume_at is not None and (self._finish_epoch or not at_end):
            self._start, self._resume_at, self._finish_epoch = self._resume_at, None, False
            self._drawn, self._chunk = 0, iter(())
        else:
            self._go_to(self.epoch + 1 if at_end else self.epoch)
        self._begun = True
        return itertools.chain.from_iterable(self._chunks(self._stream(), self._start))

    def _chunks(self, stream: GroupStream, start: int) -> Iterator[Iterable[int]]:
        """The draws of this rank from global draw `start` on, as iterators over Python ints."""
        drawn = 0
        size = _CHUNK * self.num_replicas
        for low in range(start, self.num_samples, size):
            draws = stream.indices(low, min(low + size, self.num_samples))
            mine = draws[(self.rank - low) % self.num_replicas :: self.num_replicas].tolist()
            drawn += len(mine)
            self._drawn, self._chunk = drawn, iter(mine)
            yield self._chunk

    def _position(self, consumed: int | None = None) -> int:
        """The global draw up to which all ranks have come, if they are in step."""
        if self._resume_at is not None:
            return self._resume_at
        if consumed is None:
            consumed = self._drawn - operator.length_hint(self._chunk)
        return min(self.num_samples, self._start + consumed * self.num_replicas)

    def state_dict(self, *, consumed: int | None = None) -> dict[str, int | list[int]]:
        """Return what is needed to continue after the last draw made: plain ints and lists of ints.

        The state is that of all ranks, drawing in step: it is the same on each, and may be loaded by another number
        of ranks. A `DataLoader` with workers draws ahead of the batches it has handed out, so tell how many draws of
        this rank the loop has `consumed` in the present pass.
        """
        if consumed is not None:
            consumed = arguments.integer("consumed", consumed, 0, len(self))
        upcoming = self._quotas if self._next_quotas is None else self._next_quotas
        return {
            "version": _STATE_VERSION,
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self._position(consumed),
            "quotas": self._quotas.tolist(),
            "next_quotas": upcoming.tolist(),
            "groups_digest": self._groups_digest(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state` at the next ``iter()``; at the very end of an epoch, with the next epoch.

        Raises:
            InputError: the state is of another version or other groups, or isn't a state; nothing has changed then.
        """
        expected = {"version", "seed", "epoch", "position", "quotas", "next_quotas", "groups_digest"}
        if not isinstance(state, dict) or set(state) != expected:
            raise InputError(f"state is not that of a GroupSampler; expected the keys {', '.join(sorted(expected))}")
        if state["version"] != _STATE_VERSION:
            raise InputError(f"state['version'] is {state['version']!r}; expected {_STATE_VERSION}")
        if state["groups_digest"] != self._groups_digest():
            raise InputError("state['groups_digest'] differs: the state was saved with other groups; use the same ones")
        current, upcoming = (self._loaded_quotas(key, state[key]) for key in ("quotas", "next_quotas"))
        num_samples = int(current.sum())
        if int(upcoming.sum()) != num_samples:
            raise InputError(f"state['next_quotas'] add up to {upcoming.sum()}; expected {num_samples} as 'quotas' do")
        seed = arguments.integer("state['seed']", state["seed"], 0, 2**64 - 1)
        epoch = arguments.integer("state['epoch']", state["epoch"], 0, 2**64 - 1)
        position = arguments.integer("state['position']", state["position"], 0, num_samples)
        self.seed, self.epoch, self.num_samples = seed, epoch, num_samples
        self._quotas, self._next_quotas, self._resume_at = current, upcoming, position
        self._finish_epoch, self._stream_of = False, None

    def _loaded_quotas(self, key: str, values: Any) -> NDArray[np.int64]:
        loaded = arguments.group_integers(f"state[{key!r}]", values, self.num_groups)
        GroupStream(self._index, loaded, 0, 0)  # checks them against the groups
        return loaded

    def _go_to(self, epoch: int) -> None:
        self.epoch = epoch
        self._start = self._drawn = 0
        self._begun = self._finish_epoch = False
        self._resume_at, self._chunk, self._stream_of = None, iter(()), None
        if self._next_quotas is not None:
            self._quotas, self._next_quotas = self._next_quotas, None

    def _set_quotas(self, new: NDArray[np.int64]) -> None:
        if self._begun or self._resume_at is not None:
            self._next_quotas = new
        else:
            self._quotas, self._stream_of = new, None

    def _stream(self) -> GroupStream:
        if self._stream_of is None or self._stream_of[0] != self.epoch:
            self._stream_of = self.epoch, GroupStream(self._index, self._quotas, self.seed, self.epoch)
        return self._stream_of[1]

    def _groups_digest(self) -> int:
        if self._digest is None:
            self._digest = self._index.digest()
        return self._digest

    def _quotas_of(self, shares: str | ArrayLike, group_weights: ArrayLike | None) -> NDArray[np.int64]:
        counts = self._index.counts
        if group_weights is not None:
            if not (isinstance(shares, str) and shares == "balanced"):
                raise InputError("shares and group_weights are both given; expected one of the two")
            values = counts * arguments.group_numbers("group_weights", group_weights, self.num_groups)
        elif isinstance(shares, str):
            if shares not in ("balanced", "natural"):
                hint = nearest(shares, ["balanced", "natural"])
                raise InputError(f"shares is {shares!r}; expected 'balanced', 'natural' or an array (G,){hint}")
            values = counts.astype(np.float64) if shares == "natural" else (counts > 0).astype(np.float64)
        else:
            values = arguments.group_numbers("shares", shares, self.num_groups)
        return quotas(values, counts, self.num_samples)

    def __getstate__(self) -> dict[str, Any]:
        # A pass in progress isn't pickled; its position is.
        position = {"_start": self._position(), "_drawn": 0, "_chunk": iter(()), "_stream_of": None}
        return {**self.__dict__, **position}

    def __repr__(self) -> str:
        shard = f", rank={self.rank}, num_replicas={self.num_replicas}" if self.num_replicas > 1 else ""
        return (
            f"GroupSampler(num_groups={self.num_groups}, num_samples={self.num_samples}, "
            f"quotas={np.array2string(self._quotas, separator=', ', threshold=10)}, seed={self.seed}, "
            f"epoch={self.epoch}{shard})"
        )


def _checked_groups(groups: ArrayLike) -> NDArray[np.int64]:
    array = arguments.array("groups", groups)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"groups has shape {array.shape}; expected (N,) with at least one row")
    if array.dtype.kind not in "iu":
        raise InputError(f"groups has dtype {array.dtype}; expected integers")
    outside = np.flatnonzero(array < 0)
    if outside.size:
        row = int(outside[0])
        raise InputError(
            f"groups[{row}] is {array[row]}, one of {outside.size} rows without a group; "
            "expected 0 or above: leave those rows out (torch.utils.data.Subset) or give them a group"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def _checked_ranks(rank: int | None, num_replicas: int | None) -> tuple[int, int]:
    if (rank is None) != (num_replicas is None):
        raise InputError(f"rank is {rank} and num_replicas is {num_replicas}; expected both or neither")
    if rank is None or num_replicas is None:
        return 0, 1
    num_replicas = arguments.integer("num_replicas", num_replicas, 1)
    return arguments.integer("rank", rank, 0, num_replicas - 1), num_replicas
