"""`GroupSampler`: row numbers such that each group gets its share of the epoch."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupStream, IndependentStream, quotas
from dbpt.errors import InputError
from dbpt.sampling.epochs import Stream
from dbpt.sampling.group_draws import GroupDraws, all_shares
from dbpt.sampling.ranks import Ranks, check_dataset, checked_seed
from dbpt.sampling.row_groups import row_groups

_WHEEL = 2**48  # slots that independent draws point at: probabilities are whole numbers of them


class GroupSampler(GroupDraws[int]):
    """Draw row numbers so that each group gets its share of the epoch, exactly.

    Every member of a group is drawn equally often, to within one; those drawn once more are a random subset of the
    group, another one in each epoch. The draws of an epoch depend on nothing but the groups, the shares, `seed` and the
    epoch's number: not on ranks, workers or the position one starts from.

    Each pass is over the next epoch, whether or not the one before was finished; `set_epoch` and `load_state_dict` say
    where the next pass is to start instead.

    Args:
        groups: (N,) group of each row, integers of any type from 0 to ``num_groups - 1``; -1, unknown, is refused
            unless `unknown` says what such rows weigh. A contiguous array is read where it lies, and not kept.
        shares: what fraction of the draws each group gets: "balanced" (equal shares of all groups with members),
            "natural" (in proportion to their sizes) or (G,) non-negative numbers on any scale.
        group_weights: (G,) what one *sample* of a group weighs, instead of `shares`: group g gets a share
            proportional to ``N_g * group_weights[g]``.
        num_samples: draws in an epoch, over all ranks. By default N.
        seed: an integer from 0 to 2**64 - 1. None takes one from torch's default generator, as torch's own samplers do
            (without torch from NumPy's), in a single process.
        num_groups: G, if the last groups have no members. By default ``max(groups) + 1``.
        unknown: "class" lets a row of group -1 weigh the mean weight of the rows of its class whose group is known, or
            of all such rows where its class has none. The shares of the groups are then those among known rows.
        labels: (N,) class of each row, for ``unknown="class"``; rows of a group have one class.
        independent: draw with replacement, each draw independent of the others: the law of
            `torch.utils.data.WeightedRandomSampler` with weight ``share_g / N_g`` for a row of group g. Shares then
            hold on average only.
        rank: draw only every `num_replicas`-th row of the global order, from the `rank`-th on. Leave both out where
            the loop shards (Accelerate, Trainer); with Lightning give them, and
            ``Trainer(use_distributed_sampler=False)``, as it would shuffle the draws again.
        num_replicas: the number of ranks, which all make equally many draws: the epoch's first ones fill the last step,
            as in `DistributedSampler`.
        drop_last: leave out the draws of a last step that isn't full, instead of filling it.
        generator: refused; use `seed`.
        dataset: what the rows are read from, so that another length is refused at once.
        num_threads: of the core, by default the number of processors. They change nothing but the time.

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
        seed: int | None = 0,
        num_groups: int | None = None,
        unknown: str | None = None,
        labels: ArrayLike | None = None,
        independent: bool = False,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
        generator: None = None,
        dataset: Sized | None = None,
        num_threads: int | None = None,
    ) -> None:
        rows = row_groups(groups, num_groups, unknown, labels, arguments.num_threads(num_threads))
        check_dataset(dataset, "groups", rows.index.num_rows)
        self._independent = arguments.boolean("independent", independent)
        ranks = Ranks.checked(rank, num_replicas, drop_last)
        seed = checked_seed(seed, generator, ranks)
        num_samples = rows.index.num_rows if num_samples is None else num_samples
        num_samples = arguments.integer("num_samples", num_samples, 1, _WHEEL)
        ranks.check_length("num_samples", num_samples)
        values = all_shares(rows, shares, group_weights)
        law = quotas(values, rows.index.counts, _WHEEL if self._independent else num_samples)
        super().__init__(rows, law, num_samples, seed, ranks, num_threads)

    @property
    def num_samples(self) -> int:
        """Draws in an epoch, over all ranks."""
        return self._length

    def _law_of(self, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        # Slots of an epoch, or of the wheel of independent draws.
        return quotas(shares, self._rows.index.counts, _WHEEL if self._independent else self._length)

    def _draws(self) -> NDArray[np.int64]:
        if self._independent:
            return quotas(self._law.astype(np.float64), self._rows.index.counts, self.num_samples)
        return np.array(self._law)

    def _open(self, law: NDArray[np.int64], epoch: int) -> Stream:
        if self._independent:
            return IndependentStream(self._rows.index, law, self.num_samples, self.seed, epoch)
        return GroupStream(self._rows.index, law, self.seed, epoch)

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
        law = ", independent=True" if self._independent else ""
        return (
            f"GroupSampler(num_groups={self.num_groups}, num_samples={self.num_samples}, {self._shown_quotas()}{law}, "
            f"{self._shown_epoch()})"
        )
