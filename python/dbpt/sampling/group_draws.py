"""What both samplers of groups share: whose members are drawn, how many of each group, and new shares for them."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.sampling.epochs import Drawn, EpochSampler
from dbpt.sampling.ranks import Ranks
from dbpt.sampling.row_groups import RowGroups
from dbpt.sampling.shares import group_shares, shares_of_weights


class GroupDraws(EpochSampler[Drawn, NDArray[np.int64]]):
    """Passes over epochs whose law is a whole number for each group, and for the unknown rows of each class."""

    _drawn_from = "groups"

    def __init__(
        self, rows: RowGroups, law: NDArray[np.int64], length: int, seed: int, ranks: Ranks, num_threads: int | None
    ) -> None:
        super().__init__(law, length, seed, ranks, num_threads)
        self._rows = rows
        self._rows_digest: int | None = None

    @abstractmethod
    def _law_of(self, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        """The law of shares (G,), or (G + C,) with those of unknown rows, for an epoch as long as this one."""

    @abstractmethod
    def _draws(self) -> NDArray[np.int64]:
        """Draws in the current epoch of each group, and of the unknown rows of each class."""

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
        """(G,) how often each group is drawn in the current epoch, over all ranks; on average if independently."""
        return self._draws()[: self.num_groups]

    @property
    def unknown_quotas(self) -> NDArray[np.int64]:
        """(C,) how often rows of unknown group are drawn in the current epoch, by class."""
        return self._draws()[self.num_groups :]

    def set_shares(self, shares: str | ArrayLike) -> None:
        """Use other shares from the next pass on; a pass that has begun, or was loaded, keeps its own."""
        self._set_law(self._law_of(all_shares(self._rows, shares, None)))

    def set_group_weights(self, group_weights: ArrayLike) -> None:
        """Use other weights (G,), what one sample of each group weighs, from the next pass on."""
        self._set_law(self._law_of(self._rows.with_unknown(shares_of_weights(group_weights, self.counts))))

    def _digest(self) -> int:
        if self._rows_digest is None:
            self._rows_digest = self._rows.index.digest(self._threads())
        return self._rows_digest

    def _shown_quotas(self) -> str:
        unknown = f", unknown_quotas={_shortened(self.unknown_quotas)}" if len(self.unknown_counts) else ""
        return f"quotas={_shortened(self.quotas)}{unknown}"

    def _shown_epoch(self) -> str:
        shard = f", rank={self.rank}, num_replicas={self.num_replicas}" if self.num_replicas > 1 else ""
        return f"seed={self.seed}, epoch={self.epoch}{shard}"


def all_shares(rows: RowGroups, shares: str | ArrayLike, group_weights: ArrayLike | None) -> NDArray[np.float64]:
    """Return the shares of the groups, and of the unknown rows of each class, on any scale."""
    return rows.with_unknown(group_shares(shares, group_weights, rows.counts))


def _shortened(values: NDArray[np.int64]) -> str:
    return np.array2string(values, separator=", ", threshold=10)
