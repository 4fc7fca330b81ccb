"""The exchange between the ranks of a run: share rows, add up gradients, pass on values and errors.

With a single rank all of it is the identity. Nothing here knows what is trained.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dbpt.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

T = TypeVar("T")
SOURCE_LINE = re.compile(r"^\[\S+:\d+\] ")  # with which gloo begins its messages
MEMORY_ADVICE = {
    "--batch-size": "lower --batch-size (0 puts all rows into one batch), --text-memory-mb or --embed-batch-size, or "
    "choose another --device",
    "--embed-batch-size": "lower --embed-batch-size, or choose another --device",
    "--device": "choose another --device",
}
"""What to do where memory is full, by the first of these options that a command has."""


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
        """Return whether this is the rank that reads, writes and prints."""
        return self.number == 0

    def part(self, total: int) -> slice:
        """Return this rank's part of ``total`` rows: contiguous, equal but for one row, empty if there are too few."""
        return slice(self.number * total // self.count, (self.number + 1) * total // self.count)

    def gather(self, own: torch.Tensor, total: int) -> torch.Tensor:
        """Return (total,) from the `part` (P,) of each rank, the same bits on all; only the own part has a gradient.

        So a loss of gathered values is that of one process, and the sum of its gradients over ranks is its gradient.
        """
        if self.count == 1:
            return own
        import torch
        import torch.distributed as dist

        whole = torch.zeros(total, dtype=own.dtype, device=own.device)
        whole[self.part(total)] = own.detach()
        with reaching():
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
        with reaching():
            dist.all_reduce(flat)
        for gradient, total in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def copy_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give ``tensors`` the values that they have on rank 0."""
        if self.count == 1:
            return
        import torch.distributed as dist

        for tensor in tensors:
            with reaching():  # what lies on the host has no way through NCCL
                dist.broadcast(tensor.detach(), src=0, group=self.messages if tensor.is_cpu else None)

    def from_first(self, work: Callable[[], T]) -> T:
        """Run ``work`` on rank 0 alone; return its result on every rank, or raise its `InputError` there."""
        if self.count == 1:
            return work()
        import torch.distributed as dist

        outcome: list[Any] = _outcome(work) if self.is_first else [None, None]
        value = outcome[0]
        with reaching():
            dist.broadcast_object_list(outcome, src=0, group=self.messages)
        if outcome[1] is not None:
            raise InputError(outcome[1])
        return value if self.is_first else outcome[0]  # type: ignore[no-any-return]

    def together(self, work: Callable[[], T]) -> T:
        """Run ``work`` on every rank; return its result once all have ended, or raise the `InputError` of any."""
        if self.count == 1:
            return work()
        import torch.distributed as dist

        value, message = _outcome(work)
        if message is not None and not self.is_first:
            message = f"rank {self.number} on {socket.gethostname()}: {message}"
        messages: list[str | None] = [None] * self.count
        with reaching():
            dist.all_gather_object(messages, message, group=self.messages)
        for found in messages:
            if found is not None:
                raise InputError(found)
        return value  # type: ignore[no-any-return]

    def in_turns(self, work: Callable[[], T]) -> T:
        """Run ``work`` as `together` does, but first on the first rank of each machine, whose files the others find."""
        if not self.first_of_node:
            self.together(lambda: None)
        value = self.together(work)
        if self.first_of_node:
            self.together(lambda: None)
        return value


ALONE = Ranks()


def _outcome(work: Callable[[], Any]) -> list[Any]:
    """Return the result of ``work`` and None, or None and the message of its `InputError`."""
    try:
        return [work(), None]
    except InputError as error:
        return [None, str(error)]


class OneRankError(InputError):
    """An error of one rank while the others go on, so that the group can't be ended in order."""


class LostRankError(OneRankError):
    """Another process of the run has ended, or cannot be reached any more."""


@contextmanager
def memory() -> Iterator[None]:
    """Raise an error of this rank alone, with the settings that help, where memory is full during training."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (line := out_of_memory(error)) is None:
            raise
        raise OneRankError(f"{line}; --resume goes on from the last checkpoint") from None


def out_of_memory(error: BaseException, options: Container[str] = MEMORY_ADVICE) -> str | None:
    """Return one line that says which of ``options`` help if ``error`` means that memory is full; else None."""
    on_gpu = type(error).__name__ == "OutOfMemoryError"  # torch's; the command line does without importing it
    if not on_gpu and not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error):
        return None
    advice = next((text for option, text in MEMORY_ADVICE.items() if option in options), "use a larger machine")
    return f"out of memory{' on the GPU' if on_gpu else ''}: {advice}"


@contextmanager
def reaching() -> Iterator[None]:
    """Say in one line what gloo and NCCL raise as any `RuntimeError`, where another process is gone."""
    try:
        yield
    except RuntimeError as error:
        reason = SOURCE_LINE.sub("", str(error).splitlines()[0]).partition(". ")[0]
        raise LostRankError(
            f"the other processes are out of reach ({reason}): if one has ended, its own message says why; "
            "--resume goes on from the last checkpoint"
        ) from error
