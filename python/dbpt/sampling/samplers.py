"""`GroupSampler`, `GroupBatchSampler` and `WeightedSampler`: three ways to draw rows for PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import AliasTable, BatchStream, GroupStream, IndependentStream, Stream, WeightedStream, quotas
from dbpt.errors import InputError
from dbpt.sampling.epoch_sampler import MAX_DRAWS, EpochSampler
from dbpt.sampling.group_draws import GroupDraws
from dbpt.sampling.rank_draws import RankDraws, check_dataset_length, checked_seed
from dbpt.sampling.row_groups import row_groups

if TYPE_CHECKING:
    import torch

_WHEEL = MAX_DRAWS  # an independent draw picks one of this many slots, so probabilities are multiples of 1 / _WHEEL

_FEW_ROWS, _MANY_DRAWS = 64, 20  # so few weights for so many times as many draws are rather those of groups


class GroupSampler(GroupDraws[int]):
    """Draw row numbers so that each group gets its exact share of the epoch, rounded as `GroupDraws` explains.

    The members of a group are drawn equally often, to within one. Those drawn once more are a random subset of the
    group, a new one in each epoch. The draws of an epoch depend only on the groups, the shares, `seed` and the number
    of the epoch, not on ranks, workers or the starting position. `EpochSampler` explains epochs and passes.

    Args:
        groups, shares, group_weights, num_groups, unknown, labels: as in `GroupDraws`.
        num_samples: draws in an epoch, over all ranks. By default N.
        independent: draw with replacement, each draw independent of the others, from the distribution of
            `torch.utils.data.WeightedRandomSampler` with weight ``share_g / N_g`` for a row of group g. Shares then
            hold only on average.
        seed, rank, num_replicas, drop_last, generator, dataset, num_threads: as in `EpochSampler`.

    Example:
        >>> sampler = GroupSampler([0, 0, 0, 0, 0, 0, 1, 1], seed=1)
        >>> sorted(sampler)[-4:]
        [6, 6, 7, 7]
    """

    _length_name = "num_samples"

    def __init__(
        self,
        groups: ArrayLike,
        *,
        shares: str | ArrayLike = "balanced",
        group_weights: ArrayLike | None = None,
        num_samples: int | None = None,
        num_groups: int | None = None,
        unknown: str | None = None,
        labels: ArrayLike | None = None,
        independent: bool = False,
        seed: int | None = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        generator: None = None,
        dataset: Sized | None = None,
        num_threads: int | None = None,
    ) -> None:
        self._rows = row_groups(groups, num_groups, unknown, labels, arguments.num_threads(num_threads))
        self._independent = arguments.boolean("independent", independent)
        num_rows = self._rows.index.num_rows
        check_dataset_length(dataset, "groups", num_rows)
        shard = RankDraws.checked(rank, num_replicas, drop_last)
        length = (self._length_name, num_rows if num_samples is None else num_samples)
        super().__init__(length, shard, checked_seed(seed, generator, shard), num_threads)
        self._distribution = self._checked_shares(shares, group_weights)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

    def _quotas_of(self, shares: NDArray[np.float64], epoch: int) -> NDArray[np.int64]:
        return quotas(shares, self._rows.index.counts, self._length, self.seed, epoch)

    def _open(self, distribution: NDArray[np.float64], epoch: int) -> Stream:
        index = self._rows.index
        if self._independent:
            wheel = quotas(distribution, index.counts, _WHEEL, self.seed, epoch)
            return IndependentStream(index, wheel, self.num_samples, self.seed, epoch)
        return GroupStream(index, self._quotas_of(distribution, epoch), self.seed, epoch)

    def _settings(self) -> dict[str, int]:
        return {"independent": self._independent}

    def __repr__(self) -> str:
        quotas = self._shown_quotas() + (", independent=True" if self._independent else "")
        return (
            f"GroupSampler(num_groups={self.num_groups}, num_samples={self.num_samples}, {quotas}, "
            f"{self._shown_epoch()})"
        )


class GroupBatchSampler(GroupDraws[list[int]]):
    """Draw batches of row numbers with a fixed composition, for ``DataLoader(dataset, batch_sampler=...)``.

    Don't pass it as ``sampler=``: the loader would make batches of batches, and can't notice it.

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
    _length_name = "num_batches"

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
        least = 1 if min_per_group is None else min_per_group
        self.min_per_group = arguments.integer("min_per_group", least, 0, self.batch_size)
        check_dataset_length(dataset, "groups", num_rows)
        shard = RankDraws.checked(rank, num_replicas, drop_last)
        length = (self._length_name, -(-num_rows // self.batch_size) if num_batches is None else num_batches)
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

    def __repr__(self) -> str:
        return (
            f"GroupBatchSampler(num_groups={self.num_groups}, batch_size={self.batch_size}, "
            f"num_batches={self.num_batches}, {self._shown_quotas()}, {self._shown_epoch()})"
        )


class WeightedSampler(EpochSampler[int, "_Weights"]):
    """Draw row numbers with replacement, each with a probability proportional to its weight.

    The distribution is that of `torch.utils.data.WeightedRandomSampler`, without its limit of 2**24 rows. Draw i of an
    epoch is a pure function of the weights, `seed`, the number of the epoch and i, for any ranks, workers and threads.
    It takes O(1) from an alias table of 8 bytes per row. The table is exact to 2**-39 in total variation for up to
    10**7 rows. A row with weight 0, or below 2**-64 of the sum, is never drawn.

    `EpochSampler` explains epochs and passes. A state contains only a digest of the weights, so load it into a sampler
    that was built with the same ones. If it was saved after `set_weights` during the previous pass, build the sampler
    with the weights of that pass, load the state, and call `set_weights` again. A state from the end of a pass needs
    only the new weights.

    Args:
        weights: (N,) array, list or tensor of any real type; finite, 0 or above, at least one above 0. A tensor on a
            GPU is copied to the host. The sampler reads them once and doesn't keep them.
        num_samples: draws in an epoch, over all ranks.
        seed, rank, num_replicas, drop_last, generator, dataset, num_threads: as in `EpochSampler`.

    Example:
        >>> sampler = WeightedSampler([1, 0, 3, 6], num_samples=8, seed=1)
        >>> list(sampler)
        [3, 2, 3, 3, 3, 3, 2, 3]
    """

    def __init__(
        self,
        weights: ArrayLike | torch.Tensor,
        num_samples: int,
        *,
        seed: int | None = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        generator: None = None,
        dataset: Sized | None = None,
        num_threads: int | None = None,
    ) -> None:
        array, threads = _floats(weights), arguments.num_threads(num_threads)
        self.num_rows = len(array)
        """N, the number of weights."""
        check_dataset_length(dataset, "weights", self.num_rows)
        shard = RankDraws.checked(rank, num_replicas, drop_last)
        super().__init__(("num_samples", num_samples), shard, checked_seed(seed, generator, shard), num_threads)
        self._distribution = _Weights.of(array, threads)
        if dataset is None and self.num_rows <= _FEW_ROWS and num_samples > _MANY_DRAWS * self.num_rows:
            found = f"num_samples is {num_samples}, but weights has only {self.num_rows} rows to draw"
            warnings.warn(f"{found}; of groups, give weights[groups]; dataset= checks the length", stacklevel=2)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

    def set_weights(self, weights: ArrayLike | torch.Tensor) -> None:
        """Use other weights from the next pass on. A pass that has begun or was loaded keeps its own.

        Args:
            weights: (N,) of any real type, as in the constructor.

        Raises:
            InputError: for another length, and for weights that can't be drawn by.
        """
        array = _floats(weights)
        if len(array) != self.num_rows:
            raise InputError(f"weights has length {len(array)}; expected {self.num_rows}, as before")
        self._set_distribution(_Weights.of(array, self._threads()))

    def _open(self, distribution: _Weights, epoch: int) -> Stream:
        if distribution.table is None:
            raise InputError(
                "the weights of this pass are missing: the loaded state was saved after set_weights; call set_weights "
                "with the same weights again before the pass begins"
            )
        return WeightedStream(distribution.table, self.num_samples, self.seed, epoch)

    def _distributions_to_state(self, current: _Weights, upcoming: _Weights) -> dict[str, int | list[float]]:
        digests = {"weights_digest": current.digest, "next_weights_digest": upcoming.digest}
        return {**digests, "num_samples": self.num_samples}

    def _distributions_from_state(self, state: dict[str, Any]) -> tuple[_Weights, _Weights, int]:
        num_samples = arguments.integer("state['num_samples']", state["num_samples"], 1, MAX_DRAWS)
        position = arguments.integer("state['position']", state["position"], 0, num_samples)
        digests = [
            arguments.integer(f"state[{key!r}]", state[key], 0, 2**63 - 1)
            for key in ("weights_digest", "next_weights_digest")
        ]
        known = {
            distribution.digest: distribution
            for distribution in (self._distribution, self._next_distribution)
            if distribution is not None
        }
        current, upcoming = (known.get(digest) for digest in digests)
        if current is None and position == num_samples:
            current = upcoming  # the pass is finished and draws nothing more
        if current is None:
            raise InputError(
                "state['weights_digest'] differs: the state was saved with other weights; use the same ones, those of "
                "the pass it was saved in"
            )
        return current, _Weights(None, digests[1]) if upcoming is None else upcoming, num_samples

    def __repr__(self) -> str:
        return f"WeightedSampler(num_rows={self.num_rows}, num_samples={self.num_samples}, {self._shown_epoch()})"


@dataclass(frozen=True)
class _Weights:
    """An alias table and its digest. The table is None for weights that a state names but that are not set yet."""

    table: AliasTable | None
    digest: int

    @classmethod
    def of(cls, weights: NDArray[np.floating], num_threads: int) -> _Weights:
        table = AliasTable(weights, num_threads)
        return cls(table, table.digest(num_threads))


def _floats(weights: ArrayLike | torch.Tensor) -> NDArray[np.floating]:
    """Return (N,) float64 or float32, contiguous and in native byte order, without a copy if possible."""
    array = arguments.vector("weights", weights, "iuf")
    if array.size == 0:
        raise InputError(f"weights has shape {array.shape}; expected (N,) with at least one row")
    kept = array.dtype.itemsize in (4, 8) and array.dtype.kind == "f"
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes infinite, which is refused
        return np.require(array, array.dtype.newbyteorder("=") if kept else np.float64, ["C", "A"])
