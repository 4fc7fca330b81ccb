"""Copies of an image under several paths, found by equal features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dbpt.data.stored_features import StoredFeatures


def first_copies(features: NDArray[np.float32] | StoredFeatures) -> NDArray[np.int64]:
    """Return for each row of the ``features`` (N, D) the first row with the same ones, (N,) int64.

    Features are compared by a product with odd 64-bit numbers, which differs for different features but for chance.
    """
    odd_D = np.random.default_rng(0).integers(0, 1 << 63, features.shape[1], np.uint64) * 2 + 1

    def products_of(block: NDArray[np.float32]) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = np.ascontiguousarray(block).view(np.uint32) @ odd_D
        return found

    products = features.map_blocks(products_of) if isinstance(features, StoredFeatures) else products_of(features)
    _, first, same = np.unique(products, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[same]
    return found
