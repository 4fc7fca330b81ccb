"""`GroupSampler`: row numbers such that each group gets its share of the epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupIndex, GroupStream, quotas
from dbpt.errors import InputError, nearest
from dbpt.sampling.epochs import EpochSampler, checked_ranks


class GroupSampler(EpochSampler[int, NDArray[np.int64]]):
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

    _chunk_draws = 1 << 15
    _drawn_from = "groups"

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
        self._index_digest: int | None = None
        rank, num_replicas = checked_ranks(rank, num_replicas)
        if num_samples is None:
            num_samples = -(-len(group_array) // num_replicas) * num_replicas
        num_samples = arguments.integer("num_samples", num_samples, 1)
        law = self._quotas_of(shares, group_weights, num_samples)
        super().__init__(law, num_samples, seed, rank, num_replicas)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

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
        return np.array(self._law)

    def set_shares(self, shares: str | ArrayLike) -> None:
        """Use other shares from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        self._set_law(self._quotas_of(shares, None, self.num_samples))

    def set_group_weights(self, group_weights: ArrayLike) -> None:
        """Use other weights (G,), what one sample of each group weighs, from the next pass on."""
        self._set_law(self._quotas_of("balanced", group_weights, self.num_samples))

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return draws `start` to `stop` of the current epoch's global order, as an int64 array, in O(stop - start)."""
        start = arguments.integer("start", start, 0, self.num_samples)
        stop = self.num_samples if stop is None else arguments.integer("stop", stop, start, self.num_samples)
        return self._stream().rows(start, stop, num_threads=arguments.num_threads())

    def _open(self, law: NDArray[np.int64], epoch: int) -> _Rows:
        return _Rows(GroupStream(self._index, law, self.seed, epoch))

    def _stream(self) -> _Rows:
        stream = super()._stream()
        assert isinstance(stream, _Rows)
        return stream

    def _digest(self) -> int:
        if self._index_digest is None:
            self._index_digest = self._index.digest()
        return self._index_digest

    def _laws_to_state(self, current: NDArray[np.int64], upcoming: NDArray[np.int64]) -> dict[str, int | list[int]]:
        return {"quotas": current.tolist(), "next_quotas": upcoming.tolist()}

    def _laws_from_state(self, state: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        current, upcoming = (self._loaded_quotas(key, state[key]) for key in ("quotas", "next_quotas"))
        num_samples = int(current.sum())
        if int(upcoming.sum()) != num_samples:
            raise InputError(f"state['next_quotas'] add up to {upcoming.sum()}; expected {num_samples} as 'quotas' do")
        return current, upcoming, num_samples

    def _loaded_quotas(self, key: str, values: Any) -> NDArray[np.int64]:
        loaded = arguments.group_integers(f"state[{key!r}]", values, self.num_groups)
        GroupStream(self._index, loaded, 0, 0)  # checks them against the groups
        return loaded

    def _quotas_of(
        self, shares: str | ArrayLike, group_weights: ArrayLike | None, num_samples: int
    ) -> NDArray[np.int64]:
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
        return quotas(values, counts, num_samples)

    def __repr__(self) -> str:
        shard = f", rank={self.rank}, num_replicas={self.num_replicas}" if self.num_replicas > 1 else ""
        return (
            f"GroupSampler(num_groups={self.num_groups}, num_samples={self.num_samples}, "
            f"quotas={np.array2string(self._law, separator=', ', threshold=10)}, seed={self.seed}, "
            f"epoch={self.epoch}{shard})"
        )


class _Rows:
    """The row numbers of a stream, with threads or as Python ints."""

    def __init__(self, stream: GroupStream) -> None:
        self._stream = stream

    def rows(self, start: int, stop: int, *, num_threads: int = 1) -> NDArray[np.int64]:
        return self._stream.indices(start, stop, num_threads)

    def chunk(self, start: int, stop: int, step: int) -> list[int]:
        rows: list[int] = self.rows(start, stop)[::step].tolist()
        return rows


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
