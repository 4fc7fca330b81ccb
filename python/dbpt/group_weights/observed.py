"""What was observed since the last step: exact sums on the host, and on each device that something was observed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.group_weights.tensors import device_of, to_host

if TYPE_CHECKING:
    import torch

    from dbpt.group_weights.device_sums import DeviceSums


class Observed:
    """Sums that threads may add to while others read: none is lost, and nobody holds a lock meanwhile.

    Sums travel as *digits* (G, 5) int64, which can be added up like the sums themselves without an overflow: v₂, v₁,
    v₀, m₁, m₀ of a group stand for values v₂·2⁶⁴ + v₁·2³² + v₀ and members m₁·2³² + m₀.
    """

    def __init__(self, counts: NDArray[np.float64], quantity: str) -> None:
        self._num_groups, self._quantity = len(counts), quantity
        self._sums = _core.GroupSums(counts, quantity)
        self._devices: dict[torch.device, DeviceSums] = {}
        self.problem: str | None = None
        """What was wrong with what a device observed, as of the last `digits`."""

    def observe(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to ``groups`` (B,); -1 doesn't count."""
        device = device_of(groups=groups, **{self._quantity: values})
        if device is not None:
            self._sums_on(device).observe(groups, values)
            return
        groups_B = arguments.integers("groups", to_host(groups))
        values_B = arguments.floats(self._quantity, to_host(values))
        self._sums.observe(groups_B, values_B, arguments.num_threads())

    def observe_soft(self, posterior: ArrayLike, labels: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to each group (label, a) by ``posterior`` (B, A); a row of NaN doesn't count."""
        device = device_of(labels=labels, posterior=posterior, **{self._quantity: values})
        if device is not None:
            self._sums_on(device).observe_soft(posterior, labels, values)
            return
        rows_BA = arguments.matrix("posterior", to_host(posterior))
        labels_B = arguments.integers("labels", to_host(labels))
        values_B = arguments.floats(self._quantity, to_host(values))
        self._sums.observe_soft(rows_BA, labels_B, values_B, arguments.num_threads())

    def digits(self) -> NDArray[np.int64]:
        """Return the sums, those of all devices brought to the host, and remember a `problem`. Waits for the devices.

        One thread at a time may call this.
        """
        for sums in list(self._devices.values()):
            for digits, problem in sums.take():
                self._sums.add_digits(digits)
                self.problem = self.problem or problem
        return self._sums.digits()

    def forget(self, digits: NDArray[np.int64]) -> None:
        """Forget what `digits` gave, and its problem; what was observed after that stays."""
        self._sums.subtract_digits(digits)
        self.problem = None

    def means(self, digits: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the means (G,) that ``digits`` stand for, NaN where nothing was observed."""
        return self._sums.means(digits)

    def load(self, name: str, digits: ArrayLike) -> None:
        """Become what ``digits`` stand for."""
        found = arguments.array(name, to_host(digits))
        if found.shape != (self._num_groups, 5) or found.dtype.kind not in "iu":
            raise InputError(
                f"{name} has shape {found.shape} and dtype {found.dtype}; expected ({self._num_groups}, 5) integers"
            )
        self._sums.load_digits(np.ascontiguousarray(found, dtype=np.int64))

    def _sums_on(self, device: torch.device) -> DeviceSums:
        if device not in self._devices:
            from dbpt.group_weights.device_sums import DeviceSums

            # At once, should two threads come here.
            self._devices.setdefault(device, DeviceSums(self._num_groups, self._quantity, device))
        return self._devices[device]
