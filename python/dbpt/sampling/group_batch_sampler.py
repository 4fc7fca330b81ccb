"""`GroupBatchSampler`: batches of row numbers, each with the same number of members of every group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import BatchStream, batch_quotas
from dbpt.errors import InputError
from dbpt.sampling.epochs import checked_ranks
from dbpt.sampling.group_draws import GroupDraws, all_shares
from dbpt.sampling.row_groups import row_groups


class GroupBatchSampler(GroupDraws[list[int]]):
    """Draw batches of row numbers, each composed as asked for: ``DataLoader(dataset, batch_sampler=...)``.

    A group with a share s has ``floor(s * batch_size)`` or ``ceil(s * batch_size)`` members in every batch, and its
    share of the epoch to within one draw; where s * batch_size is whole, each batch has exactly that many. Which
    batches have the one more is spread evenly over the epoch, and keyed by `seed` and epoch.

    A group's draws go through its members in a random order, a new one for each pass, so that at any point of the
    epoch every member has been drawn equally often, to within one. A batch holds a row twice only if it asks for more
    members than the group has, or where one pass over the group ends and the next begins.

    Batch b of an epoch depends on nothing but the groups, the shares, the batch size, `seed`, and the epoch's and its
    own number. Epochs, passes and states are those of `GroupSampler`, counted in batches.

    Args:
        groups: (N,) group of each row, integers of any type from 0 to ``num_groups - 1``; -1, unknown, is refused
            unless `unknown` says what such rows weigh. A contiguous array is read where it lies, and not kept.
        batch_size: rows in each batch, up to 2**22; every batch is full.
        shares: what fraction of each batch a group gets: "balanced" (equal shares of all groups with members),
            "natural" (in proportion to their sizes) or (G,) non-negative numbers on any scale; numbers that add up to
            `batch_size` are the exact composition.
        group_weights: (G,) what one *sample* of a group weighs, instead of `shares`: group g gets a share
            proportional to ``N_g * group_weights[g]``.
        min_per_group: how many members each group with a share has in every batch at least. Groups that their share
            would give less are raised to it; the others divide the rest by their shares.
        num_batches: batches in an epoch, over all ranks. By default as many as N rows fill, rounded up to a multiple
            of `num_replicas`.
        seed: an integer from 0 to 2**64 - 1.
        num_groups: G, if the last groups have no members. By default ``max(groups) + 1``.
        unknown: "class" draws the rows of group -1 too, those of each class as one more group, whose share is as if
            they weighed the mean weight of the rows of their class whose group is known, or of all such rows where
            their class has none. `min_per_group` holds for them as well.
        labels: (N,) class of each row, for ``unknown="class"``; rows of a group have one class.
        rank: draw only every `num_replicas`-th batch of the global order, from the `rank`-th on. Leave both out where
            the framework shards (Accelerate, Trainer); Lightning doesn't shard batch samplers, so give both and
            ``Trainer(use_distributed_sampler=False)``. If `num_batches` isn't a multiple of `num_replicas`, the first
            ranks have one batch more.
        num_replicas: the number of ranks.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> groups = np.array([0, 0, 0, 0, 0, 0, 1, 1])
        >>> sampler = GroupBatchSampler(groups, batch_size=4, seed=1)
        >>> [sorted(groups[batch].tolist()) for batch in sampler]
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """

    # No attribute drop_last: Lightning would take it for a BatchSampler and make a new one from a sampler of its own.

    _chunk_draws = 32

    def __init__(
        self,
        groups: ArrayLike,
        batch_size: int,
        *,
        shares: str | ArrayLike = "balanced",
        group_weights: ArrayLike | None = None,
        min_per_group: int = 1,
        num_batches: int | None = None,
        seed: int = 0,
        num_groups: int | None = None,
        unknown: str | None = None,
        labels: ArrayLike | None = None,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        rows = row_groups(groups, num_groups, unknown, labels)
        self.batch_size = arguments.integer("batch_size", batch_size, 1, 2**22)
        self.min_per_group = arguments.integer("min_per_group", min_per_group, 0)
        rank, num_replicas = checked_ranks(rank, num_replicas)
        if num_batches is None:
            num_batches = -(-rows.index.num_rows // (self.batch_size * num_replicas)) * num_replicas
        num_batches = arguments.integer("num_batches", num_batches, 1, 2**48)
        values = all_shares(rows, shares, group_weights)
        law = batch_quotas(values, rows.index.counts, self.batch_size, num_batches, self.min_per_group)
        super().__init__(rows, law, num_batches, seed, rank, num_replicas)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch, over all ranks."""
        return self._length

    @property
    def sampler(self) -> GroupBatchSampler:
        """Itself: where Lightning and Accelerate look for the `set_epoch` of a batch sampler."""
        return self

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the batches `start` to `stop` of the current epoch's global order, whatever the rank.

        The rows are an int64 array (stop - start, batch_size), made in O(its size + G) wherever `start` lies.
        """
        start = arguments.integer("start", start, 0, self.num_batches)
        stop = self.num_batches if stop is None else arguments.integer("stop", stop, start, self.num_batches)
        stream = self._stream()
        assert isinstance(stream, _Batches)
        return stream.rows(start, stop, 1, num_threads=arguments.num_threads())

    def _law_of(self, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        return batch_quotas(shares, self._rows.index.counts, self.batch_size, self._length, self.min_per_group)

    def _draws(self) -> NDArray[np.int64]:
        return np.array(self._law)

    def _open(self, law: NDArray[np.int64], epoch: int) -> _Batches:
        return _Batches(BatchStream(self._rows.index, law, self.batch_size, self.seed, epoch))

    def _laws_to_state(self, current: NDArray[np.int64], upcoming: NDArray[np.int64]) -> dict[str, int | list[int]]:
        return {"batch_size": self.batch_size, "quotas": current.tolist(), "next_quotas": upcoming.tolist()}

    def _laws_from_state(self, state: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        if arguments.integer("state['batch_size']", state["batch_size"], 1) != self.batch_size:
            raise InputError(f"state['batch_size'] is {state['batch_size']}; expected {self.batch_size}, as here")
        current, upcoming = (self._loaded_quotas(key, state[key]) for key in ("quotas", "next_quotas"))
        if upcoming.sum() != current.sum():
            raise InputError(
                f"state['next_quotas'] add up to {upcoming.sum()}; expected {current.sum()} as 'quotas' do"
            )
        return current, upcoming, int(current.sum()) // self.batch_size

    def _loaded_quotas(self, key: str, values: Any) -> NDArray[np.int64]:
        loaded = arguments.group_integers(f"state[{key!r}]", values, self._rows.index.num_groups)
        BatchStream(self._rows.index, loaded, self.batch_size, 0, 0)  # checks them against the groups
        return loaded

    def __repr__(self) -> str:
        return (
            f"GroupBatchSampler(num_groups={self.num_groups}, batch_size={self.batch_size}, "
            f"num_batches={self.num_batches}, {self._shown_quotas()}, {self._shown_epoch()})"
        )


class _Batches:
    """The batches of a stream, with threads or as lists of Python ints."""

    def __init__(self, stream: BatchStream) -> None:
        self._stream = stream

    def rows(self, start: int, stop: int, step: int, *, num_threads: int = 1) -> NDArray[np.int64]:
        return self._stream.indices(start, stop, step, num_threads)

    def chunk(self, start: int, stop: int, step: int) -> list[list[int]]:
        batches: list[list[int]] = self.rows(start, stop, step).tolist()
        return batches
