"""Images as the tower's input: bit for bit what open_clip's inference transform gives, several times as fast.

In two steps, so that threads can crop, to bytes, and whole batches of these are normalised where the model is. What the
Rust core can't do exactly, other modes than RGB among it, goes through open_clip's own steps.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dbpt._core import resize_crop
from dbpt.errors import InputError

INTERPOLATIONS = ("bilinear", "bicubic")

Size = tuple[int, int]


class Preprocessing:
    """`PIL.Image` to (3, H, W) float32, as open_clip's inference transform; or by `crop` and `normalise`.

    Attributes:
        size: (H, W) of the tower's input.
    """

    def __init__(self, transform: Any, size: Size, preprocess: dict[str, Any]) -> None:
        """Take open_clip's ``transform`` apart, which was made from ``size`` and ``preprocess``."""
        *self._plain_steps, _to_tensor, normalise = transform.transforms
        self._mean, self._std = normalise.mean, normalise.std
        self.size = size
        self._interpolation = preprocess.get("interpolation")
        self._resize_mode = preprocess.get("resize_mode")

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Both steps for one image; returns (3, H, W) float32."""
        return self.normalise(self.crop(image)[None])[0]

    def crop(self, image: Image.Image, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Resize and crop to (H, W, 3) uint8, red, green, blue; into ``out``, C-contiguous, if it is given.

        Any number of threads may do so at once; the interpreter lock is released for nearly all of it. Raises
        `InputError` for an ``out`` of another shape, type or layout.
        """
        shape = (*self.size, 3)
        pixels = np.empty(shape, dtype=np.uint8) if out is None else out
        if pixels.shape != shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
            raise InputError(f"out is {pixels.dtype} of shape {pixels.shape}; expected contiguous uint8 of {shape}")
        resized = self._resized(image)
        if resized is None or not _is_along_rows_first((image.height, image.width), resized):
            for step in self._plain_steps:
                image = step(image)
            pixels[:] = np.asarray(image)
            return pixels
        top, left = (round((long - kept) / 2) for long, kept in zip(resized, self.size, strict=True))
        resize_crop(np.asarray(image), *resized, top=top, left=left, interpolation=str(self._interpolation), out=pixels)
        return pixels

    def normalise(self, crops: torch.Tensor | NDArray[np.uint8]) -> torch.Tensor:
        """(B, H, W, 3) uint8 to (B, 3, H, W) float32, on the device of ``crops``."""
        bytes_BCHW = torch.as_tensor(crops).permute(0, 3, 1, 2).contiguous()
        mean, std = (
            torch.as_tensor(value, dtype=torch.float32, device=bytes_BCHW.device)[:, None, None]
            for value in (self._mean, self._std)
        )
        return bytes_BCHW.float().div_(255).sub_(mean).div_(std)

    def _resized(self, image: Image.Image) -> Size | None:
        """(height, width) that torchvision resizes to before the crop; None if it is not for the core."""
        if image.mode != "RGB" or not (image.width and image.height) or self._interpolation not in INTERPOLATIONS:
            return None
        if self._resize_mode == "squash":
            return self.size
        height, width = self.size
        if self._resize_mode != "shortest" or height != width:
            return None
        long = int(height * max(image.size) / min(image.size))
        return (height, long) if image.height <= image.width else (long, width)


def _is_along_rows_first(found: Size, resized: Size) -> bool:
    """Whether every Pillow resizes along the rows first, as the core does: intermediate bytes are rounded.

    12.2 resizes images thinner than 1:100 down the columns first, 13.0 those that lose over twice as much in height as
    in width.
    """
    lost_height, lost_width = (before - after for before, after in zip(found, resized, strict=True))
    return lost_height <= 0 or (lost_height <= 2 * lost_width and found[0] <= 100 * found[1])
