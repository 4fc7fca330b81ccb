"""The checks of the keywords that all samplers share, above all the ranks among which an epoch is divided."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbpt import arguments
from dbpt.errors import InputError

_MAX_REPLICAS = 2**48
# Where loops take their share of what a sampler draws: Accelerate, and Trainer by it, in `DataLoaderShard` and
# `DataLoaderDispatcher`; Lightning and Fabric in `DistributedSamplerWrapper`.
_SHARDING_MODULES = {
    "accelerate.data_loader",
    "lightning.fabric.utilities.distributed",
    "lightning_fabric.utilities.distributed",
}
_has_warned = False


@dataclass(frozen=True)
class Ranks:
    """One of several ranks, all of which make equally many draws."""

    rank: int
    num_replicas: int
    drop_last: bool
    are_given: bool

    @classmethod
    def checked(cls, rank: int | None, num_replicas: int | None, drop_last: bool) -> Ranks:
        """Check both numbers; rank 0 of 1 if neither was given."""
        drop_last = arguments.boolean("drop_last", drop_last)
        if (rank is None) != (num_replicas is None):
            raise InputError(f"rank is {rank} and num_replicas is {num_replicas}; expected both or neither")
        if rank is None or num_replicas is None:
            return cls(0, 1, drop_last, False)
        num_replicas = arguments.integer("num_replicas", num_replicas, 1, _MAX_REPLICAS)
        return cls(arguments.integer("rank", rank, 0, num_replicas - 1), num_replicas, drop_last, True)

    def draws_from(self, start: int, length: int) -> int:
        """How many draws each rank makes in an epoch of `length` from the global draw `start` on."""
        left = length - start
        return left // self.num_replicas if self.drop_last else -(-left // self.num_replicas)


def checked_seed(seed: int | None, generator: Any, ranks: Ranks) -> int:
    """Return the seed, drawn from torch's default generator if it is None, or from NumPy's where there is no torch."""
    if generator is not None:
        raise InputError(
            "generator is given, but a sampler has no generator to draw from; expected seed=, an integer, or seed=None "
            "for one from torch's default generator"
        )
    if seed is not None:
        return arguments.seed(seed)
    processes = max(ranks.num_replicas, _num_processes())
    if processes > 1:
        raise InputError(f"seed is None with {processes} processes; expected an integer, the same on each")
    torch = sys.modules.get("torch")
    if torch is None:
        return int(np.random.randint(2**63 - 1, dtype=np.int64))
    return int(torch.empty((), dtype=torch.int64).random_().item())


def check_dataset(dataset: Any, name: str, num_rows: int) -> None:
    """Refuse a data set that hasn't as many rows as the array called `name`."""
    if dataset is None:
        return
    if not isinstance(dataset, Sized):
        raise InputError(f"dataset is a {type(dataset).__name__}, which has no length; expected a map-style one")
    if len(dataset) != num_rows:
        raise InputError(f"{name} has length {num_rows}; expected {len(dataset)}, one for each row of dataset")


def warn_unless_sharded() -> None:
    """Warn, once, that every process of a distributed loop draws everything, unless the loop deals the draws out."""
    global _has_warned
    processes = _num_processes()
    if _has_warned or processes == 1:
        return
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in _SHARDING_MODULES:
            return
        frame = frame.f_back  # type: ignore[assignment]
    _has_warned = True
    warnings.warn(
        f"each of {processes} processes draws all rows of the epoch; give the sampler rank= and num_replicas=, or "
        "rank=0 and num_replicas=1 on each if that is meant",
        stacklevel=2,
    )


def _num_processes() -> int:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 1
    return int(distributed.get_world_size())
