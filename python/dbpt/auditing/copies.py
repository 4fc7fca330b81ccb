"""Copies among the audited images: the same image under several paths, which has equal features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.data.stored_features import StoredFeatures
from dbpt.report.text import count, count_of


def copies_warning(features: StoredFeatures, paths: Sequence[str], rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a warning if some of the images have the ``features`` (n, D) of an earlier one; ``rows`` index ``paths``.

    Features are compared by a product with odd 64-bit numbers, which differs for different features but for chance.
    """
    odd_D = np.random.default_rng(0).integers(0, 1 << 63, features.shape[1], np.uint64) * 2 + 1
    products = features.map_blocks(lambda block: np.ascontiguousarray(block).view(np.uint32) @ odd_D)
    _, first, same = np.unique(products, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[same] != np.arange(len(rows)))
    if not len(copies):
        return ()
    one, other = (paths[rows[place]] for place in (copies[0], first[same[copies[0]]]))
    found = f"{count_of(len(copies), 'copy', 'copies')} among {count(len(rows))} images, by equal features"
    return (f"{found}: each counts as an image of its own; the first is {one!r}, of {other!r}",)
