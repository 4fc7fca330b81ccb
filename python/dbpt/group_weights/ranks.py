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


def check_process_group(process_group: object) -> None:
    """Refuse what is no process group, before anything has changed."""
    import torch.distributed as dist

    if not dist.is_available() or not isinstance(process_group, dist.ProcessGroup):
        raise InputError(
            f"process_group is {process_group!r}; expected a torch.distributed process group that this process is in, "
            "for example torch.distributed.group.WORLD"
        )


def sum_over_ranks(
    digits: NDArray[np.int64], problem: str | None, process_group: ProcessGroup
) -> tuple[NDArray[np.int64], str | None]:
    """Return the digits (G, 5) of the sums of all ranks; and a problem if any rank has one."""
    import torch
    import torch.distributed as dist

    flag = np.full((1, digits.shape[1]), problem is not None, dtype=np.int64)
    on_accelerator = dist.get_backend(process_group) in _ACCELERATOR_BACKENDS
    device = torch.accelerator.current_accelerator() if on_accelerator else torch.device("cpu")
    total = torch.from_numpy(np.concatenate([digits, flag])).to(device)
    dist.all_reduce(total, group=process_group)
    found: NDArray[np.int64] = total.cpu().numpy()
    if problem is None and found[-1, 0]:
        problem = "what another rank observed since the last step is not valid; its own message says why"
    return np.ascontiguousarray(found[:-1]), problem
