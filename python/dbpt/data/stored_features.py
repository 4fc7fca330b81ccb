"""Image features that stay in files, so that memory doesn't grow with their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 8_192


class StoredFeatures:
    """The features (N, D) float32 of N images. ``features[rows]`` reads rows by a slice or by numbers (n,) int64.

    ``read`` returns the features (n, D) of some ``places`` (n,), of which each image has one. Functions that index a
    NumPy array by blocks of rows take these features too. NumPy itself reads all of them, as ``features[:]`` does.
    """

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(
        self, read: Callable[[NDArray[np.int64]], NDArray[np.float32]], places: NDArray[np.int64], width: int
    ) -> None:
        self._read, self._places, self.shape = read, places, (len(places), width)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self._read(self._places[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def take(self, rows: NDArray[np.int64]) -> StoredFeatures:
        """Return those of ``rows`` (n,), in their order. Nothing is read."""
        return StoredFeatures(self._read, self._places[rows], self.shape[1])

    def map_blocks(self, compute: Callable[[NDArray[np.float32]], NDArray[Any]]) -> NDArray[Any]:
        """Return what ``compute`` returns for each block of rows, one below the other, (N, ...)."""
        starts = range(0, max(len(self), 1), BLOCK_ROWS)
        return np.concatenate([compute(self[start : start + BLOCK_ROWS]) for start in starts])
