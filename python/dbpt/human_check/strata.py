"""Drawing a stratified sample: strata, how many images of each, and which. Arrays in, arrays out.

A stratum is a band of confidence within a pseudo-group, apart for images that the classifier gets right and wrong.
Right or wrong is known for every image; only the attribute is not. With it in the strata, a sample needs to tell only
how many images CLIP has put into the wrong group.
"""

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.errors import InputError

BANDS = 2
ENOUGH_FOR_BANDS = 5  # images a stratum; with fewer, a cell is one stratum: its spread is badly known
LEAST_DRAWN = 2
LEAST_DOUBT = 0.01  # CLIP is surer than it is right


def stratify(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cut each cell of which enough images will be drawn into bands of confidence.

    ``cells`` (N,) are any integers that number pseudo-group and right or wrong; ``confidence`` is (N,). Returns the
    stratum (N,) of each image, 0..H-1, by cell and rising confidence; and the score (H,) of each stratum, to which the
    number of its drawn images is to be proportional: the root of its cell's doubt, shared among the bands. The doubt is
    the sum over the images of √(e·(1 − e)) with e = 1 − confidence: their standard deviations if confidence were true.
    The root is the power allocation of Bankier (1988), between Neyman's, which is best for the whole and leaves small
    groups nothing, and equal shares. Raises `InputError` if there are more cells than ``n``.
    """
    doubt = (1.0 - confidence.astype(np.float64)).clip(LEAST_DOUBT, 0.5)
    deviation = np.sqrt(doubt * (1.0 - doubt))
    _, cells = np.unique(cells, return_inverse=True)
    sizes = np.bincount(cells)
    if n < min(len(sizes), len(cells)):
        raise InputError(
            f"n is {n}; expected at least {len(sizes)}: one image of each pseudo-group that the classifier gets right, "
            "and one that it gets wrong"
        )
    score = np.sqrt(np.bincount(cells, deviation))
    drawn = allocate(sizes, score, n)
    strata = _cut(cells, confidence, deviation, np.where(drawn >= ENOUGH_FOR_BANDS * BANDS, BANDS, 1))
    cell = cells[np.unique(strata, return_index=True)[1]]
    return strata, score[cell] / np.bincount(cell)[cell]


def _cut(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], deviation: NDArray[np.float64], bands: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Strata of equal doubt within a cell, as many as ``bands`` says: few unsure images weigh as much as many sure."""
    order = np.lexsort((confidence, cells))
    strata = np.empty(len(cells), dtype=np.int64)
    first = 0
    for rows, number in zip(np.split(order, np.cumsum(np.bincount(cells))[:-1]), bands, strict=True):
        middle = np.cumsum(deviation[rows]) - deviation[rows] / 2
        band = np.minimum(number * middle / deviation[rows].sum(), number - 1).astype(np.int64)
        _, band = np.unique(band, return_inverse=True)
        strata[rows] = first + band
        first += int(band[-1]) + 1
    return strata


def allocate(sizes: NDArray[np.int64], score: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Return (H,) numbers proportional to ``score``, in sum ``n``; at least 2, or 1 for a small ``n``, at most all."""
    n = min(n, int(sizes.sum()))
    least = np.minimum(LEAST_DRAWN if np.minimum(LEAST_DRAWN, sizes).sum() <= n else 1, sizes)
    low, high = 0.0, float((sizes / score).max())
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
    """Return (n,) rows: a simple random sample of each stratum, in one random order in case a person stops early."""
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
