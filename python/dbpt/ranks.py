"""The processes of one run, as ``torchrun`` starts them: what each has to do, and what they do together.

Every rank computes its part of each global batch; rank 0 alone reads the data, writes files and prints. Without other
processes all of this is the identity. Nothing here knows what is trained. torch is imported where it is used: the
command line asks which rank it is where it does without.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from dbpt.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

T = TypeVar("T")

# Ranks wait for rank 0 while it embeds the images, which takes days where there are enough of them. A rank that dies
# closes its connections, and the others end at once.
LONGEST_WAIT = timedelta(days=30)


@dataclass(frozen=True)
class Ranks:
    """This process among the ``count`` of a run: its ``number`` from 0, and whether it is the first of its machine.

    ``messages`` is the group by which values and errors travel, over the host; tensors travel in the default group, on
    their device. All ranks call each method in the same order.
    """

    number: int = 0
    count: int = 1
    first_of_node: bool = True
    messages: ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that reads, writes and prints."""
        return self.number == 0

    def part(self, total: int) -> slice:
        """This rank's part of ``total`` rows: contiguous, equal to one row, empty where there are too few."""
        return slice(self.number * total // self.count, (self.number + 1) * total // self.count)

    def gather(self, own: torch.Tensor, total: int) -> torch.Tensor:
        """(total,) from the `part` (P,) of each rank, the same bits on all; a gradient reaches this rank's own alone.

        So a loss of gathered values is that of one process, and the sum over ranks of its gradients is its gradient.
        """
        if self.count == 1:
            return own
        import torch
        import torch.distributed as dist

        whole = torch.zeros(total, dtype=own.dtype, device=own.device)
        whole[self.part(total)] = own.detach()
        dist.all_reduce(whole)  # a value and zeros: exact
        whole[self.part(total)] = own
        return whole

    def sum_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Replace the gradient of each parameter by its sum over the ranks, in one exchange."""
        if self.count == 1:
            return
        import torch
        import torch.distributed as dist

        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, total in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def copy_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give ``tensors`` the values that they have on rank 0."""
        if self.count == 1:
            return
        import torch.distributed as dist

        for tensor in tensors:
            # What lies on the host has no way through NCCL.
            dist.broadcast(tensor.detach(), src=0, group=self.messages if tensor.is_cpu else None)

    def from_first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on rank 0, which alone does it, on every rank; its `InputError` too."""
        if self.count == 1:
            return work()
        import torch.distributed as dist

        outcome: list[Any] = [None, None]
        if self.is_first:
            outcome = _outcome(work)
        value = outcome[0]
        dist.broadcast_object_list(outcome, src=0, group=self.messages)
        if outcome[1] is not None:
            raise InputError(outcome[1])
        return value if self.is_first else outcome[0]  # type: ignore[no-any-return]

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on this rank, once it has ended on all; the `InputError` of one is raised on all."""
        if self.count == 1:
            return work()
        import torch.distributed as dist

        value, message = _outcome(work)
        if message is not None and not self.is_first:
            message = f"rank {self.number} on {socket.gethostname()}: {message}"
        messages: list[str | None] = [None] * self.count
        dist.all_gather_object(messages, message, group=self.messages)
        for found in messages:
            if found is not None:
                raise InputError(found)
        return value  # type: ignore[no-any-return]

    def in_turns(self, work: Callable[[], T]) -> T:
        """As `together`, but the first rank of each machine works before the others, which find what it has made."""
        if not self.first_of_node:
            self.together(lambda: None)
        value = self.together(work)
        if self.first_of_node:
            self.together(lambda: None)
        return value


ALONE = Ranks()
"""One process, the only one."""


def _outcome(work: Callable[[], Any]) -> list[Any]:
    """What ``work`` gives and None, or None and the message of its `InputError`."""
    try:
        return [work(), None]
    except InputError as error:
        return [None, str(error)]


def launched() -> bool:
    """Whether a launcher has started this process as one of several, and said so in torch's environment variables."""
    wanted = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in wanted) and int(os.environ["WORLD_SIZE"]) > 1


def launched_rank() -> int:
    """The number of this process among those that were launched with it; 0 if none was."""
    return int(os.environ["RANK"]) if launched() else 0


def local_rank() -> int:
    """The number of this process among those on its machine; 0 if it was not launched with others."""
    return int(os.environ.get("LOCAL_RANK", launched_rank())) if launched() else 0


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """The ranks of this run: those of the caller's process group, those that a launcher has started, or `ALONE`.

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
    except InputError:
        if not found:
            dist.destroy_process_group()
        raise
    if not found:  # after another exception the process ends anyway, and the others may not be there to agree
        dist.destroy_process_group()


def _all_ranks() -> Ranks:
    import torch.distributed as dist

    number, count = dist.get_rank(), dist.get_world_size()
    if count == 1:
        return ALONE
    first_of_node = int(os.environ.get("LOCAL_RANK", number)) == 0
    messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    assert isinstance(messages, dist.ProcessGroup)  # every rank is in it
    return Ranks(number, count, first_of_node, messages)


def _join(device: str) -> None:
    """Make the default process group, and this process's GPU the current one, which ``cuda`` and ``auto`` then mean."""
    import torch
    import torch.distributed as dist

    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not on_gpu and device not in ("auto", "cpu"):
        raise InputError(
            f"--device {device} with several processes: each takes a device of its own; use auto, cuda or cpu"
        )
    if on_gpu:
        number, gpus = local_rank(), torch.cuda.device_count()
        if number >= gpus:
            raise InputError(
                f"process {number} of this machine has no GPU of its own, there are {gpus}: start at most {gpus} with "
                "--nproc-per-node, or use --device cpu"
            )
        torch.cuda.set_device(number)
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    except dist.DistError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError(f"cannot reach the other processes at {where}: {str(error).splitlines()[0]}") from None
