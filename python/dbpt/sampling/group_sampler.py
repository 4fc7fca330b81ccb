"""`GroupSampler`: row numbers such that each group gets its share of the epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupStream, IndependentStream, quotas
from dbpt.errors import InputError
from dbpt.sampling.epochs import EpochSampler, checked_ranks
from dbpt.sampling.row_groups import row_groups
from dbpt.sampling.rows import Rows
from dbpt.sampling.shares import group_shares

_WHEEL = 2**48  # slots that independent draws point at: probabilities are whole numbers of them


class GroupSampler(EpochSampler[int, NDArray[np.int64]]):
    """Draw row numbers so that each group gets its share of the epoch, exactly.

    Every member of a group is drawn equally often, to within one; which ones are drawn once more changes from epoch to
    epoch. The draws of an epoch depend on nothing but the groups, the shares, `seed` and the epoch's number: not on
    ranks, workers or the position one starts from.

    A pass that is left in the middle starts over on a fresh ``iter()``, unless a state was loaded; after a finished
    pass the next one is the next epoch, so that calling `set_epoch` is possible but not necessary.

    Args:
        groups: (N,) group of each row, integers of any type from 0 to ``num_groups - 1``; -1, unknown, is refused
            unless `unknown` says what such rows weigh. A contiguous array is read where it lies, and not kept.
        shares: what fraction of the draws each group gets: "balanced" (equal shares of all groups with members),
            "natural" (in proportion to their sizes) or (G,) non-negative numbers on any scale.
        group_weights: (G,) what one *sample* of a group weighs, instead of `shares`: group g gets a share
            proportional to ``N_g * group_weights[g]``.
        num_samples: draws in an epoch, over all ranks. By default N, raised to a multiple of `num_replicas`.
        seed: an integer from 0 to 2**64 - 1.
        num_groups: G, if the last groups have no members. By default ``max(groups) + 1``.
        unknown: "class" lets a row of group -1 weigh the mean weight of the rows of its class whose group is known, or
            of all such rows where its class has none. The shares of the groups are then those among known rows.
        labels: (N,) class of each row, for ``unknown="class"``; rows of a group have one class.
        independent: draw with replacement, each draw independent of the others: the law of
            `torch.utils.data.WeightedRandomSampler` with weight ``share_g / N_g`` for a row of group g. Shares then
            hold on average only.
        rank: draw only every `num_replicas`-th row of the global order, from the `rank`-th on. Leave both out where
            the framework shards (Accelerate, Trainer); with Lightning give them, and
            ``Trainer(use_distributed_sampler=False)``, as it would shuffle the draws again. If `num_samples` isn't a
            multiple of `num_replicas`, the first ranks have one draw more.
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
        unknown: str | None = None,
        labels: ArrayLike | None = None,
        independent: bool = False,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        self._rows = row_groups(groups, num_groups, unknown, labels)
        self._rows_digest: int | None = None
        self._independent = arguments.boolean("independent", independent)
        rank, num_replicas = checked_ranks(rank, num_replicas)
        if num_samples is None:
            num_samples = -(-self._rows.index.num_rows // num_replicas) * num_replicas
        num_samples = arguments.integer("num_samples", num_samples, 1, _WHEEL)
        law = self._law_of(shares, group_weights, num_samples)
        super().__init__(law, num_samples, seed, rank, num_replicas)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

    @property
    def num_groups(self) -> int:
        """The number of groups, empty ones included."""
        return self._rows.num_groups

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) the number of members of each group."""
        return self._rows.counts

    @property
    def unknown_counts(self) -> NDArray[np.int64]:
        """(C,) the number of rows of unknown group in each class; (0,) unless ``unknown="class"``."""
        return self._rows.unknown_counts

    @property
    def quotas(self) -> NDArray[np.int64]:
        """(G,) how often each group is drawn in the current epoch, over all ranks; if `independent`, on average."""
        return self._draws()[: self.num_groups]

    @property
    def unknown_quotas(self) -> NDArray[np.int64]:
        """(C,) how often rows of unknown group are drawn in the current epoch, by class."""
        return self._draws()[self.num_groups :]

    def set_shares(self, shares: str | ArrayLike) -> None:
        """Use other shares from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        self._set_law(self._law_of(shares, None, self.num_samples))

    def set_group_weights(self, group_weights: ArrayLike) -> None:
        """Use other weights (G,), what one sample of each group weighs, from the next pass on."""
        self._set_law(self._law_of("balanced", group_weights, self.num_samples))

    def indices(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return draws `start` to `stop` of the current epoch's global order, as an int64 array, in O(stop - start)."""
        start = arguments.integer("start", start, 0, self.num_samples)
        stop = self.num_samples if stop is None else arguments.integer("stop", stop, start, self.num_samples)
        return self._stream().rows(start, stop)

    def _law_of(self, shares: str | ArrayLike, group_weights: ArrayLike | None, num_samples: int) -> NDArray[np.int64]:
        """How many slots of an epoch, or of the wheel of independent draws, each group has, and each unknown class."""
        values = self._rows.with_unknown(group_shares(shares, group_weights, self._rows.counts))
        return quotas(values, self._rows.index.counts, _WHEEL if self._independent else num_samples)

    def _draws(self) -> NDArray[np.int64]:
        if self._independent:
            return quotas(self._law.astype(np.float64), self._rows.index.counts, self.num_samples)
        return np.array(self._law)

    def _open(self, law: NDArray[np.int64], epoch: int) -> Rows:
        if self._independent:
            return Rows(IndependentStream(self._rows.index, law, self.num_samples, self.seed, epoch))
        return Rows(GroupStream(self._rows.index, law, self.seed, epoch))

    def _stream(self) -> Rows:
        stream = super()._stream()
        assert isinstance(stream, Rows)
        return stream

    def _digest(self) -> int:
        if self._rows_digest is None:
            self._rows_digest = self._rows.index.digest(arguments.num_threads())
        return self._rows_digest

    def _laws_to_state(self, current: NDArray[np.int64], upcoming: NDArray[np.int64]) -> dict[str, int | list[int]]:
        return {
            "quotas": current.tolist(),
            "next_quotas": upcoming.tolist(),
            "num_samples": self.num_samples,
            "independent": self._independent,
        }

    def _laws_from_state(self, state: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        if state["independent"] is not self._independent:
            raise InputError(
                f"state['independent'] is {arguments.in_one_line(state['independent'])}; expected {self._independent}, "
                "as this sampler was made: the draws would differ"
            )
        num_samples = arguments.integer("state['num_samples']", state["num_samples"], 1, _WHEEL)
        total = _WHEEL if self._independent else num_samples
        current, upcoming = (self._loaded_quotas(key, state[key], total) for key in ("quotas", "next_quotas"))
        return current, upcoming, num_samples

    def _loaded_quotas(self, key: str, values: Any, total: int) -> NDArray[np.int64]:
        loaded = arguments.group_integers(f"state[{key!r}]", values, self._rows.index.num_groups)
        slots = len(GroupStream(self._rows.index, loaded, 0, 0))  # checks them against the groups
        if slots != total:
            raise InputError(f"state[{key!r}] add up to {slots}; expected {total}")
        return loaded

    def __repr__(self) -> str:
        unknown = f", unknown_quotas={_shortened(self.unknown_quotas)}" if len(self.unknown_counts) else ""
        law = ", independent=True" if self._independent else ""
        shard = f", rank={self.rank}, num_replicas={self.num_replicas}" if self.num_replicas > 1 else ""
        return (
            f"GroupSampler(num_groups={self.num_groups}, num_samples={self.num_samples}, "
            f"quotas={_shortened(self.quotas)}{unknown}{law}, seed={self.seed}, epoch={self.epoch}{shard})"
        )


def _shortened(values: NDArray[np.int64]) -> str:
    return np.array2string(values, separator=", ", threshold=10)
