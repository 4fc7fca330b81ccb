"""The processes of one training. Rank 0 reads, writes and prints; all ranks compute. Alone, one needs no torch."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dbpt.environment import launched
from dbpt.errors import InputError, foreign_error, out_of_memory
from dbpt.registry import line_of_users
from dbpt.storage.row_files import UnreadableRows

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
SOURCE_LINE = re.compile(r"^\[\S+:\d+\] ")  # the beginning of gloo's messages


@dataclass(frozen=True)
class Ranks:
    """This process among the ``count`` of a run: its ``number`` from 0.

    All ranks must call each method in the same order. The methods here are those of a single process, which has nothing
    to exchange; `dbpt.training.process_group` has those of several.
    """

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the rank that reads, writes and prints."""
        return self.number == 0

    def part(self, total: int) -> slice:
        """Return this rank's part of ``total`` rows. Parts are contiguous and differ by at most one row."""
        return slice(self.number * total // self.count, (self.number + 1) * total // self.count)

    def gather(self, own: "torch.Tensor", total: int) -> "torch.Tensor":
        """Return (total,) from the `part` (P,) of each rank: the same bits on all, with a gradient for the own part.

        So a loss of gathered values equals that of one process, and `sum` gives its gradient.
        """
        return own

    def sum(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Replace the values of each tensor by their sum over the ranks, in one all-reduce."""

    def copy_first(self, tensors: "Iterable[torch.Tensor]") -> None:
        """Copy the values of ``tensors`` from rank 0 to all ranks."""

    def from_first(self, work: Callable[[], T], *, sent: Callable[[T], T] = lambda value: value) -> T:
        """Run ``work`` on rank 0 only. Return its result, or raise its `InputError`, on every rank.

        The other ranks get what ``sent`` makes of the result.
        """
        return work()

    def together(self, work: Callable[[], T]) -> T:
        """Run ``work`` on every rank. Return its result once all have ended, or raise the first rank's `InputError`."""
        return work()


ALONE = Ranks()


class OneRankError(InputError):
    """An error of one rank while the others continue, so that the process group can't be ended in order."""


class OwnError(OneRankError):
    """One that began here, so each rank prints its own."""


@contextmanager
def own_errors(is_ours: Callable[[BaseException], bool] = lambda error: True, of_users: str = "") -> Iterator[None]:
    """Turn a full memory or a lost file during training into an error of this rank that says how it goes on.

    So is any exception of a training ``of_users``, whose registered classes this names. An error that isn't ours,
    because a callback raised it, passes.
    """
    try:
        yield
    except UnreadableRows as error:
        raise OwnError(f"{error.problem}; put the file back, and --resume") from None
    except Exception as error:
        if not is_ours(error) or isinstance(error, InputError):
            raise
        if line := out_of_memory(error):
            raise OwnError(f"{line}; --resume continues from the last checkpoint") from None
        if of_users:
            raise OwnError(f"{of_users}: {foreign_error(error)} ({line_of_users(error)})") from error
        raise


@contextmanager
def reaching() -> Iterator[None]:
    """Turn the `RuntimeError` that gloo and NCCL raise when another process is gone into one line."""
    try:
        yield
    except RuntimeError as error:
        reason = SOURCE_LINE.sub("", str(error).splitlines()[0]).partition(". ")[0]
        hint = "if one has ended, its own message says why; --resume continues from the last checkpoint"
        raise OneRankError(f"the other processes are out of reach ({reason}): {hint}") from error


def group_size() -> int:
    """Return the size of the process group that the caller has made; 0 without one."""
    dist = sys.modules.get("torch.distributed")  # nobody has made one without it
    return dist.get_world_size() if dist is not None and dist.is_available() and dist.is_initialized() else 0


def are_several() -> bool:
    """Return whether this process may be one of several: of the caller's process group, or launched with others."""
    return group_size() > 0 or launched()
