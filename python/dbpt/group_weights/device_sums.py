"""What was observed on a device: exact sums that stay there until `step`, so that observing never waits for it.

It needs torch. B rows, A attributes, G groups.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dbpt.errors import InputError
from dbpt.group_weights.soft import MEMBERSHIP_BITS, check_columns, memberships_on
from dbpt.group_weights.tensors import check_length, current_stream, integers_on, numbers_on

_LOW = 2**32 - 1
# Bits of the unit, range, and what is expected, as in the Rust core.
_QUANTITIES = {
    "p_true": (32, 0.0, 1.0, "a probability from 0 to 1"),
    "losses": (24, -1e9, 1e9, "a finite number within ±1e9"),
}
# Digits below 2**32 of so many rows add up within 64 bits.
MAX_ROWS = 2**31 - 1


class _Table:
    """Sums (G + 2, 5) in digits: of the groups; of what doesn't count; and how many rows were bad.

    The bad are counted by what is wrong with them: groups, labels, posterior, values.
    """

    def __init__(self, num_groups: int, device: torch.device, stream: torch.Stream | None) -> None:
        with torch.inference_mode(False):
            self.totals = torch.zeros(num_groups + 2, 5, dtype=torch.int64, device=device)
        self.stream, self.rows = stream, 0


class DeviceSums:
    """Integer sums of one device: additions commute, so no order of its atomic operations can change them.

    There is a table for each stream, and another when several threads add at once: whoever adds has the table for
    itself. What is out of range cannot be told without waiting for the device: such rows are left out and counted, and
    `take` says how many there were.
    """

    def __init__(self, num_groups: int, quantity: str, device: torch.device) -> None:
        self._num_groups, self._quantity, self._device = num_groups, quantity, device
        self._bits, self._least, self._most, self._expected = _QUANTITIES[quantity]
        # Tables that nobody is adding to, by stream. Taking out and putting back need no lock.
        self._idle: dict[torch.Stream | None, deque[_Table]] = {}

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to ``groups`` (B,); -1 doesn't count."""
        groups_B = integers_on(self._device, "groups", groups)
        values_B = numbers_on(self._device, self._quantity, values)
        check_length(self._quantity, len(values_B), len(groups_B), "the rows of groups")
        with self._table(len(groups_B)) as totals:
            fine_B = self._in_range(values_B)
            inside_B = (groups_B >= 0) & (groups_B < self._num_groups)
            index_B = torch.where(inside_B & fine_B, groups_B, self._num_groups)
            memberships_B = torch.full_like(groups_B, 1 << MEMBERSHIP_BITS)
            totals.index_add_(0, index_B, self._digits(values_B, memberships_B))
            none_B = torch.zeros_like(fine_B)
            _count_bad(totals, ~inside_B & (groups_B != -1), none_B, none_B, ~fine_B)

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        posterior_BA = numbers_on(self._device, "posterior", posterior, ndim=2)
        check_columns(posterior_BA.shape, self._num_groups)
        rows, columns = posterior_BA.shape
        labels_B = integers_on(self._device, "labels", labels)
        check_length("labels", len(labels_B), rows, "the rows of posterior")
        values_B = numbers_on(self._device, self._quantity, values)
        check_length(self._quantity, len(values_B), rows, "the rows of posterior")
        with self._table(rows) as totals:
            fine_B = self._in_range(values_B)
            known_B = (labels_B >= 0) & (labels_B < self._num_groups // columns)
            memberships_BA, proper_B, unlabelled_B = memberships_on(posterior_BA)
            use_B = fine_B & known_B & proper_B
            groups_BA = labels_B[:, None] * columns + torch.arange(columns, device=self._device)
            index_BA = torch.where(use_B[:, None], groups_BA, self._num_groups)
            values_BA = values_B[:, None].expand(rows, columns)
            digits = self._digits(values_BA.flatten(), memberships_BA.flatten())
            totals.index_add_(0, index_BA.flatten(), digits)
            _count_bad(totals, torch.zeros_like(fine_B), ~known_B, ~proper_B & ~unlabelled_B, ~fine_B)

    def take(self) -> Iterator[tuple[NDArray[np.int64], str | None]]:
        """Hand over the digits (G, 5) of each table, and what was wrong, if anything. Waits for the device."""
        for tables in list(self._idle.values()):
            while tables:
                table = tables.popleft()
                try:
                    totals = self._cross(table)
                except BaseException:
                    tables.appendleft(table)
                    raise
                yield totals[:-2], self._problem(totals[-1].tolist())

    def _cross(self, table: _Table) -> NDArray[np.int64]:
        if table.stream is not None:
            current_stream(self._device).wait_stream(table.stream)  # type: ignore[union-attr]
        totals: NDArray[np.int64] = table.totals.cpu().numpy()
        return totals

    @contextmanager
    def _table(self, rows: int) -> Iterator[torch.Tensor]:
        """The totals of a table that nobody else is adding to, with room for so many rows."""
        if rows > MAX_ROWS:
            raise InputError(f"{rows} rows were observed on {self._device} at once; expected at most {MAX_ROWS}")
        stream = current_stream(self._device)
        tables = self._idle.setdefault(stream, deque())
        try:
            table = tables.pop()
        except IndexError:
            table = _Table(self._num_groups, self._device, stream)
        if table.rows + rows > MAX_ROWS:
            tables.appendleft(table)
            table = _Table(self._num_groups, self._device, stream)
        table.rows += rows
        try:
            with torch.inference_mode(False), torch.no_grad():
                yield table.totals
        finally:
            tables.append(table)

    def _in_range(self, values: torch.Tensor) -> torch.Tensor:
        return (values >= self._least) & (values <= self._most)

    def _digits(self, values: torch.Tensor, memberships: torch.Tensor) -> torch.Tensor:
        """Return memberships times values (n,), and memberships, as digits (n, 5), which hold every bit of them."""
        # Ties to even, as in the Rust core.
        units = (values * 2.0**self._bits).round().to(torch.int64)
        low = (units & _LOW) * memberships
        high = (units >> 32) * memberships + (low >> 32)
        members = [memberships >> 32, memberships & _LOW]
        return torch.stack([high >> 32, high & _LOW, low & _LOW, *members], dim=1)

    def _problem(self, bad: list[int]) -> str | None:
        expected = {
            "groups": f"is out of range; expected -1 (outside) or 0 to {self._num_groups - 1}",
            "labels": "is out of range; expected a class from 0 up to the number of groups / columns of posterior",
            "posterior": "is wrong; expected probabilities that add up to 1, or NaN throughout for an unlabelled row",
            self._quantity: f"is NaN or out of range; expected {self._expected}",
        }
        for (name, what), rows in zip(expected.items(), bad, strict=False):
            if rows:
                return f"{name} of {rows} rows observed on {self._device} since the last step {what}"
        return None


def _count_bad(totals: torch.Tensor, *masks: torch.Tensor) -> None:
    totals[-1, : len(masks)] += torch.stack(masks).sum(dim=1)
