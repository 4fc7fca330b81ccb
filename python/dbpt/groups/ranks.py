"""Sums over the processes of a torch.distributed group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

# Backends that add up tensors of the accelerator only.
_ACCELERATOR_BACKENDS = ("nccl", "xccl", "hccl")


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
