"""The part of an epoch that each rank draws, and what samplers check: the seed, the data set, and that ranks share."""

import sys
import warnings
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np

from dbpt import arguments
from dbpt.errors import InputError

_MAX_REPLICAS = 2**48
# The modules in which a training loop shards a sampler's draws: Accelerate, which transformers' Trainer uses, in
# `DataLoaderShard` and `DataLoaderDispatcher`; Lightning and Fabric in `DistributedSamplerWrapper`.
_SHARDING_MODULES = {
    "accelerate.data_loader",
    "lightning.fabric.utilities.distributed",
    "lightning_fabric.utilities.distributed",
}
_has_warned = False


@dataclass(frozen=True)
class RankDraws:
    """The draws of one rank: every ``num_replicas``-th of the global order. All ranks make equally many."""

    rank: int
    num_replicas: int
    drop_last: bool
    is_given: bool
    """False for the default, rank 0 of 1."""

    @classmethod
    def checked(cls, rank: int | None, num_replicas: int | None, drop_last: bool) -> "RankDraws":
        """Check the arguments of a sampler. Rank 0 of 1 if neither number is given."""
        drop_last = arguments.boolean("drop_last", drop_last)
        if (rank is None) != (num_replicas is None):
            raise InputError(f"rank is {rank} and num_replicas is {num_replicas}; expected both or neither")
        if rank is None or num_replicas is None:
            return cls(0, 1, drop_last, False)
        num_replicas = arguments.integer("num_replicas", num_replicas, 1, _MAX_REPLICAS)
        return cls(arguments.integer("rank", rank, 0, num_replicas - 1), num_replicas, drop_last, True)

    def draws(self, start: int, length: int) -> range:
        """Return the numbers of this rank's draws, from ``start`` to the end of an epoch of ``length`` draws.

        Numbers from ``length`` on fill the last step; they stand for the first draws of the epoch.
        """
        left = length - start
        count = left // self.num_replicas if self.drop_last else -(-left // self.num_replicas)
        return range(start + self.rank, start + count * self.num_replicas, self.num_replicas)


def checked_seed(seed: int | None, generator: Any, shard: RankDraws) -> int:
    """Return the seed. None draws one from torch's default generator, or from NumPy's if torch isn't imported."""
    if generator is not None:
        raise InputError(
            "generator is given, but a sampler has no generator to draw from; expected seed=, an integer, or seed=None "
            "for one from torch's default generator"
        )
    if seed is not None:
        return arguments.seed(seed)
    processes = max(shard.num_replicas, _num_processes())
    if processes > 1:
        raise InputError(f"seed is None with {processes} processes; expected an integer, the same on each")
    torch = sys.modules.get("torch")
    if torch is None:
        return int(np.random.randint(2**63 - 1, dtype=np.int64))
    return int(torch.empty((), dtype=torch.int64).random_().item())


def check_dataset_length(dataset: Any, name: str, num_rows: int) -> None:
    """Refuse a data set whose length isn't that of the array ``name``."""
    if dataset is None:
        return
    if not isinstance(dataset, Sized):
        raise InputError(f"dataset is a {type(dataset).__name__}, which has no length; expected a map-style one")
    if len(dataset) != num_rows:
        raise InputError(f"{name} has length {num_rows}; expected {len(dataset)}, one for each row of dataset")


def warn_unless_sharded() -> None:
    """Warn once if every process of a distributed loop would make all draws, because the loop doesn't shard them."""
    global _has_warned
    processes = _num_processes()
    if _has_warned or processes == 1:
        return
    # Lightning and Accelerate shard the draws themselves. If they iterate, they are among the callers.
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
