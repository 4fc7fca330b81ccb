"""Draw a stratified sample: define strata, allocate the images, and choose them. Arrays in, arrays out.

A stratum is a band of confidence within a pseudo-group, separately for images that the classifier gets right and wrong.
Whether it is right is known for every image; only the attribute isn't. With these strata, the sample only has to tell
how many images CLIP put into the wrong group.
"""

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.groups.permutation import permutation

BANDS = 2
ENOUGH_FOR_BANDS = 5  # images in a stratum; a cell with fewer is one stratum, since their spread would be unknown
LEAST_DRAWN = 2
LEAST_DOUBT = 0.01  # CLIP is overconfident


def stratify(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cut each cell that will get enough images into bands of confidence.

    ``cells`` (N,) are any integers that number pseudo-group and right or wrong; ``confidence`` is (N,). Returns the
    stratum of each image, (N,) in 0..H-1, ordered by cell and confidence; and the score of each stratum, (H,), which is
    proportional to the number of images to draw. The score of a cell is the root of its doubt, divided equally among
    its bands. The doubt is the sum of √(e·(1 − e)) over its images with e = 1 − confidence: their standard deviations
    if confidence were exact. The root is the power allocation of Bankier (1988). It lies between equal shares and
    Neyman's, which is best for the whole but leaves small groups nothing. Raises `InputError` if there are more cells
    than ``n``.
    """
    doubt = (1.0 - confidence.astype(np.float64)).clip(LEAST_DOUBT, 0.5)
    deviation = np.sqrt(doubt * (1.0 - doubt))
    _, cells = np.unique(cells, return_inverse=True)
    sizes = np.bincount(cells)
    if n < min(len(sizes), len(cells)):
        raise InputError(
            f"--n is {n}; expected at least {len(sizes)}: one image of each pseudo-group that the classifier gets "
            "right, and one that it gets wrong"
        )
    score = np.sqrt(np.bincount(cells, deviation))
    drawn = allocate(sizes, score, n)
    strata = _cut(cells, confidence, deviation, np.where(drawn >= ENOUGH_FOR_BANDS * BANDS, BANDS, 1))
    cell = cells[np.unique(strata, return_index=True)[1]]
    return strata, score[cell] / np.bincount(cell)[cell]


def _cut(
    cells: NDArray[np.int64], confidence: NDArray[np.float32], deviation: NDArray[np.float64], bands: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the stratum of each image. The ``bands`` of a cell have equal doubt: few unsure or many sure images."""
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
    """Return numbers (H,) proportional to ``score`` with sum ``n``; at least 2 (1 for a small ``n``), at most all."""
    n = min(n, int(sizes.sum()))
    least = np.minimum(LEAST_DRAWN if np.minimum(LEAST_DRAWN, sizes).sum() <= n else 1, sizes)
    low, high = 0.0, float((sizes / score).max())
    for _ in range(100):  # bisect the factor for which the clipped shares add up to n
        middle = (low + high) / 2
        low, high = (low, middle) if np.clip(middle * score, least, sizes).sum() > n else (middle, high)
    shares = np.clip(low * score, least, sizes)
    drawn = np.floor(shares + 1e-9).astype(np.int64)
    rest = np.argsort(drawn - shares, kind="stable")
    for stratum in rest[drawn[rest] < sizes[rest]][: n - int(drawn.sum())]:
        drawn[stratum] += 1
    return drawn


def draw(strata: NDArray[np.int64], drawn: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return rows (n,): a simple random sample of each stratum, in random order, so that a person can stop early."""
    chosen = [
        members[permutation(len(members), seed, stratum)[:number]]
        for stratum, number in enumerate(drawn)
        if len(members := np.flatnonzero(strata == stratum))
    ]
    rows = np.concatenate(chosen)
    return rows[permutation(len(rows), seed, len(drawn))]
