"""Exact sums by group of the observations since the last step. They are integers, so the order doesn't matter.

A value is rounded to a whole number of units of 2⁻³⁰, ties to even, and added up in two digits, high·2³² + low: by the
Rust core, or for tensors on an accelerator by torch's ``index_add_``, which sends (G, 3) integers to the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import group_sums
from dbpt.errors import InputError
from dbpt.groups.tensors import check_length, integers, numbers, on_accelerator, to_host

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

UNIT = 2.0**30
_LOW = 2**32 - 1
# torch.distributed backends that only add tensors on the accelerator.
_ACCELERATOR_BACKENDS = ("nccl", "xccl", "hccl")


@dataclass(frozen=True)
class Quantity:
    """An observed quantity of a sample: the name of its argument, and its range."""

    name: str
    least: float
    most: float

    def contains(self, values: Any) -> Any:
        """Return whether each value of an array or a tensor is in range; NaN isn't."""
        return (values >= self.least) & (values <= self.most)


QUANTITIES = {"p_true": Quantity("p_true", 0.0, 1.0), "losses": Quantity("losses", -1e9, 1e9)}


def sum_by_group(groups: ArrayLike, values: ArrayLike, num_groups: int, quantity: Quantity) -> NDArray[np.int64]:
    """Return the sums (G, 3) of ``values`` (B,) by ``groups`` (B,), -1 for none: high and low digits, and rows."""
    if on_accelerator(groups) and on_accelerator(values):
        sums = sum_tensors(groups, values, num_groups, quantity)
        if sums is not None:
            return sums
    groups, values = integers("groups", groups), numbers(quantity.name, values)
    check_length(quantity.name, len(values), len(groups), "the rows of groups")
    limits: dict[str, Any] = {"argument": quantity.name, "least": quantity.least, "most": quantity.most}
    return group_sums(groups, values, num_groups, **limits, num_threads=arguments.num_threads())


def sum_tensors(
    groups: torch.Tensor, values: torch.Tensor, num_groups: int, quantity: Quantity
) -> NDArray[np.int64] | None:
    """Return the sums of `sum_by_group`, added up on the tensors' device; None for what the host must refuse."""
    import torch

    alike = groups.device == values.device and groups.shape == values.shape and groups.ndim == 1
    if not alike or groups.dtype not in (torch.int64, torch.int32) or not values.is_floating_point():
        return None
    groups, values = groups.long(), values.detach()
    values = values if values.dtype == torch.float64 else values.float()
    fine = quantity.contains(values) & (groups >= -1) & (groups < num_groups)
    units = (values * UNIT).round().long()
    digits = torch.stack([units >> 32, units & _LOW, torch.ones_like(units)], dim=1)
    # the last two rows take group -1, and what is out of range
    index = torch.where(fine, torch.where(groups < 0, num_groups, groups), num_groups + 1)
    sums = digits.new_zeros(num_groups + 2, 3).index_add_(0, index, digits).cpu().numpy()
    return None if sums[-1].any() else sums[:-2]


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
    total = torch.tensor(digits, device=device)
    dist.all_reduce(total, group=process_group)
    found: NDArray[np.int64] = total.cpu().numpy()
    return found


class GroupSums:
    """Sums of a quantity and of the members of each of G groups.

    ``digits`` (G, 3) has the sum of a group's values, high·2³² + low, and its number of members, all in units.
    """

    def __init__(self, num_groups: int, quantity: Quantity) -> None:
        self.quantity = quantity
        self.digits: NDArray[np.int64] = np.zeros((num_groups, 3), dtype=np.int64)

    def add(self, groups: ArrayLike, values: ArrayLike) -> None:
        """Add ``values`` (B,) to ``groups`` (B,)."""
        num_groups = len(self.digits)
        sums = sum_by_group(groups, values, num_groups, self.quantity)
        sums[:, 2] <<= 30
        digits = self.digits + sums
        digits[:, 0] += digits[:, 1] >> 32
        digits[:, 1] &= _LOW
        self.digits = digits

    def load(self, name: str, digits: ArrayLike) -> None:
        """Load sums (G, 3); refuse sums that no observations can have."""
        found, shape = arguments.array(name, to_host(name, digits)), self.digits.shape
        if found.shape != shape or found.dtype.kind not in "iu":
            raise InputError(f"{name} has shape {found.shape} and dtype {found.dtype}; expected {shape} integers")
        found = arguments.as_int64(name, found)
        means = group_means(found)
        possible = self.quantity.contains(means) | ((found == 0).all(1) & np.isnan(means))
        if not possible.all():
            group = int(np.argmin(possible))
            raise InputError(f"{name}[{group}] is {found[group].tolist()}; expected sums that can be observed")
        self.digits = found.copy()


def group_means(digits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (G,) of sums (G, 3), NaN for a group without members."""
    values, members = digits[:, 0] * 2.0**32 + digits[:, 1], digits[:, 2].astype(np.float64)
    means: NDArray[np.float64] = np.divide(values, members, out=np.full(len(digits), np.nan), where=members > 0)
    return means
