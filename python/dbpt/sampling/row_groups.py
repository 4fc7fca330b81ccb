"""The rows of each group, and the part of an epoch that each rank draws."""

import sys
import warnings
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import GroupIndex
from dbpt.errors import InputError, nearest
from dbpt.groups.ids import MAX_GROUPS

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


@dataclass(frozen=True)
class RowGroups:
    """The members of G groups. With ``unknown="class"``, C more groups follow: the unknown rows of each class."""

    index: GroupIndex
    num_groups: int
    class_of_group: NDArray[np.int64]
    """(G,) the class of each group's rows, -1 for an empty group; (0,) if unknown rows are refused."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) the number of members of each group."""
        return self.index.counts[: self.num_groups]

    @property
    def unknown_counts(self) -> NDArray[np.int64]:
        """(C,) the number of rows of unknown group in each class."""
        return self.index.counts[self.num_groups :]

    def with_unknown(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Append the shares (C,) of the unknown rows to ``shares`` (G,).

        Their weight is the mean weight of the known rows of their class, or of all known rows if the class has none.
        """
        unknown = self.unknown_counts
        if not len(unknown):
            return shares
        known = self.class_of_group >= 0
        classes, counts = self.class_of_group[known], self.counts
        rows = np.bincount(classes, counts[known], len(unknown))
        mass = np.bincount(classes, shares[known], len(unknown))
        weights = np.divide(mass, rows, out=np.full(len(unknown), shares.sum() / counts.sum()), where=rows > 0)
        return np.concatenate([shares, unknown * weights])


def row_groups(
    groups: ArrayLike, num_groups: int | None, unknown: str | None, labels: ArrayLike | None, num_threads: int
) -> RowGroups:
    """Index the rows of each group, without a copy if ``groups`` are a contiguous array.

    Args:
        groups: (N,) integers, -1 for rows without a group.
        num_groups: G, by default the largest group plus 1.
        unknown: None refuses rows without a group; "class" puts them into the extra group of their label.
        labels: (N,) class index, only with ``unknown="class"``.
        num_threads: threads of the core.
    """
    array = _integers("groups", groups)
    if num_groups is not None:
        num_groups = arguments.integer("num_groups", num_groups, 1, MAX_GROUPS)
    if unknown is None:
        if labels is not None:
            raise InputError("labels are given, but unknown is None; expected unknown='class', or no labels")
        index = GroupIndex(array, num_groups, num_threads)
        if index.num_outside:
            raise InputError(
                f"groups[{index.first_outside}] is -1, one of {index.num_outside} rows without a group; expected 0 or "
                "above: leave those rows out (torch.utils.data.Subset), give them a group, or pass unknown='class' "
                "and their labels"
            )
        return RowGroups(index, index.num_groups, np.empty(0, np.int64))
    if unknown != "class":
        raise InputError(f"unknown is {unknown!r}; expected 'class' or None{nearest(str(unknown), ['class'])}")
    if labels is None:
        raise InputError("labels are missing; expected the class (N,) of each row with unknown='class'")
    return _with_classes(array, _integers("labels", labels), num_groups, num_threads)


def _integers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return (N,) integers of their own type, contiguous and in native byte order, without a copy if possible."""
    array = arguments.vector(name, values, "iu", unknown=name == "groups")
    if array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; expected (N,) with at least one row")
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A"])


def _with_classes(groups: NDArray[Any], labels: NDArray[Any], num_groups: int | None, num_threads: int) -> RowGroups:
    if len(labels) != len(groups):
        raise InputError(f"labels has length {len(labels)}; expected {len(groups)}, one for each row of groups")
    _check_range("groups", groups, -1, MAX_GROUPS - 1 if num_groups is None else num_groups - 1)
    _check_range("labels", labels, 0, MAX_GROUPS - 1)
    known = groups >= 0
    if not known.any():
        raise InputError("groups is -1 in every row; expected a group for some of them")
    num_groups = int(groups.max()) + 1 if num_groups is None else num_groups
    num_classes = int(labels.max()) + 1
    class_of_group = np.full(num_groups, -1, np.int64)
    rows = np.flatnonzero(known)
    class_of_group[groups[rows[::-1]]] = labels[rows[::-1]]  # reversed, so that the first row of a group wins
    mixed = rows[class_of_group[groups[rows]] != labels[rows]]
    if mixed.size:
        row, group = int(mixed[0]), int(groups[mixed[0]])
        raise InputError(
            f"labels[{row}] is {labels[row]}, but group {group} began with class {class_of_group[group]}; "
            "expected rows of one class in each group"
        )
    # The narrowest type: one byte per row for up to 256 groups and classes.
    extended = np.empty(len(groups), np.min_scalar_type(num_groups + num_classes))
    np.add(labels, num_groups, out=extended, where=~known, casting="unsafe", dtype=np.int64)
    np.copyto(extended, groups, where=known, casting="unsafe")
    return RowGroups(GroupIndex(extended, num_groups + num_classes, num_threads), num_groups, class_of_group)


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    arguments.check_each(name, values, (values >= low) & (values <= high), f"an integer from {low} to {high}")
