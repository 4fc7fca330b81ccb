"""The contract of the Rust extension: contiguous NumPy arrays and scalars in, arrays out.

N rows, G groups, A columns, k clusters. Bad values raise `dbpt.errors.InputError`.
"""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AliasTable",
    "BatchStream",
    "GroupIndex",
    "GroupStream",
    "IndependentStream",
    "SampleWeights",
    "SuccessiveStream",
    "WeightedStream",
    "assign_argmax",
    "assign_centers",
    "assign_gmm",
    "assign_proportional",
    "batch_quotas",
    "gmm",
    "group_sums",
    "kmeans",
    "quotas",
    "silhouette",
]

@final
class GroupIndex:
    """The members of each group, 4 bytes a row; rows of group -1 are outside."""

    def __new__(
        cls, groups: NDArray[np.integer[Any]], num_groups: int | None = None, num_threads: int = 1
    ) -> GroupIndex:
        """``groups`` (N,) of any integer type, read where it lies; ``num_groups`` is by default that of the largest."""

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
        """(N_g,) the rows of the group, ascending."""

    def groups(self) -> NDArray[np.int64]:
        """(N,) the group of each row again, -1 for those outside."""

    def digest(self, num_threads: int = 1) -> int:
        """63 bits by which a checkpoint recognises the groups."""

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
    """(G, 3) the sum of ``values`` (B,) by ``groups`` (B,), exact in units of 2⁻³⁰: high·2³² + low, and rows.

    A value is rounded to a whole number of units, ties to even. Rows of group -1 don't count. Values must be from
    ``least`` to ``most``; ``argument`` is their name in messages. The same bits for any order and ``num_threads``.
    """

def quotas(shares: NDArray[np.float64], counts: NDArray[np.int64], num_samples: int) -> NDArray[np.int64]:
    """(G,) whole draws that add up to ``num_samples``, by largest remainder; ties go to the lower group."""

@final
class GroupStream:
    """The draws of one epoch: draw i is a pure function of (seed, epoch, i, quotas, groups)."""

    def __new__(cls, index: GroupIndex, quotas: NDArray[np.int64], seed: int, epoch: int) -> GroupStream: ...
    def __len__(self) -> int: ...
    def indices(
        self, start: int, stop: int, step: int = 1, num_threads: int = 1, out: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The rows of the draws ``range(start, stop, step)``, in ``out`` if it is given."""

@final
class IndependentStream:
    """Independent draws: group g with probability q_g / Σ q, then each of its members alike; draw i as above."""

    def __new__(
        cls, index: GroupIndex, quotas: NDArray[np.int64], length: int, seed: int, epoch: int
    ) -> IndependentStream: ...
    def __len__(self) -> int: ...
    def indices(
        self, start: int, stop: int, step: int = 1, num_threads: int = 1, out: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The rows of the draws ``range(start, stop, step)``, in ``out`` if it is given."""

def batch_quotas(
    shares: NDArray[np.float64], counts: NDArray[np.int64], batch_size: int, num_batches: int, min_per_group: int
) -> NDArray[np.int64]:
    """(G,) whole draws that add up to ``batch_size · num_batches``, by largest remainder.

    Groups with a share get at least ``min_per_group · num_batches``; those above divide the rest by their shares.
    """

@final
class BatchStream:
    """The batches of one epoch: batch b is a pure function of (seed, epoch, b, quotas, batch_size, groups)."""

    def __new__(
        cls, index: GroupIndex, quotas: NDArray[np.int64], batch_size: int, seed: int, epoch: int
    ) -> BatchStream: ...
    def __len__(self) -> int: ...
    def indices(self, start: int, stop: int, step: int = 1, num_threads: int = 1) -> NDArray[np.int64]:
        """(batches, batch_size) the rows of the batches ``range(start, stop, step)``."""

@final
class AliasTable:
    """Draws rows by weight in one look, 8 bytes a row. A weight of 0 has no part in it."""

    def __new__(cls, weights: NDArray[np.float64] | NDArray[np.float32], num_threads: int = 1) -> AliasTable:
        """``weights`` (N,), finite and 0 or above, read where they lie. Bit-identical for any ``num_threads``."""

    @staticmethod
    def from_entries(entries: NDArray[np.uint64], num_threads: int = 1) -> AliasTable: ...
    def entries(self) -> NDArray[np.uint64]:
        """(N,) a threshold, and in as many low bits as N has the row that has the bucket from there on."""

    def __len__(self) -> int: ...
    def digest(self, num_threads: int = 1) -> int:
        """63 bits by which a checkpoint recognises the law."""

    def __reduce__(self) -> tuple[Any, tuple[NDArray[np.uint64]]]: ...

@final
class WeightedStream:
    """Draws with replacement: draw i is a pure function of (seed, epoch, i, table)."""

    def __new__(cls, table: AliasTable, length: int, seed: int, epoch: int) -> WeightedStream: ...
    def __len__(self) -> int: ...
    def indices(
        self, start: int, stop: int, step: int = 1, num_threads: int = 1, out: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The rows of the draws ``range(start, stop, step)``, in ``out`` if it is given."""

@final
class SampleWeights:
    """A checked weight for each row, 8 bytes each."""

    def __new__(cls, weights: NDArray[np.float64] | NDArray[np.float32], num_threads: int = 1) -> SampleWeights:
        """A copy of ``weights`` (N,), finite and 0 or above."""

    def __len__(self) -> int: ...
    def values(self) -> NDArray[np.float64]:
        """(N,) the weights again."""

    def digest(self, num_threads: int = 1) -> int:
        """63 bits by which a checkpoint recognises the weights."""

    def __getnewargs__(self) -> tuple[NDArray[np.float64]]: ...

@final
class SuccessiveStream:
    """Draws without replacement, with the law of successive draws; the first call of `indices` makes the order."""

    def __new__(cls, weights: SampleWeights, length: int, seed: int, epoch: int) -> SuccessiveStream: ...
    def __len__(self) -> int: ...
    def indices(
        self, start: int, stop: int, step: int = 1, num_threads: int = 1, out: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """The rows of the draws ``range(start, stop, step)``, in ``out`` if it is given."""

def assign_argmax(
    logits: NDArray[np.float16] | NDArray[np.float32],
    *,
    rows: NDArray[np.int64] | None = None,
    labels_out: NDArray[np.integer[Any]],
    posterior_out: NDArray[np.float32] | None = None,
    confidence_out: NDArray[np.float32] | None = None,
    num_threads: int = 1,
) -> None:
    """Label each row with the column of its largest logit, the first of equals.

    ``logits`` (N, A), ``labels_out`` (N,) of any integer type, ``posterior_out`` (N, A) the softmax, ``confidence_out``
    (N,) the posterior of the label. Only ``rows``, ascending, if they are given: the others' outputs stay as they are.
    """

def assign_proportional(
    logits: NDArray[np.float16] | NDArray[np.float32],
    counts: NDArray[np.int64],
    *,
    rows: NDArray[np.int64] | None = None,
    labels_out: NDArray[np.integer[Any]],
    posterior_out: NDArray[np.float32] | None = None,
    confidence_out: NDArray[np.float32] | None = None,
    num_threads: int = 1,
) -> NDArray[np.float64]:
    """Label the rows so that ``counts`` (A,) of them get each column and the sum of their logits is largest.

    Returns the offsets (A,): each label has the largest logit plus offset, and the posterior is the softmax of these.
    The rest as in `assign_argmax`. Bit-identical for any ``num_threads``.
    """

def kmeans(
    points: NDArray[np.float16] | NDArray[np.float32],
    k: int,
    *,
    contrasts: bool = False,
    rows: NDArray[np.int64] | None = None,
    centers: NDArray[np.float64] | None = None,
    seed: int = 0,
    max_iter: int = 100,
    n_init: int = 1,
    num_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.int64], float, int]:
    """Centers (k, W), counts (k,), inertia, iterations; fewer than ``k`` if there are fewer distinct points.

    ``points`` (N, A) may be mapped from a file far larger than memory: a byte is kept for each row. ``rows`` (M,)
    ascending, by default all, are those that count. W is A, or A - 1 with ``contrasts``: then distances are those of
    row-centred logits. The best of ``n_init`` runs of Lloyd's algorithm from k-means++ starts, or one from ``centers``
    (k, W). Bit-identical for any ``num_threads``.
    """

def assign_centers(
    points: NDArray[np.float16] | NDArray[np.float32],
    centers: NDArray[np.float64],
    variance: float,
    *,
    contrasts: bool = False,
    rows: NDArray[np.int64] | None = None,
    names: NDArray[np.int64] | None = None,
    labels_out: NDArray[np.integer[Any]],
    posterior_out: NDArray[np.float32] | None = None,
    confidence_out: NDArray[np.float32] | None = None,
    num_threads: int = 1,
) -> None:
    """Write the name of the nearest of ``centers`` (k, W) to ``labels_out`` (N,), at each row's own position.

    ``names`` (k,) are by default 0 to k - 1. Posteriors are those of equally heavy spherical Gaussians with
    ``variance`` in each direction, softmax(-d² / (2 · variance)): column ``names[c]`` of ``posterior_out`` (N, columns)
    gets that of cluster c, the others 0; ``confidence_out`` (N,) gets that of the label, which is always the largest.
    Rows not among ``rows`` are left as they are. If a value of ``points`` is bad, rows may have been written before it.
    """

def gmm(
    points: NDArray[np.float16] | NDArray[np.float32],
    k: int,
    *,
    covariance: str = "full",
    contrasts: bool = False,
    rows: NDArray[np.int64] | None = None,
    centers: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
    means: NDArray[np.float64] | None = None,
    precisions: NDArray[np.float64] | None = None,
    reg_covar: float = 1e-6,
    tol: float = 1e-3,
    max_iter: int = 100,
    num_threads: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, int, bool]:
    """Weights (k,), means (k, W), covariances (k, W, W), log likelihood, iterations, whether it converged.

    With ``covariance="diagonal"`` covariances are (k, W). The start is ``centers`` (k, W), whose nearest rows make the
    first Gaussians, or ``weights``, ``means`` and ``precisions`` (inverse covariances) as scikit-learn's ``*_init``.
    The log likelihood is the mean of a row before the last M step, scikit-learn's ``lower_bound_``. Fewer components
    come out if some lose all their rows. All in float64; bit-identical for any ``num_threads``.

    A full mixture has k·W + k·W·(W + 1) / 2 + k - 1 free parameters, a diagonal one 2·k·W + k - 1.
    """

def assign_gmm(
    points: NDArray[np.float16] | NDArray[np.float32],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    *,
    contrasts: bool = False,
    rows: NDArray[np.int64] | None = None,
    names: NDArray[np.int64] | None = None,
    labels_out: NDArray[np.integer[Any]],
    posterior_out: NDArray[np.float32] | None = None,
    confidence_out: NDArray[np.float32] | None = None,
    num_threads: int = 1,
) -> float:
    """The total log likelihood; labels and posteriors are written as by ``assign_centers``.

    ``covariances`` are (k, W, W) or (k, W), as ``gmm`` returns them.
    """

def silhouette(
    points: NDArray[np.float16] | NDArray[np.float32],
    centers: NDArray[np.float64],
    *,
    contrasts: bool = False,
    rows: NDArray[np.int64] | None = None,
    sample_size: int = 2000,
    seed: int = 0,
    num_threads: int = 1,
) -> float:
    """The mean silhouette of up to ``sample_size`` of the rows, each in the cluster of its nearest center.

    A row that is alone in its cluster counts 0. O(sample_size²).
    """
