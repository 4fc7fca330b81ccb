"""Features as tensors on the device of a head, read block by block unless a GPU holds them all."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.data.stored_features import Features, read_blocks, stored

GPU_SHARE = 0.5
"""The share of a GPU's free memory that features may take."""


class DeviceFeatures:
    """The features (N, D) of N rows, float32.

    Args:
        features: (N, D).
        device: that of the head. On a GPU with enough free memory all are copied there now.
    """

    def __init__(self, features: Features, device: torch.device) -> None:
        self._features, self._device = features, device
        self._resident: torch.Tensor | None = None
        size = 4 * features.shape[0] * features.shape[1]
        if device.type == "cuda" and size < GPU_SHARE * _free(device):
            self._resident = torch.empty(features.shape, device=device)
            for block, read in read_blocks(features):
                self._resident[block] = torch.from_numpy(read).to(device)

    def __getitem__(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the features of ``rows`` (n,), which all go to memory."""
        if self._resident is not None:
            return self._resident[torch.from_numpy(rows).to(self._device)]
        return torch.from_numpy(self._features[rows]).to(self._device)

    def whole(self, purpose: str) -> torch.Tensor:
        """Return all features, (N, D). Refuses too many for the ``purpose``."""
        if self._resident is not None:
            return self._resident
        return torch.from_numpy(stored(self._features).whole(purpose)).to(self._device)

    def blocks(self, rows: NDArray[np.int64] | None = None, size: int | None = None) -> Iterator[torch.Tensor]:
        """Yield the features of each ``size`` of ``rows`` (n,), by default all. The next block overwrites each."""
        if self._resident is not None:
            whole = self._resident
            numbers = torch.arange(len(whole)) if rows is None else torch.from_numpy(rows)
            for part in torch.split(numbers, size or max(len(numbers), 1)):
                yield whole[part.to(self._device)]
            return
        for _, block in read_blocks(self._features, rows, size, self._buffer):
            yield torch.from_numpy(block).to(self._device)

    def _buffer(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return a buffer; one in pinned memory is copied to a GPU without another copy on the way."""
        buffer: NDArray[np.float32] = torch.empty(shape, pin_memory=self._device.type == "cuda").numpy()
        return buffer


def _free(device: torch.device) -> int:
    """Return the free memory of a GPU, with what torch keeps of earlier tensors."""
    kept: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
