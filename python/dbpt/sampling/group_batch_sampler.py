"""`GroupBatchSampler`: batches of row numbers, each with a fixed number of members of every group."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import BatchStream, quotas
from dbpt.errors import InputError
from dbpt.sampling.epochs import MAX_DRAWS
from dbpt.sampling.group_draws import GroupDraws
from dbpt.sampling.row_groups import row_groups
from dbpt.sampling.sharding import Shard, check_dataset, checked_seed


class GroupBatchSampler(GroupDraws[list[int]]):
    """Draw batches of row numbers with a fixed composition, for ``DataLoader(dataset, batch_sampler=...)``.

    A group with share s has ``floor(s * batch_size)`` or ``ceil(s * batch_size)`` members in every batch, spread evenly
    over the epoch, and its share of the epoch, rounded as `GroupDraws` explains. Its members are drawn in a random
    order, a new one each time through the group, so at any point of the epoch they have been drawn equally often, to
    within one. A batch contains a row twice only if it needs more members than the group has, or where one order ends
    and the next begins.

    With `groups_per_batch` = P, a batch has K = batch_size / P members of each of P different groups, as in metric
    learning and WILDS. Any groups can meet, and each gets its share of the epoch's batches, rounded likewise.

    Batch b of an epoch depends only on groups, shares, batch size, `seed`, epoch and b. `EpochSampler` explains epochs,
    passes and states, which are counted in batches here.

    Args:
        batch_size: rows in each batch, up to 2**22; every batch is full.
        groups, shares, group_weights, num_groups, unknown, labels: as in `GroupDraws`. Shares that add up to
            `batch_size` are the exact composition. The unknown rows of each class count as one more group.
        min_per_group: minimum number of members in every batch, for each group with a share; by default 1. Groups whose
            share gives less are raised to it; the others divide the rest in proportion to their shares.
        groups_per_batch: number of groups in a batch, a divisor of `batch_size`; instead of `min_per_group`. A group
            whose share is above 1 / groups_per_batch is in every batch; the others divide the rest likewise.
        num_batches: batches in an epoch, over all ranks. By default as many as N rows fill.
        seed, rank, num_replicas, drop_last, generator, dataset, num_threads: as in `EpochSampler`.

    Example:
        >>> groups = np.array([0, 0, 0, 0, 0, 0, 1, 1])
        >>> sampler = GroupBatchSampler(groups, batch_size=4, seed=1)
        >>> [sorted(groups[batch].tolist()) for batch in sampler]
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """

    # It has no attribute `drop_last`: Lightning would replace it by a BatchSampler of its own.

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
        num_groups: int | None = None,
        unknown: str | None = None,
        labels: ArrayLike | None = None,
        seed: int | None = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        generator: None = None,
        dataset: Sized | None = None,
        num_threads: int | None = None,
    ) -> None:
        self._rows = row_groups(groups, num_groups, unknown, labels, arguments.num_threads(num_threads))
        num_rows = self._rows.index.num_rows
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
        check_dataset(dataset, "groups", num_rows)
        shard = Shard.checked(rank, num_replicas, drop_last)
        length = ("num_batches", -(-num_rows // self.batch_size) if num_batches is None else num_batches)
        super().__init__(length, shard, checked_seed(seed, generator, shard), num_threads)
        arguments.integer("batch_size * num_batches", self.batch_size * self._length, 1, MAX_DRAWS)
        self._distribution = self._checked_shares(shares, group_weights)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch, over all ranks."""
        return self._length

    @property
    def sampler(self) -> GroupBatchSampler:
        """This sampler: Lightning and Accelerate look here for the `set_epoch` of a batch sampler."""
        return self

    def _quotas_of(self, shares: NDArray[np.float64], epoch: int) -> NDArray[np.int64]:
        counts, num_shares = self._rows.index.counts, np.count_nonzero(shares)
        if self.groups_per_batch is not None:
            if num_shares < self.groups_per_batch:
                raise InputError(
                    f"groups_per_batch is {self.groups_per_batch}; expected up to {num_shares}, the groups with a share"
                )
            times = quotas(shares, counts, self.groups_per_batch * self._length, self.seed, epoch, most=self._length)
            return times * (self.batch_size // self.groups_per_batch)
        least = self.min_per_group * num_shares
        if least > self.batch_size:
            raise InputError(
                f"batch_size is {self.batch_size}; expected {least} or above: min_per_group is {self.min_per_group} "
                f"and {num_shares} groups have a share (min_per_group = 0 lets batches do without some groups)"
            )
        draws = self.batch_size * self._length
        return quotas(shares, counts, draws, self.seed, epoch, least=self.min_per_group * self._length)

    def _open(self, distribution: NDArray[np.float64], epoch: int) -> BatchStream:
        drawn = self._quotas_of(distribution, epoch)
        return BatchStream(self._rows.index, drawn, self.batch_size, self.seed, epoch, self.groups_per_batch)

    def _settings(self) -> dict[str, int]:
        return {
            "batch_size": self.batch_size,
            "groups_per_batch": self.groups_per_batch or 0,
            "min_per_group": self.min_per_group,
        }

    @property
    def _length_in_state(self) -> tuple[str, int]:
        return "num_batches", MAX_DRAWS // self.batch_size

    def __repr__(self) -> str:
        return (
            f"GroupBatchSampler(num_groups={self.num_groups}, batch_size={self.batch_size}, "
            f"num_batches={self.num_batches}, {self._shown_quotas()}, {self._shown_epoch()})"
        )
