"""The processes of one training, and their communication. Rank 0 reads, writes and prints; all ranks compute."""

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from dbpt.environment import launched, launched_rank, launched_size, take_own_gpu
from dbpt.errors import InputError, out_of_memory

if TYPE_CHECKING:  # torch may be built without them
    from torch.distributed import ProcessGroup, Store

T = TypeVar("T")
SOURCE_LINE = re.compile(r"^\[\S+:\d+\] ")  # the beginning of gloo's messages
# While rank 0 embeds the images, the others wait longer than torch's 30 minutes. A process that dies closes its
# connections, so this limit only matters if a machine disappears.
LONGEST_WAIT = timedelta(days=2)


@dataclass(frozen=True)
class Ranks:
    """This process among the ``count`` of a run: its ``number`` from 0, and whether it is the first on its machine.

    ``messages`` is the process group for values and errors, on the host. Tensors use the default group, on their
    device. All ranks must call each method in the same order. With a single rank, no method communicates.
    """

    number: int = 0
    count: int = 1
    first_of_node: bool = True
    messages: "ProcessGroup | None" = None

    @property
    def is_first(self) -> bool:
        """True for the rank that reads, writes and prints."""
        return self.number == 0

    def part(self, total: int) -> slice:
        """Return this rank's part of ``total`` rows. Parts are contiguous and differ by at most one row."""
        return slice(self.number * total // self.count, (self.number + 1) * total // self.count)

    def gather(self, own: torch.Tensor, total: int) -> torch.Tensor:
        """Return (total,) from the `part` (P,) of each rank: the same bits on all, with a gradient for the own part.

        So a loss of gathered values equals that of one process, and `sum` gives its gradient.
        """
        if self.count == 1:
            return own
        whole = torch.zeros(total, dtype=own.dtype, device=own.device)
        whole[self.part(total)] = own.detach()
        with reaching():
            dist.all_reduce(whole)  # a value and zeros: exact
        # Once more, now with its gradient: what was exchanged was detached.
        whole[self.part(total)] = own
        return whole

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace the values of each tensor by their sum over the ranks, in one all-reduce."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with reaching():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [one.numel() for one in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def copy_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy the values of ``tensors`` from rank 0 to all ranks."""
        if self.count == 1:
            return
        for tensor in tensors:
            with reaching():  # NCCL can't send tensors on the host
                dist.broadcast(tensor.detach(), src=0, group=self.messages if tensor.is_cpu else None)

    def from_first(self, work: Callable[[], T], *, sent: Callable[[T], T] = lambda value: value) -> T:
        """Run ``work`` on rank 0 only. Return its result, or raise its `InputError`, on every rank.

        The other ranks get what ``sent`` makes of the result.
        """
        if self.count == 1:
            return work()
        outcome: list[Any] = _outcome(work) if self.is_first else [None, None]
        value = outcome[0]
        if self.is_first and outcome[1] is None:
            outcome[0] = sent(value)
        with reaching():
            dist.broadcast_object_list(outcome, src=0, group=self.messages)
        if outcome[1] is not None:
            raise InputError(outcome[1])
        return value if self.is_first else outcome[0]  # type: ignore[no-any-return]

    def together(self, work: Callable[[], T]) -> T:
        """Run ``work`` on every rank. Return its result once all have ended, or raise the first rank's `InputError`."""
        if self.count == 1:
            return work()
        value, message = _outcome(work)
        if message is not None and not self.is_first:
            message = f"rank {self.number} on {socket.gethostname()}: {message}"
        messages: list[str | None] = [None] * self.count
        with reaching():
            dist.all_gather_object(messages, message, group=self.messages)
        for error in messages:
            if error is not None:
                raise InputError(error)
        return value  # type: ignore[no-any-return]

    def in_turns(self, work: Callable[[], T]) -> T:
        """Run ``work`` as `together` does, but first on one rank of each machine, so that the others find its files."""
        # Every rank takes part in both exchanges, once with its work and once with nothing.
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
    """An error of one rank while the others continue, so that the process group can't be ended in order."""


@contextmanager
def memory(is_ours: Callable[[BaseException], bool] = lambda error: True) -> Iterator[None]:
    """Turn a full memory during training into an error of this rank that names the settings that help.

    An error that isn't ours, because a callback raised it, passes.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (line := out_of_memory(error)) is None or not is_ours(error):
            raise
        raise OneRankError(f"{line}; --resume continues from the last checkpoint") from None


@contextmanager
def reaching() -> Iterator[None]:
    """Turn the `RuntimeError` that gloo and NCCL raise when another process is gone into one line."""
    try:
        yield
    except RuntimeError as error:
        reason = SOURCE_LINE.sub("", str(error).splitlines()[0]).partition(". ")[0]
        hint = "if one has ended, its own message says why; --resume continues from the last checkpoint"
        raise OneRankError(f"the other processes are out of reach ({reason}): {hint}") from error


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Yield the ranks of this run: those of the caller's process group, those of the launcher, or `ALONE`.

    A process group that is created here is destroyed here. ``device`` is that of the settings; it chooses between NCCL
    (GPUs) and gloo (CPUs).
    """
    has_group = dist.is_available() and dist.is_initialized()
    if not has_group and not launched():
        yield ALONE
        return
    if not has_group:
        _join(device)
    try:
        number, size = dist.get_rank(), dist.get_world_size()
        if size == 1:
            yield ALONE
        else:
            with reaching():
                # NCCL sends only tensors on GPUs.
                messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
            assert isinstance(messages, dist.ProcessGroup)  # every rank is in it
            yield Ranks(number, size, int(os.environ.get("LOCAL_RANK", number)) == 0, messages)
    except InputError as error:
        if not has_group and not isinstance(error, OneRankError):
            dist.destroy_process_group()
        raise
    if not has_group:  # not after other exceptions, which only this rank has; all ranks must take part
        dist.destroy_process_group()


def _join(device: str) -> None:
    backend = "nccl" if take_own_gpu(device) else "gloo"
    # Under its own name: an earlier group, or processes that torchrun has restarted, may have left old addresses.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"dbpt/{attempt}/{next(_joined)}", _store())
    with reaching():
        dist.init_process_group(backend, store=store, rank=launched_rank(), world_size=launched_size())


_joined = count()


@cache
def _store() -> "Store":
    from torch.distributed.rendezvous import rendezvous

    with reaching():
        store: Store = next(rendezvous("env://"))[0]
    return store
