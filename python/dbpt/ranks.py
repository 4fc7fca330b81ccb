"""The processes of one run, as ``torchrun`` or another launcher starts them.

Rank 0 reads, writes and prints; all compute. torch is imported where it is used, because the command line asks for the
rank without it.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from dbpt.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup, Store  # type: ignore[attr-defined]

T = TypeVar("T")
SOURCE_LINE = re.compile(r"^\[\S+:\d+\] ")  # with which gloo begins its messages
MEMORY_ADVICE = {
    "--batch-size": "lower --batch-size (0 puts all rows into one batch), --text-memory-mb or --embed-batch-size, or "
    "choose another --device",
    "--embed-batch-size": "lower --embed-batch-size, or choose another --device",
    "--device": "choose another --device",
}
"""What to do where memory is full, by the first of these options that a command has."""
# The others wait while rank 0 embeds the images, longer than torch's 30 minutes. A process that dies closes its
# connections; the limit is for machines that vanish.
LONGEST_WAIT = timedelta(days=2)


@dataclass(frozen=True)
class Ranks:
    """This process among the ``count`` of a run: its ``number`` from 0, and whether it is the first of its machine.

    ``messages`` is the group for values and errors, over the host; tensors travel in the default group, on their
    device. All ranks call each method in the same order; with a single rank each is the identity.
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
    """Return [result of ``work``, None], or [None, message of its `InputError`]."""
    try:
        return [work(), None]
    except InputError as error:
        return [None, str(error)]


class OneRankError(InputError):
    """An error of one rank while the others go on, so that the group can't be ended in order."""


@contextmanager
def memory() -> Iterator[None]:
    """Raise an error of this rank alone, with the settings that help, where memory is full during training."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (line := out_of_memory(error)) is None:
            raise
        raise OneRankError(f"{line}; --resume continues from the last checkpoint") from None


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
        raise OneRankError(
            f"the other processes are out of reach ({reason}): if one has ended, its own message says why; "
            "--resume continues from the last checkpoint"
        ) from error


def launched() -> bool:
    """Return whether a launcher has started this process as one of several; refuse variables that can't be."""
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
    """
    import torch.distributed as dist

    found = dist.is_available() and dist.is_initialized()
    if not found and not launched():
        yield ALONE
        return
    if not found:
        _join(device)
    try:
        number, size = dist.get_rank(), dist.get_world_size()
        if size == 1:
            yield ALONE
        else:
            with reaching():
                messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
            assert isinstance(messages, dist.ProcessGroup)  # every rank is in it
            yield Ranks(number, size, int(os.environ.get("LOCAL_RANK", number)) == 0, messages)
    except InputError as error:
        if not found and not isinstance(error, OneRankError):
            dist.destroy_process_group()
        raise
    if not found:  # not after other exceptions: those are this rank's alone, and ending a group takes all of them
        dist.destroy_process_group()


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
    import torch.distributed as dist

    backend = "nccl" if take_own_gpu(device) else "gloo"
    # Under a name of its own: an earlier group, also of processes that torchrun has restarted, may have left addresses
    # where nobody listens.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"dbpt/{attempt}/{next(_joined)}", _store())  # type: ignore[attr-defined]
    with reaching():
        dist.init_process_group(backend, store=store, rank=launched_rank(), world_size=launched_size())


_joined = count()


@cache
def _store() -> Store:
    from torch.distributed.rendezvous import rendezvous

    with reaching():
        store: Store = next(rendezvous("env://"))[0]
    return store
