"""`GroupSampler`: row numbers, with an exact share of the epoch for each group."""

from collections.abc import Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupStream, IndependentStream, Stream, quotas
from dbpt.sampling.epochs import MAX_DRAWS
from dbpt.sampling.group_draws import GroupDraws
from dbpt.sampling.row_groups import row_groups
from dbpt.sampling.sharding import Shard, check_dataset, checked_seed

_WHEEL = MAX_DRAWS  # an independent draw picks one of this many slots, so probabilities are multiples of 1 / _WHEEL


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
        check_dataset(dataset, "groups", num_rows)
        shard = Shard.checked(rank, num_replicas, drop_last)
        length = ("num_samples", num_rows if num_samples is None else num_samples)
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

    @property
    def _length_in_state(self) -> tuple[str, int]:
        return "num_samples", MAX_DRAWS

    def __repr__(self) -> str:
        quotas = self._shown_quotas() + (", independent=True" if self._independent else "")
        return (
            f"GroupSampler(num_groups={self.num_groups}, num_samples={self.num_samples}, {quotas}, "
            f"{self._shown_epoch()})"
        )
