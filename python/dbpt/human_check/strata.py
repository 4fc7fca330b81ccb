"""Which images to draw: strata, how many of each, and which. Arrays in, arrays out.

A stratum is a band of confidence within a pseudo-group, apart for what the classifier gets right and wrong. Right or
wrong is known for every image, as the class is; only the attribute is not. With it in the strata, what a sample must
tell of a group's accuracy is no more than how many of its images CLIP has put into another group, or taken from one.
"""

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.errors import InputError

BANDS = 2
ENOUGH_FOR_BANDS = 8  # images a stratum; with fewer, the spread within a stratum is badly known
LEAST_DRAWN = 2
# CLIP is surer than it is right: no image counts as less doubtful than this.
LEAST_DOUBT = 0.01


def stratify(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cut each cell into bands of confidence, as many as ``n`` images are enough for.

    Args:
        cells: (N,) number of the pseudo-group and right or wrong of each image, any integers.
        confidence: (N,) of the pseudo attributes.
        n: how many images will be drawn.

    Returns:
        The stratum (N,) of each image, 0..H-1, by cell and rising confidence; and the doubt (H,) of each stratum, the
        sum over its images of √(e·(1 − e)) with e = 1 − confidence: their standard deviations if confidence were true.

    Raises:
        InputError: there are more cells than ``n``.
    """
    doubt = (1.0 - confidence.astype(np.float64)).clip(LEAST_DOUBT, 0.5)
    deviation = np.sqrt(doubt * (1.0 - doubt))
    bands = BANDS if n >= ENOUGH_FOR_BANDS * BANDS * len(np.unique(cells)) else 1
    strata = _cut(cells, confidence, deviation, bands)
    num_strata = int(strata.max()) + 1
    if n < min(num_strata, len(cells)):
        raise InputError(
            f"n is {n}; expected at least {num_strata}: one image of each pseudo-group that the classifier gets right, "
            "and one that it gets wrong"
        )
    return strata, np.bincount(strata, deviation, num_strata).astype(np.float64)


def _cut(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], deviation: NDArray[np.float64], bands: int
) -> NDArray[np.int64]:
    """Strata of equal doubt within a cell: few unsure images weigh as much as many sure ones."""
    order = np.lexsort((confidence, cells))
    _, begins, sizes = np.unique(cells[order], return_index=True, return_counts=True)
    band = np.empty(len(cells), dtype=np.int64)
    for begin, size in zip(begins, sizes, strict=True):
        rows = order[begin : begin + size]
        middle = np.cumsum(deviation[rows]) - deviation[rows] / 2
        band[rows] = np.minimum(bands * middle / deviation[rows].sum(), bands - 1).astype(np.int64)
    _, strata = np.unique(np.stack([cells, band]), axis=1, return_inverse=True)
    return strata.reshape(-1).astype(np.int64)


def allocate(sizes: NDArray[np.int64], doubt: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """(H,) how many images of each stratum: in proportion to √doubt, at least 2, at most all; in sum ``n``, or all.

    The root is the power allocation of Bankier (1988), between Neyman's, which is best for the whole and leaves small
    groups nothing, and equal shares. Where 2 of each are more than ``n``, it is at least 1.
    """
    n = min(n, int(sizes.sum()))
    least = np.minimum(LEAST_DRAWN, sizes)
    if least.sum() > n:
        least = np.minimum(1, sizes)
    score, low, high = np.sqrt(doubt), 0.0, float((sizes / np.sqrt(doubt)).max())
    for _ in range(100):  # the factor for which the shares, kept within their limits, add up to n
        middle = (low + high) / 2
        low, high = (low, middle) if np.clip(middle * score, least, sizes).sum() > n else (middle, high)
    shares = np.clip(low * score, least, sizes)
    drawn = np.floor(shares + 1e-9).astype(np.int64)
    rest = np.argsort(drawn - shares, kind="stable")
    for stratum in rest[drawn[rest] < sizes[rest]][: n - int(drawn.sum())]:
        drawn[stratum] += 1
    return drawn


def draw(strata: NDArray[np.int64], drawn: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(n,) rows: a simple random sample without replacement of each stratum, in a random order over all of them.

    So the first images of the list are a stratified sample too, should a person stop before the end.
    """
    chosen = [
        members[_shuffled(len(members), seed, stratum)[:number]]
        for stratum, number in enumerate(drawn)
        if len(members := np.flatnonzero(strata == stratum))
    ]
    rows = np.concatenate(chosen)
    return rows[_shuffled(len(rows), seed, len(drawn))]


def _shuffled(n: int, seed: int, counter: int) -> NDArray[np.int64]:
    stream = GroupStream(GroupIndex(np.zeros(n, dtype=np.int64), 1), np.array([n]), seed, counter)
    return stream.indices(0, n)
