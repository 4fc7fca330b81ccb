"""open_clip's preprocessing of images, in two steps: crops of bytes, and their normalisation in batches."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.utils import to_2tuple
from PIL import Image

from dbpt.clip.checks import PREPROCESS_KEYS


class Preprocessing:
    """Convert a `PIL.Image` to (3, H, W) float32, as open_clip's inference ``transform`` for ``size`` (H, W) does."""

    def __init__(self, transform: Any, size: tuple[int, int]) -> None:
        *self._resize_and_crop, _to_tensor, normalise = transform.transforms
        self._mean, self._std = normalise.mean, normalise.std
        self.size = size

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Do both steps for one image; return (3, H, W) float32."""
        return self.normalise(self.crop(image)[None])[0]

    def crop(self, image: Image.Image, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Resize and crop to (H, W, 3) uint8 RGB, into ``out`` if given.

        Safe to call in several threads; most of the work releases the interpreter lock.
        """
        pixels = np.empty((*self.size, 3), dtype=np.uint8) if out is None else out
        for step in self._resize_and_crop:
            image = step(image)
        pixels[:] = np.asarray(image)
        return pixels

    def normalise(self, crops: torch.Tensor | NDArray[np.uint8]) -> torch.Tensor:
        """Turn (B, H, W, 3) uint8 into (B, 3, H, W) float32, on the device of ``crops``."""
        bytes_BCHW = torch.as_tensor(crops).permute(0, 3, 1, 2).contiguous()
        like = partial(torch.as_tensor, dtype=torch.float32, device=bytes_BCHW.device)
        mean, std = (like(value)[:, None, None] for value in (self._mean, self._std))
        # The operations of torchvision in its order, which gives open_clip's bits.
        return bytes_BCHW.float().div_(255).sub_(mean).div_(std)


def image_preprocessing(model: torch.nn.Module, preprocess: dict[str, Any]) -> Preprocessing:
    """Return open_clip's inference transform for this model's image tower."""
    height, width = to_2tuple(getattr(model.visual, "image_size", 224))
    transform = image_transform_v2(PreprocessCfg(size=(height, width), **preprocess), is_train=False)
    return Preprocessing(transform, (height, width))


def default_preprocess() -> dict[str, Any]:
    """Return open_clip's own default: OpenAI's mean and std, bicubic, shortest side to the image size, centre crop."""
    return clean_preprocess(vars(PreprocessCfg()))


def clean_preprocess(preprocess: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that a spec stores, with values that survive JSON."""
    kept = {key: preprocess[key] for key in PREPROCESS_KEYS if key in preprocess}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}
