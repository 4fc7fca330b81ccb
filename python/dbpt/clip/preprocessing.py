"""Images as the tower's input: bit for bit what open_clip's inference transform gives.

In two steps, so that threads can crop, to bytes, and whole batches of these are normalised where the model is.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dbpt.errors import InputError


class Preprocessing:
    """`PIL.Image` to (3, H, W) float32, as open_clip's inference transform; or by `crop` and `normalise`.

    Attributes:
        size: (H, W) of the tower's input.
    """

    def __init__(self, transform: Any, size: tuple[int, int]) -> None:
        """Take open_clip's ``transform`` apart, which was made for ``size``."""
        *self._resize_and_crop, _to_tensor, normalise = transform.transforms
        self._mean, self._std = normalise.mean, normalise.std
        self.size = size

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Both steps for one image; returns (3, H, W) float32."""
        return self.normalise(self.crop(image)[None])[0]

    def crop(self, image: Image.Image, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Resize and crop to (H, W, 3) uint8, red, green, blue; into ``out``, if it is given.

        Any number of threads may do so at once; the interpreter lock is released for nearly all of it. Raises
        `InputError` for an ``out`` of another shape or type.
        """
        shape = (*self.size, 3)
        pixels = np.empty(shape, dtype=np.uint8) if out is None else out
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise InputError(f"out is {pixels.dtype} of shape {pixels.shape}; expected uint8 of {shape}")
        for step in self._resize_and_crop:
            image = step(image)
        pixels[:] = np.asarray(image)
        return pixels

    def normalise(self, crops: torch.Tensor | NDArray[np.uint8]) -> torch.Tensor:
        """(B, H, W, 3) uint8 to (B, 3, H, W) float32, on the device of ``crops``."""
        bytes_BCHW = torch.as_tensor(crops).permute(0, 3, 1, 2).contiguous()
        mean, std = (
            torch.as_tensor(value, dtype=torch.float32, device=bytes_BCHW.device)[:, None, None]
            for value in (self._mean, self._std)
        )
        return bytes_BCHW.float().div_(255).sub_(mean).div_(std)
