"""`GroupBatchSampler`: batches of row numbers, each with the same number of members of every group."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import BatchStream, batch_quotas
from dbpt.errors import InputError
from dbpt.sampling.group_draws import GroupDraws, all_shares
from dbpt.sampling.ranks import Ranks, check_dataset, checked_seed
from dbpt.sampling.row_groups import row_groups
from dbpt.sampling.shares import batches_of_groups


class GroupBatchSampler(GroupDraws[list[int]]):
    """Draw batches of row numbers, each composed as asked for: ``DataLoader(dataset, batch_sampler=...)``.

    A group with a share s has ``floor(s * batch_size)`` or ``ceil(s * batch_size)`` members in every batch, and its
    share of the epoch to within one draw; where s * batch_size is whole, each batch has exactly that many. Which
    batches have the one more is spread evenly over the epoch, and keyed by `seed` and epoch.

    A group's draws go through its members in a random order, a new one for each pass, so that at any point of the
    epoch every member has been drawn equally often, to within one. A batch holds a row twice only if it asks for more
    members than the group has, or where one pass over the group ends and the next begins.

    With `groups_per_batch` = P a batch has K = batch_size / P members of each of P groups, as metric learning and WILDS
    compose batches: different groups, any of which can meet, and each in its share of the epoch's batches, exactly.

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
        min_per_group: how many members each group with a share has in every batch at least, by default 1. Groups that
            their share would give less are raised to it; the others divide the rest by their shares.
        groups_per_batch: how many groups a batch has, a divisor of `batch_size`; instead of `min_per_group`. A group
            whose share is above 1 / groups_per_batch is in every batch; the others divide the rest by their shares.
        num_batches: batches in an epoch, over all ranks. By default as many as N rows fill.
        seed: an integer from 0 to 2**64 - 1. None takes one from torch's default generator, as torch's own samplers do
            (without torch from NumPy's), in a single process.
        num_groups: G, if the last groups have no members. By default ``max(groups) + 1``.
        unknown: "class" draws the rows of group -1 too, those of each class as one more group, whose share is as if
            they weighed the mean weight of the rows of their class whose group is known, or of all such rows where
            their class has none. `min_per_group` holds for them as well.
        labels: (N,) class of each row, for ``unknown="class"``; rows of a group have one class.
        rank: draw only every `num_replicas`-th batch of the global order, from the `rank`-th on. Leave both out where
            the loop shards (Accelerate, Trainer); Lightning doesn't shard batch samplers, so give both and
            ``Trainer(use_distributed_sampler=False)``.
        num_replicas: the number of ranks, which all make equally many draws: the epoch's first ones fill the last step,
            as in `DistributedSampler`.
        drop_last: leave out the draws of a last step that isn't full, instead of filling it.
        generator: refused; use `seed`.
        dataset: what the rows are read from, so that another length is refused at once.
        num_threads: of the core, by default the number of processors. They change nothing but the time.

    Raises:
        InputError: an argument is wrong; the message names it, the value, and what was expected.

    Example:
        >>> groups = np.array([0, 0, 0, 0, 0, 0, 1, 1])
        >>> sampler = GroupBatchSampler(groups, batch_size=4, seed=1)
        >>> [sorted(groups[batch].tolist()) for batch in sampler]
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """

    # No attribute drop_last: Lightning would take it for a BatchSampler and make a new one from a sampler of its own.

    def __init__(
        self,
        groups: ArrayLike,
        batch_size: int,
        *,
        shares: str | ArrayLike = "balanced",
        group_weights: ArrayLike | None = None,
        min_per_group: int | None = None,
        groups_per_batch: int | None = None,
        num_batches: int | None = None,
        seed: int | None = 0,
        num_groups: int | None = None,
        unknown: str | None = None,
        labels: ArrayLike | None = None,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        generator: None = None,
        dataset: Sized | None = None,
        num_threads: int | None = None,
    ) -> None:
        rows = row_groups(groups, num_groups, unknown, labels, arguments.num_threads(num_threads))
        check_dataset(dataset, "groups", rows.index.num_rows)
        self.batch_size = self._rows_per_draw = arguments.integer("batch_size", batch_size, 1, 2**22)
        if groups_per_batch is not None:
            groups_per_batch = arguments.integer("groups_per_batch", groups_per_batch, 1)
            if self.batch_size % groups_per_batch:
                raise InputError(
                    f"batch_size is {batch_size}; expected a multiple of groups_per_batch, {groups_per_batch}"
                )
            if min_per_group is not None:
                raise InputError("min_per_group and groups_per_batch are both given; expected one of the two")
        self.groups_per_batch = groups_per_batch
        self.min_per_group = arguments.integer("min_per_group", 1 if min_per_group is None else min_per_group, 0)
        ranks = Ranks.checked(rank, num_replicas, drop_last)
        seed = checked_seed(seed, generator, ranks)
        num_batches = -(-rows.index.num_rows // self.batch_size) if num_batches is None else num_batches
        num_batches = arguments.integer("num_batches", num_batches, 1, 2**48)
        ranks.check_length("num_batches", num_batches)
        law = self._quotas(all_shares(rows, shares, group_weights), rows.index.counts, num_batches)
        super().__init__(rows, law, num_batches, seed, ranks, num_threads)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch, over all ranks."""
        return self._length

    @property
    def sampler(self) -> GroupBatchSampler:
        """Itself: where Lightning and Accelerate look for the `set_epoch` of a batch sampler."""
        return self

    def _law_of(self, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        return self._quotas(shares, self._rows.index.counts, self._length)

    def _quotas(self, shares: NDArray[np.float64], counts: NDArray[np.int64], num_batches: int) -> NDArray[np.int64]:
        if self.groups_per_batch is None:
            return batch_quotas(shares, counts, self.batch_size, num_batches, self.min_per_group)
        together = self.batch_size // self.groups_per_batch
        return together * batches_of_groups(shares, counts, self.groups_per_batch, num_batches)

    def _draws(self) -> NDArray[np.int64]:
        return np.array(self._law)

    def _open(self, law: NDArray[np.int64], epoch: int) -> BatchStream:
        return BatchStream(self._rows.index, law, self.batch_size, self.seed, epoch, self.groups_per_batch)

    def _laws_to_state(self, current: NDArray[np.int64], upcoming: NDArray[np.int64]) -> dict[str, int | list[int]]:
        return {
            "batch_size": self.batch_size,
            "groups_per_batch": self.groups_per_batch or 0,
            "quotas": current.tolist(),
            "next_quotas": upcoming.tolist(),
        }

    def _laws_from_state(self, state: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        for key, here in (("batch_size", self.batch_size), ("groups_per_batch", self.groups_per_batch or 0)):
            if arguments.integer(f"state[{key!r}]", state[key], 0) != here:
                raise InputError(f"state[{key!r}] is {state[key]}; expected {here}, as here")
        current, upcoming = (self._loaded_quotas(key, state[key]) for key in ("quotas", "next_quotas"))
        if upcoming.sum() != current.sum():
            raise InputError(
                f"state['next_quotas'] add up to {upcoming.sum()}; expected {current.sum()} as 'quotas' do"
            )
        return current, upcoming, int(current.sum()) // self.batch_size

    def _loaded_quotas(self, key: str, values: Any) -> NDArray[np.int64]:
        loaded = arguments.group_integers(f"state[{key!r}]", values, self._rows.index.num_groups)
        BatchStream(self._rows.index, loaded, self.batch_size, 0, 0, self.groups_per_batch)  # checks them
        return loaded

    def __repr__(self) -> str:
        return (
            f"GroupBatchSampler(num_groups={self.num_groups}, batch_size={self.batch_size}, "
            f"num_batches={self.num_batches}, {self._shown_quotas()}, {self._shown_epoch()})"
        )
