"""The contract of the Rust extension: contiguous NumPy arrays and scalars in, arrays out.

N rows, G groups, A columns, k clusters. Bad values raise `dbpt.errors.InputError`.
"""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

__all__ = [
    "AliasTable",
    "BatchStream",
    "GroupIndex",
    "GroupStream",
    "IndependentStream",
    "Stream",
    "WeightedStream",
    "__version__",
    "assign_argmax",
    "assign_nearest",
    "group_sums",
    "kmeans",
    "quotas",
]

__version__: str

@final
class GroupIndex:
    """The members of each group, in 4 bytes per row; rows of group -1 are outside."""

    def __new__(
        cls, groups: NDArray[np.integer[Any]], num_groups: int | None = None, num_threads: int = 1
    ) -> GroupIndex:
        """Index ``groups`` (N,) of any integer type, without a copy; ``num_groups`` defaults to the largest plus 1."""

    @property
    def num_groups(self) -> int: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def num_outside(self) -> int:
        """The number of rows of group -1."""

    @property
    def first_outside(self) -> int | None:
        """The first row of group -1, or None."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(G,) the number of members of each group."""

    def members(self, group: int) -> NDArray[np.int64]:
        """Return the rows of the group, (N_g,), ascending."""

    def groups(self) -> NDArray[np.int64]:
        """Return the group of each row, (N,), -1 for those outside."""

    def digest(self, num_threads: int = 1) -> int:
        """Return 63 bits by which a checkpoint recognises the groups."""

    def __getnewargs__(self) -> tuple[NDArray[np.integer[Any]], int]: ...

def group_sums(
    groups: NDArray[np.int64],
    values: NDArray[np.float32] | NDArray[np.float64],
    num_groups: int,
    *,
    argument: str,
    least: float,
    most: float,
    num_threads: int = 1,
) -> NDArray[np.int64]:
    """Return the sum of ``values`` (B,) by ``groups`` (B,), (G, 3) in units of 2⁻³⁰: high·2³² + low, and rows.

    A value is rounded to a whole number of units, ties to even. Rows of group -1 don't count. Values must be from
    ``least`` to ``most``; ``argument`` is their name in messages. The same bits for any order and ``num_threads``.
    """

def quotas(
    shares: NDArray[np.float64],
    counts: NDArray[np.int64],
    num_samples: int,
    seed: int,
    epoch: int,
    *,
    least: int = 0,
    most: int | None = None,
) -> NDArray[np.int64]:
    """Return whole draws (G,) with sum ``num_samples``, each group's share rounded down or up in turn over the epochs.

    A group whose share is below ``least`` or above ``most`` draws gets the bound; the others divide the rest by share.
    """

@disjoint_base
class Stream:
    """The draws of one epoch, each a pure function of its number."""

    def __len__(self) -> int: ...
    def indices(self, start: int, stop: int, step: int = 1, num_threads: int = 1) -> NDArray[np.int64]:
        """Return the rows of the draws ``range(start, stop, step)``: (draws,), or (draws, batch_size) for batches."""

@final
class GroupStream(Stream):
    """The draws of one epoch: draw i is a pure function of (seed, epoch, i, quotas, groups)."""

    def __new__(cls, index: GroupIndex, quotas: NDArray[np.int64], seed: int, epoch: int) -> GroupStream: ...

@final
class IndependentStream(Stream):
    """Independent draws: group g with probability q_g / Σ q, then each member alike; draw i as above."""

    def __new__(
        cls, index: GroupIndex, quotas: NDArray[np.int64], length: int, seed: int, epoch: int
    ) -> IndependentStream: ...

@final
class BatchStream(Stream):
    """The batches of one epoch: batch b is a pure function of (seed, epoch, b, quotas, batch_size, groups).

    With ``groups_per_batch`` each batch has equally many members of so many groups, and any groups can meet.
    """

    def __new__(
        cls,
        index: GroupIndex,
        quotas: NDArray[np.int64],
        batch_size: int,
        seed: int,
        epoch: int,
        groups_per_batch: int | None = None,
    ) -> BatchStream: ...

@final
class AliasTable:
    """A table, 8 bytes per row, that draws a row by weight with one look-up. A weight of 0 has no part in it.

    The distribution is exact to N·2⁻⁶³ + (4096 + N/4096)·2⁻⁵² in total variation.
    """

    def __new__(cls, weights: NDArray[np.float64] | NDArray[np.float32], num_threads: int = 1) -> AliasTable:
        """Build the table of ``weights`` (N,), finite and 0 or above, without a copy. Same for any ``num_threads``."""

    @staticmethod
    def from_entries(entries: NDArray[np.uint64]) -> AliasTable: ...
    def entries(self) -> NDArray[np.uint64]:
        """(N,) a threshold; the low bits, as many as N has, are the alias, which owns the bucket from there on."""

    def __len__(self) -> int: ...
    def digest(self, num_threads: int = 1) -> int:
        """Return 63 bits by which a checkpoint recognises the weights."""

    def __reduce__(self) -> tuple[Any, tuple[NDArray[np.uint64]]]: ...

@final
class WeightedStream(Stream):
    """Draws with replacement: draw i is a pure function of (seed, epoch, i, table)."""

    def __new__(cls, table: AliasTable, length: int, seed: int, epoch: int) -> WeightedStream: ...

def assign_argmax(
    logits: NDArray[np.float16] | NDArray[np.float32],
    *,
    offsets: NDArray[np.float64] | None = None,
    labels_out: NDArray[np.integer[Any]],
    posterior_out: NDArray[np.float32] | None = None,
    confidence_out: NDArray[np.float32] | None = None,
    num_threads: int = 1,
) -> None:
    """Label each row with the column of its largest logit plus offset, the first if tied.

    ``logits`` (N, A), ``offsets`` (A,), minus infinity for a column that no row may get, ``labels_out`` (N,) of any
    integer type, ``posterior_out`` (N, A) the softmax, ``confidence_out`` (N,) the posterior of the label.
    """

def kmeans(
    logits: NDArray[np.float16] | NDArray[np.float32],
    centers: NDArray[np.float64],
    *,
    rows: NDArray[np.int64] | None = None,
    max_iter: int = 100,
    num_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.int64], float, int]:
    """Run Lloyd's algorithm on row-centred logits; return centers (k, A), counts (k,), inertia and iterations.

    ``logits`` (N, A) may be mapped from a file far larger than memory. ``rows`` (M,), by default all, are those that
    count. A center without rows stays where it is. Bit-identical for any ``num_threads``.
    """

def assign_nearest(
    logits: NDArray[np.float16] | NDArray[np.float32],
    centers: NDArray[np.float64],
    variance: float,
    *,
    labels_out: NDArray[np.integer[Any]],
    posterior_out: NDArray[np.float32] | None = None,
    confidence_out: NDArray[np.float32] | None = None,
    num_threads: int = 1,
) -> None:
    """Label each row with the number of the nearest of ``centers`` (k, A); an infinite one is never the nearest.

    Posteriors are those of equally weighted spherical Gaussians with ``variance`` in each direction,
    softmax(-d² / (2 · variance)): ``posterior_out`` (N, k), and ``confidence_out`` (N,) that of the label, which is
    always the largest. If a value of ``logits`` is bad, rows may have been written before it.
    """
