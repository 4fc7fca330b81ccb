"""Copies of an image under several paths, found by equal features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dbpt.data.stored_features import BLOCK_ROWS, StoredFeatures


def first_copies(features: NDArray[np.float32] | StoredFeatures) -> NDArray[np.int64]:
    """Return for each row of the ``features`` (N, D) the first row with the same ones, (N,) int64.

    Features are compared by a product with odd 64-bit numbers, which differs for different features but for chance.
    """
    odd_D = np.random.default_rng(0).integers(0, 1 << 63, features.shape[1], np.uint64) * 2 + 1
    products = np.empty(len(features), np.uint64)
    for start in range(0, len(features), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        products[block] = np.ascontiguousarray(features[block]).view(np.uint32) @ odd_D
    _, first, same = np.unique(products, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[same]
    return found
