"""The ranks of several processes, which communicate by torch.distributed."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from dbpt.environment import launched_rank, launched_size, take_own_gpu
from dbpt.errors import InputError
from dbpt.training.ranks import ALONE, OneRankError, Ranks, T, are_several, group_size, reaching

if TYPE_CHECKING:  # torch may be built without them
    from torch.distributed import ProcessGroup, Store

# While rank 0 embeds the images, the others wait longer than torch's 30 minutes. A process that dies closes its
# connections, so this limit only matters if a machine disappears.
LONGEST_WAIT = timedelta(days=2)


@dataclass(frozen=True)
class _Joined(Ranks):
    """Ranks with ``messages``, the process group for values and errors, on the host.

    Tensors use the default group, on their device.
    """

    messages: "ProcessGroup | None" = None

    def gather(self, own: torch.Tensor, total: int) -> torch.Tensor:
        whole = torch.zeros(total, dtype=own.dtype, device=own.device)
        whole[self.part(total)] = own.detach()
        with reaching():
            dist.all_reduce(whole)  # a value and zeros: exact
        # Once more, now with its gradient: what was exchanged was detached.
        whole[self.part(total)] = own
        return whole

    def sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace the values of each tensor by their sum over the ranks, in one all-reduce."""
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with reaching():
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [one.numel() for one in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def copy_first(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            with reaching():  # NCCL can't send tensors on the host
                dist.broadcast(tensor.detach(), src=0, group=self.messages if tensor.is_cpu else None)

    def from_first(self, work: Callable[[], T], *, sent: Callable[[T], T] = lambda value: value) -> T:
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


def _outcome(work: Callable[[], Any]) -> list[Any]:
    """Return [result of ``work``, None], or [None, message of its `InputError`]."""
    try:
        return [work(), None]
    except InputError as error:
        return [None, str(error)]


@contextmanager
def joined_ranks(device: str) -> Iterator[Ranks]:
    """Yield the ranks of this run: those of the caller's process group, those of the launcher, or `ALONE`.

    A process group that is created here is destroyed here. ``device`` is that of the settings; it chooses between NCCL
    (GPUs) and gloo (CPUs).
    """
    if not are_several():
        yield ALONE
        return
    if not (is_made := group_size() > 0):
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
            yield _Joined(number, size, messages)
    except InputError as error:
        if not is_made and not isinstance(error, OneRankError):
            dist.destroy_process_group()
        raise
    if not is_made:  # not after other exceptions, which only this rank has; all ranks must take part
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
