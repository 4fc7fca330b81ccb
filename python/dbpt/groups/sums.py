"""Exact sums by group of what was observed since the last step. They are integers, so no order changes a bit.

The Rust core adds up arrays; torch's ``index_add_`` adds up tensors on their device. Both round a value to a whole
number of units of 2⁻³⁰, ties to even, and add it up in two digits: high·2³² + low.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.groups.tensors import check_length, is_tensor, to_host

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

UNIT = 2.0**30
_LOW = 2**32 - 1
# The lower digits of so many rows add up within 64 bits.
MAX_ROWS = 2**31 - 1
# torch.distributed backends that add up tensors of the accelerator only.
_ACCELERATOR_BACKENDS = ("nccl", "xccl", "hccl")


@dataclass(frozen=True)
class Quantity:
    """What is observed of a sample: the argument's name, and its range."""

    name: str
    least: float
    most: float

    @property
    def expected(self) -> str:
        """The range in words."""
        return f"a number from {self.least:g} to {self.most:g}"

    def contains(self, values: Any) -> Any:
        """Return whether each of the values, an array or a tensor, is in range; NaN isn't."""
        return (values >= self.least) & (values <= self.most)


QUANTITIES = {"p_true": Quantity("p_true", 0.0, 1.0), "losses": Quantity("losses", -1e9, 1e9)}
MEMBERSHIPS = Quantity("posterior", 0.0, 1.0)


def sum_by_group(groups: Any, values: Any, num_groups: int, quantity: Quantity) -> Any:
    """Return the sums (G + 1, 3) of ``values`` (B,) by ``groups`` (B,): high and low digits, and rows.

    Both are arrays, or tensors on one device. Rows of group -1 don't count. A value or group out of range is refused;
    on a device, which isn't waited for, it is counted in the last row.
    """
    check_length(quantity.name, len(values), len(groups), "the rows of groups")
    if not is_tensor(groups):
        sums = np.zeros((num_groups + 1, 3), dtype=np.int64)
        limits: dict[str, Any] = {"argument": quantity.name, "least": quantity.least, "most": quantity.most}
        sums[:-1] = _core.group_sums(groups, values, num_groups, **limits, num_threads=arguments.num_threads())
        return sums
    import torch

    fine = quantity.contains(values) & (groups >= -1) & (groups < num_groups)
    index = torch.where(fine, torch.where(groups == -1, num_groups + 1, groups), num_groups)
    units = (values * UNIT).round().to(torch.int64)
    digits = torch.stack([units >> 32, units & _LOW, torch.ones_like(units)], dim=1)
    return torch.zeros(num_groups + 2, 3, dtype=torch.int64, device=groups.device).index_add_(0, index, digits)[:-1]


def sum_over_ranks(digits: NDArray[np.int64], process_group: ProcessGroup) -> NDArray[np.int64]:
    """Return the sums of all ranks of ``process_group``, which all call this."""
    import torch
    import torch.distributed as dist

    if not dist.is_available() or not isinstance(process_group, dist.ProcessGroup):
        raise InputError(
            f"process_group is {process_group!r}; expected a torch.distributed process group that this process is in, "
            "for example torch.distributed.group.WORLD"
        )
    on_accelerator = dist.get_backend(process_group) in _ACCELERATOR_BACKENDS
    device = torch.accelerator.current_accelerator() if on_accelerator else torch.device("cpu")
    total = torch.from_numpy(digits).to(device)
    dist.all_reduce(total, group=process_group)
    found: NDArray[np.int64] = total.cpu().numpy()
    return found


class GroupSums:
    """Sums of a quantity and of the members of each of G groups, on the host and on each device that has some.

    ``digits`` (G + 1, 3): the values of a group are high·2³² + low, and its members the third number, all in units. In
    the last row the third number is above 0 if something was out of range.
    """

    def __init__(self, num_groups: int, quantity: Quantity) -> None:
        self.num_groups, self.quantity = num_groups, quantity
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._host: NDArray[np.int64] = np.zeros((self.num_groups + 1, 3), dtype=np.int64)
        self._devices: dict[torch.device, torch.Tensor] = {}
        self._rows_on_devices = 0

    def add(self, groups: Any, values: Any, memberships: Any = None) -> None:
        """Add ``values`` (B,) to ``groups`` (B,), of which each row is a member, or in part by ``memberships`` (B,).

        Under memberships the values are products with them.
        """
        sums = sum_by_group(groups, values, self.num_groups, self.quantity)
        if memberships is None:
            sums[:, 2] <<= 30
        else:
            members = sum_by_group(groups, memberships, self.num_groups, MEMBERSHIPS)
            sums[:-1, 2] = (members[:-1, 0] << 32) + members[:-1, 1]
        if not is_tensor(groups):
            self._host = _canonical(self._host + sums)
            return
        self._rows_on_devices += len(groups)
        if self._rows_on_devices > MAX_ROWS:
            self._cross()
        # Not in place: the sums may have been made in inference mode, which forbids that elsewhere.
        before = self._devices.get(groups.device)
        self._devices[groups.device] = sums if before is None else before + sums

    def digits(self) -> NDArray[np.int64]:
        """Return all sums (G + 1, 3). Waits for the devices."""
        self._cross()
        return np.array(self._host)

    def _cross(self) -> None:
        for device in list(self._devices):
            self._host = _canonical(self._host + self._devices.pop(device).cpu().numpy())
        self._rows_on_devices = 0

    def load(self, name: str, digits: ArrayLike) -> None:
        """Become these sums (G, 3), or refuse sums that no observation can give."""
        found, shape = arguments.array(name, to_host(digits)), (self.num_groups, 3)
        if found.shape != shape or found.dtype.kind not in "iu":
            raise InputError(f"{name} has shape {found.shape} and dtype {found.dtype}; expected {shape} integers")
        found = found.astype(np.int64)
        means = group_means(found)
        possible = self.quantity.contains(means) | ((found == 0).all(1) & np.isnan(means))
        if not possible.all():
            group = int(np.argmin(possible))
            raise InputError(
                f"{name}[{group}] is {found[group].tolist()}; expected sums that somebody can have observed"
            )
        self.clear()
        self._host[:-1] = found


def group_means(digits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (G,) of sums (G, 3), NaN where there is no member."""
    values, members = digits[:, 0] * 2.0**32 + digits[:, 1], digits[:, 2].astype(np.float64)
    means: NDArray[np.float64] = np.divide(values, members, out=np.full(len(digits), np.nan), where=members > 0)
    return means


def _canonical(digits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same sums with lower digits from 0 to 2³² - 1."""
    digits[:, 0] += digits[:, 1] >> 32
    digits[:, 1] &= _LOW
    return digits
