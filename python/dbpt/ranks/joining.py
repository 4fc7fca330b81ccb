"""The rank of this process, from the environment variables that ``torchrun`` or another launcher sets.

torch is imported where it is used, because the command line asks for the rank without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from dbpt.errors import InputError
from dbpt.ranks.exchange import ALONE, OneRankError, Ranks, reaching

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

# The others wait while rank 0 embeds the images, longer than torch's 30 minutes. A process that dies closes its
# connections; the limit is for machines that vanish.
LONGEST_WAIT = timedelta(days=2)


def launched() -> bool:
    """Return whether a launcher has started this process as one of several.

    Raises `InputError` for impossible values in its variables, and if they do not say where the processes meet.
    """
    size = _variable("WORLD_SIZE", 1, 2**31) if "WORLD_SIZE" in os.environ else 0
    if "RANK" in os.environ:
        _variable("RANK", 0, (size or 2**31) - 1)
    if size < 2 or "RANK" not in os.environ:  # a container or a batch system may say only how many there are
        return False
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        dist = sys.modules.get("torch.distributed")
        if dist is not None and dist.is_available() and dist.is_initialized():  # by the caller's own means
            return False
        raise InputError(
            f"$WORLD_SIZE is {size} and $RANK is set, but not ${' and $'.join(missing)}, where the processes meet: "
            "start with torchrun, or unset WORLD_SIZE to run alone"
        )
    limits = {"MASTER_PORT": (0, 2**16 - 1), "LOCAL_RANK": (0, size - 1), "LOCAL_WORLD_SIZE": (1, size)}
    for name, (low, high) in limits.items():
        if name in os.environ:
            _variable(name, low, high)
    return True


def _variable(name: str, low: int, high: int) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise InputError(
            f"${name} is {text!r}; expected a number from {low} to {high}: start with torchrun, or unset RANK and "
            "WORLD_SIZE to run alone"
        )
    return int(text)


def launched_rank() -> int:
    """Return the number of this process among those launched with it; 0 if it was launched alone."""
    return int(os.environ["RANK"]) if launched() else 0


def launched_size() -> int:
    """Return how many processes were launched together; 1 if this one was launched alone."""
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def local_rank() -> int:
    """Return the number of this process among those on its machine; 0 if it was launched alone."""
    return int(os.environ.get("LOCAL_RANK", launched_rank())) if launched() else 0


def local_size() -> int:
    """Return how many processes were launched together on this machine; 1 if no variable says so."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if launched() else 1


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Yield the ranks of this run: of the caller's process group, of the launcher's processes, or `ALONE`.

    A group that is made here is ended here. ``device`` is that of the settings: NCCL connects GPUs, gloo CPUs.
    Raises `InputError` if there is no GPU for this process, or the others cannot be reached.
    """
    import torch.distributed as dist

    found = dist.is_available() and dist.is_initialized()
    if not found and not launched():
        yield ALONE
        return
    if not found:
        _join(device)
    try:
        yield _all_ranks()
    except InputError as error:
        if not found and not isinstance(error, OneRankError):
            dist.destroy_process_group()
        raise
    if not found:  # not after other exceptions: those are this rank's alone, and ending a group takes all of them
        dist.destroy_process_group()


def _all_ranks() -> Ranks:
    import torch.distributed as dist

    number, size = dist.get_rank(), dist.get_world_size()
    if size == 1:
        return ALONE
    first_of_node = int(os.environ.get("LOCAL_RANK", number)) == 0
    with reaching():
        messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    assert isinstance(messages, dist.ProcessGroup)  # every rank is in it
    return Ranks(number, size, first_of_node, messages)


def take_own_gpu(device: str) -> bool:
    """Make this process's GPU the current one, which ``cuda`` and ``auto`` then mean, if it was launched with others.

    Return whether it computes on a GPU. Raises `InputError` if there is none for it, or ``device`` names a single one.
    """
    import torch

    if not launched():
        return device != "cpu" and torch.cuda.is_available()
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not on_gpu and device not in ("auto", "cpu"):
        raise InputError(
            f"--device {device} with several processes: each takes a device of its own; use auto, cuda or cpu"
        )
    if on_gpu:
        number, gpus = local_rank(), torch.cuda.device_count()
        processes = max(local_size(), number + 1)
        if processes > gpus:
            raise InputError(
                f"{processes} processes on this machine, and {gpus} GPUs: start one for each GPU (--nproc-per-node), "
                "or use --device cpu"
            )
        torch.cuda.set_device(number)
    return on_gpu


def _join(device: str) -> None:
    """Make the default process group."""
    import torch.distributed as dist

    on_gpu = take_own_gpu(device)
    # Under a name of its own: an earlier group, also of processes that torchrun has restarted, may have left addresses
    # where nobody listens.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"dbpt/{attempt}/{next(_joined)}", _store())  # type: ignore[attr-defined]
    with reaching():
        dist.init_process_group(
            "nccl" if on_gpu else "gloo", store=store, rank=launched_rank(), world_size=launched_size()
        )


_joined = count()


@cache
def _store() -> Store:
    """Return the store in which the launched processes leave their addresses for each other."""
    from torch.distributed.rendezvous import rendezvous

    with reaching():
        store: Store = next(rendezvous("env://"))[0]
    return store
