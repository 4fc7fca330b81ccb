"""Exact sums by group of what was observed since the last step. They are integers, so no order changes a bit.

The Rust core rounds a value to a whole number of units of 2⁻³⁰, ties to even, and adds it up in two digits:
high·2³² + low.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.groups.tensors import check_length, to_host

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

UNIT = 2.0**30
_LOW = 2**32 - 1
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

    def contains(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether each of the values is in range; NaN isn't."""
        return (values >= self.least) & (values <= self.most)


QUANTITIES = {"p_true": Quantity("p_true", 0.0, 1.0), "losses": Quantity("losses", -1e9, 1e9)}
MEMBERSHIPS = Quantity("posterior", 0.0, 1.0)


def sum_by_group(
    groups: NDArray[np.int64], values: NDArray[Any], num_groups: int, quantity: Quantity
) -> NDArray[np.int64]:
    """Return the sums (G, 3) of ``values`` (B,) by ``groups`` (B,), -1 for none: high and low digits, and rows."""
    check_length(quantity.name, len(values), len(groups), "the rows of groups")
    limits: dict[str, Any] = {"argument": quantity.name, "least": quantity.least, "most": quantity.most}
    return _core.group_sums(groups, values, num_groups, **limits, num_threads=arguments.num_threads())


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

    ``digits`` (G, 3): the values of a group are high·2³² + low, and its members the third number, all in units.
    """

    def __init__(self, num_groups: int, quantity: Quantity) -> None:
        self.quantity = quantity
        self.digits: NDArray[np.int64] = np.zeros((num_groups, 3), dtype=np.int64)

    def add(
        self, groups: NDArray[np.int64], values: NDArray[Any], memberships: NDArray[np.float64] | None = None
    ) -> None:
        """Add ``values`` (B,) to ``groups`` (B,); they are products with ``memberships`` (B,) if these are given."""
        num_groups = len(self.digits)
        sums = sum_by_group(groups, values, num_groups, self.quantity)
        if memberships is None:
            sums[:, 2] <<= 30
        else:
            members = sum_by_group(groups, memberships, num_groups, MEMBERSHIPS)
            sums[:, 2] = (members[:, 0] << 32) + members[:, 1]
        digits = self.digits + sums
        digits[:, 0] += digits[:, 1] >> 32
        digits[:, 1] &= _LOW
        self.digits = digits

    def load(self, name: str, digits: ArrayLike) -> None:
        """Become these sums (G, 3), or refuse sums that no observation can give."""
        found, shape = arguments.array(name, to_host(name, digits)), self.digits.shape
        if found.shape != shape or found.dtype.kind not in "iu":
            raise InputError(f"{name} has shape {found.shape} and dtype {found.dtype}; expected {shape} integers")
        found = arguments.as_int64(name, found)
        means = group_means(found)
        possible = self.quantity.contains(means) | ((found == 0).all(1) & np.isnan(means))
        if not possible.all():
            group = int(np.argmin(possible))
            raise InputError(
                f"{name}[{group}] is {found[group].tolist()}; expected sums that somebody can have observed"
            )
        self.digits = found.copy()


def group_means(digits: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means (G,) of sums (G, 3), NaN where there is no member."""
    values, members = digits[:, 0] * 2.0**32 + digits[:, 1], digits[:, 2].astype(np.float64)
    means: NDArray[np.float64] = np.divide(values, members, out=np.full(len(digits), np.nan), where=members > 0)
    return means
