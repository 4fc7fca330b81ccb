"""Shares and quotas, which both samplers of groups have: in each epoch a whole number of draws for each group."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, nearest
from dbpt.sampling.epoch_sampler import MAX_DRAWS, Drawn, EpochSampler
from dbpt.sampling.row_groups import RowGroups


class GroupDraws(EpochSampler[Drawn, NDArray[np.float64]]):
    """Iterate over epochs with a whole number of draws for each group, and for the unknown rows of each class.

    If a group's share of an epoch isn't a whole number of draws, it is rounded down in some epochs and up in others.
    From epoch 0 to any other, with the same shares, a group gets its share to within two draws. The rounding depends
    only on the shares, `seed` and the number of the epoch, and any groups can be rounded up together.

    Arguments of both samplers:
        groups: (N,) group of each row, integers of any type from 0 to ``num_groups - 1``. -1, None and NaN (unknown)
            are refused unless `unknown` is given. A contiguous array is not copied, nor kept.
        shares: the fraction of the draws that each group gets: "balanced" (equal shares of all groups with members),
            "natural" (in proportion to their sizes) or (G,) non-negative numbers on any scale.
        group_weights: (G,) weight of one *sample* of each group, instead of `shares`. The share of group g is then
            proportional to ``N_g * group_weights[g]``.
        num_groups: G, if the last groups have no members. By default ``max(groups) + 1``.
        unknown: "class" also draws the rows of group -1. Their weight is the mean weight of the rows of their class
            whose group is known, or of all such rows if their class has none. `shares` then divides only the draws of
            known rows.
        labels: (N,) class of each row, for ``unknown="class"``; all rows of a group have the same class.
    """

    _length_name: ClassVar[str]  # of the number of draws in an epoch, in a state
    _rows: RowGroups
    _rows_digest: int | None = None

    @abstractmethod
    def _quotas_of(self, shares: NDArray[np.float64], epoch: int) -> NDArray[np.int64]:
        """Return the draws (G,) in `epoch` for shares (G,); with unknown rows both are (G + C,)."""

    @abstractmethod
    def _settings(self) -> dict[str, int]:
        """Return the settings that must be the same in a loaded state."""

    def _draws(self) -> NDArray[np.int64]:
        """Return the draws in the current epoch of each group, and of the unknown rows of each class."""
        return self._quotas_of(self._distribution, self.epoch)

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
        """(G,) draws of each group in the current epoch, over all ranks; the average for independent draws."""
        return self._draws()[: self.num_groups]

    @property
    def unknown_quotas(self) -> NDArray[np.int64]:
        """(C,) draws of rows of unknown group in the current epoch, by class."""
        return self._draws()[self.num_groups :]

    def set_shares(self, shares: str | ArrayLike) -> None:
        """Use other shares from the next pass on. A pass that has begun or was loaded keeps its own.

        Args:
            shares: "balanced", "natural" or (G,) numbers on any scale, as in the constructor.

        Raises:
            InputError: for shares that can't be drawn by.
        """
        self._set_distribution(self._checked_shares(shares, None))

    def set_group_weights(self, group_weights: ArrayLike) -> None:
        """Use other group weights from the next pass on. A pass that has begun or was loaded keeps its own.

        Args:
            group_weights: (G,) numbers, the weight of one sample of each group.

        Raises:
            InputError: for weights that can't be drawn by.
        """
        self._set_distribution(self._checked(self._shares_of_weights(group_weights)))

    def _checked_shares(self, shares: str | ArrayLike, group_weights: ArrayLike | None) -> NDArray[np.float64]:
        """Return the shares of the groups, and of the unknown rows of each class, on any scale."""
        counts = self.counts
        values = (counts > 0).astype(np.float64)
        if group_weights is not None:
            if not (isinstance(shares, str) and shares == "balanced"):
                raise InputError("shares and group_weights are both given; expected one of the two")
            values = self._shares_of_weights(group_weights)
        elif not isinstance(shares, str):
            values = arguments.group_numbers("shares", shares, len(counts))
        elif shares == "natural":
            values = counts.astype(np.float64)
        elif shares != "balanced":
            hint = nearest(shares, ["balanced", "natural"])
            raise InputError(f"shares is {shares!r}; expected 'balanced', 'natural' or an array (G,){hint}")
        return self._checked(values)

    def _checked(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a copy with the shares of unknown rows; refuse shares that no quotas can be made of."""
        all_shares = np.array(self._rows.with_unknown(shares))
        # Only for its errors.
        self._quotas_of(all_shares, 0)
        return all_shares

    def _shares_of_weights(self, group_weights: ArrayLike) -> NDArray[np.float64]:
        weights = arguments.group_numbers("group_weights", group_weights, len(self.counts))
        with np.errstate(over="ignore"):  # an infinite sum is refused
            shares = self.counts * weights
            total = shares.sum()
        if not 0 < total < np.inf:
            raise InputError(f"the sum of N_g * group_weights[g] is {total}; expected a finite number above 0")
        return shares

    def _digest(self) -> int:
        if self._rows_digest is None:
            self._rows_digest = self._rows.index.digest(self._threads())
        return self._rows_digest

    def _distributions_to_state(
        self, current: NDArray[np.float64], upcoming: NDArray[np.float64]
    ) -> dict[str, int | list[float]]:
        sizes = {"groups_digest": self._digest(), **self._settings(), self._length_name: self._length}
        return {**sizes, "shares": current.tolist(), "next_shares": upcoming.tolist()}

    def _distributions_from_state(self, state: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        if not isinstance(state["groups_digest"], int) or state["groups_digest"] != self._digest():
            raise InputError("state['groups_digest'] differs: the state was saved with other groups; use the same ones")
        for key, here in self._settings().items():
            if type(state[key]) is not type(here) or state[key] != here:
                raise InputError(f"state[{key!r}] is {arguments.in_one_line(state[key])}; expected {here}, as here")
        name = self._length_name
        length = arguments.integer(f"state[{name!r}]", state[name], 1, MAX_DRAWS // self._rows_per_draw)
        current, upcoming = (
            arguments.group_numbers(f"state[{key!r}]", state[key], self._rows.index.num_groups)
            for key in ("shares", "next_shares")
        )
        for shares in (current, upcoming):
            self._quotas_of(shares, 0)  # checks them
        return current, upcoming, length

    def _shown_quotas(self) -> str:
        quotas, unknown = (
            np.array2string(quotas_G, separator=", ", threshold=10) for quotas_G in (self.quotas, self.unknown_quotas)
        )
        return f"quotas={quotas}" + (f", unknown_quotas={unknown}" if len(self.unknown_counts) else "")
