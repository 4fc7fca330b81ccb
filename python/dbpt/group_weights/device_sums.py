"""What was observed on a device: exact sums that stay there until `step`, so that observing never waits for it.

It needs torch. B rows, A attributes, G groups.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dbpt.errors import InputError
from dbpt.group_weights.soft import check_columns
from dbpt.group_weights.tensors import check_length, integers_on, numbers_on

_LOW = 2**32 - 1
# A unit of memberships is 2**-32. Of values: bits of the unit, range, and what is expected, as in the Rust core.
_MEMBERSHIP_BITS = 32
_QUANTITIES = {
    "p_true": (32, 0.0, 1.0, "a probability from 0 to 1"),
    "losses": (24, -1e9, 1e9, "a finite number within ±1e9"),
}
_TOLERANCE = 0.01
MAX_ROWS = 2**31 - 1


class DeviceSums:
    """Integer sums of one device: additions commute, so no order of its atomic operations can change them.

    A sum is kept in halves, high·2³² + low, which cannot overflow below 2³¹ rows. What is out of range cannot be told
    without waiting for the device: such rows are left out and counted, and `take` says how many there were.
    """

    def __init__(self, num_groups: int, quantity: str, device: torch.device) -> None:
        self._num_groups, self._quantity, self._device = num_groups, quantity, device
        self._bits, self._least, self._most, self._expected = _QUANTITIES[quantity]
        self._rows = 0
        # Rows: the groups; what doesn't count; how many were bad: groups, labels, posteriors, values.
        with torch.inference_mode(False):
            self._totals = torch.zeros(num_groups + 2, 4, dtype=torch.int64, device=device)

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to ``groups`` (B,); -1 doesn't count."""
        groups_B = integers_on(self._device, "groups", groups)
        values_B = numbers_on(self._device, self._quantity, values)
        check_length(self._quantity, len(values_B), len(groups_B), "the rows of groups")
        self._count_rows(len(groups_B))
        with torch.inference_mode(False), torch.no_grad():
            fine_B = (values_B >= self._least) & (values_B <= self._most)
            inside_B = (groups_B >= 0) & (groups_B < self._num_groups)
            index_B = torch.where(inside_B & fine_B, groups_B, self._num_groups)
            none_B = torch.zeros_like(index_B)
            self._add(index_B, *_halves(values_B, self._bits), none_B + 1, none_B)
            self._count_bad(~inside_B & (groups_B != -1), none_B, none_B, ~fine_B)

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        posterior_BA = numbers_on(self._device, "posterior", posterior, ndim=2)
        check_columns(posterior_BA.shape, self._num_groups)
        rows, columns = posterior_BA.shape
        labels_B = integers_on(self._device, "labels", labels)
        check_length("labels", len(labels_B), rows, "the rows of posterior")
        values_B = numbers_on(self._device, self._quantity, values)
        check_length(self._quantity, len(values_B), rows, "the rows of posterior")
        self._count_rows(rows)
        with torch.inference_mode(False), torch.no_grad():
            fine_B = (values_B >= self._least) & (values_B <= self._most)
            known_B = (labels_B >= 0) & (labels_B < self._num_groups // columns)
            within_B = ((posterior_BA >= 0) & (posterior_BA <= 1)).all(dim=1)
            proper_B = within_B & ((posterior_BA.sum(dim=1) - 1).abs() <= _TOLERANCE)
            use_B = fine_B & known_B & proper_B
            groups_BA = labels_B[:, None] * columns + torch.arange(columns, device=self._device)
            index_BA = torch.where(use_B[:, None], groups_BA, self._num_groups)
            values_BA = _halves((posterior_BA * values_B[:, None]).flatten(), self._bits)
            self._add(index_BA.flatten(), *values_BA, *_halves(posterior_BA.flatten(), _MEMBERSHIP_BITS))
            improper_B = ~proper_B & ~posterior_BA.isnan().all(dim=1)
            self._count_bad(torch.zeros_like(labels_B), ~known_B, improper_B, ~fine_B)

    def take(self) -> tuple[NDArray[np.int64], str | None]:
        """Return the sums in halves (G, 4), and what was wrong, if anything; then forget them. Waits for the device."""
        totals: NDArray[np.int64] = self._totals.cpu().numpy().copy()
        self._totals.zero_()
        self._rows = 0
        for name, bad in zip(("groups", "labels", "posterior", self._quantity), totals[-1].tolist(), strict=True):
            if bad:
                problem = f"{name} of {bad} rows observed on {self._device} since the last step {self._is(name)}"
                return totals[:-2], problem
        return totals[:-2], None

    def _is(self, name: str) -> str:
        if name == "groups":
            return f"is out of range; expected -1 (outside) or 0 to {self._num_groups - 1}"
        if name == "labels":
            return "is out of range; expected a class from 0 up to the number of groups / columns of posterior"
        if name == "posterior":
            return "is wrong; expected probabilities that add up to 1, or NaN throughout for an unlabelled row"
        return f"is NaN or out of range; expected {self._expected}"

    def _add(self, index: torch.Tensor, *halves: torch.Tensor) -> None:
        """Add the four halves (n,) int64 of values and memberships to the rows ``index`` (n,) of the sums."""
        self._totals.index_add_(0, index, torch.stack(halves, dim=1))

    def _count_bad(self, *masks: torch.Tensor) -> None:
        self._totals[-1] += torch.stack(masks).sum(dim=1)

    def _count_rows(self, rows: int) -> None:
        self._rows += rows
        if self._rows > MAX_ROWS:
            raise InputError(
                f"more than {MAX_ROWS} rows were observed on {self._device} since the last step; call step() more often"
            )


def _halves(values: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearest whole number of units of 2**-bits as high·2³² + low, ties to even as in the Rust core."""
    units = (values * 2.0**bits).round().to(torch.int64)
    return units >> 32, units & _LOW
