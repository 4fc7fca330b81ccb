"""Images to the input of the image tower, bit for bit as by open_clip's inference transform.

There are two steps: threads crop images to bytes, and batches of these are normalised on the device of the model.
"""

from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.utils import to_2tuple
from PIL import Image

from dbpt.errors import InputError, nearest

PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode", "fill_color")
_CHOICES = {"interpolation": ["bicubic", "bilinear"], "resize_mode": ["shortest", "longest", "squash"]}


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
        shape = (*self.size, 3)
        pixels = np.empty(shape, dtype=np.uint8) if out is None else out
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise InputError(f"out is {pixels.dtype} of shape {pixels.shape}; expected uint8 of {shape}")
        for step in self._resize_and_crop:
            image = step(image)
        pixels[:] = np.asarray(image)
        return pixels

    def normalise(self, crops: torch.Tensor | NDArray[np.uint8]) -> torch.Tensor:
        """Turn (B, H, W, 3) uint8 into (B, 3, H, W) float32, on the device of ``crops``."""
        bytes_BCHW = torch.as_tensor(crops).permute(0, 3, 1, 2).contiguous()
        mean, std = (
            torch.as_tensor(value, dtype=torch.float32, device=bytes_BCHW.device)[:, None, None]
            for value in (self._mean, self._std)
        )
        return bytes_BCHW.float().div_(255).sub_(mean).div_(std)


def image_preprocessing(model: torch.nn.Module, preprocess: dict[str, Any]) -> Preprocessing:
    """Return open_clip's inference transform for this model's image tower."""
    height, width = to_2tuple(getattr(model.visual, "image_size", 224))
    transform = image_transform_v2(PreprocessCfg(size=(height, width), **preprocess), is_train=False)
    return Preprocessing(transform, (height, width))


def default_preprocess() -> dict[str, Any]:
    """Return open_clip's own default: OpenAI's mean and std, bicubic, shortest side to the image size, centre crop."""
    return clean_preprocess(vars(PreprocessCfg()))


def registered_preprocess(name: str) -> dict[str, Any]:
    """Return the preprocessing of an open_clip architecture without a tag: that of its tags if they agree."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    found = [clean_preprocess(open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    agreed = found[0] if found and all(one == found[0] for one in found) else {}
    return {**default_preprocess(), **agreed}


def clean_preprocess(preprocess: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that a spec stores, with values that survive JSON."""
    found = {key: preprocess[key] for key in PREPROCESS_KEYS if key in preprocess}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def check_preprocess(path: Path, given: Any, default: dict[str, Any]) -> dict[str, Any]:
    """Return ``default`` updated by ``given``, which was read from ``path``. Raises `InputError` for a bad entry."""
    if not isinstance(given, dict):
        raise InputError(f"{path}: preprocess must be an object with the keys {', '.join(PREPROCESS_KEYS)}")
    result = dict(default)
    for key, value in given.items():
        if key in ("size", "mode"):  # an open_clip_config.json may have them; the image tower determines the size
            continue
        if key not in PREPROCESS_KEYS:
            raise InputError(f"{path}: unknown preprocess key {key!r}{nearest(key, list(PREPROCESS_KEYS))}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InputError(f"{path}: preprocess {key} is {value!r}, expected one of {', '.join(_CHOICES[key])}")
        if key in ("mean", "std") and not (
            isinstance(value, list)
            and len(value) == 3
            and all(isinstance(x, int | float) and isfinite(x) for x in value)
        ):
            raise InputError(f"{path}: preprocess {key} is {value!r}, expected three numbers")
        if key == "std" and any(x <= 0 for x in value):
            raise InputError(f"{path}: preprocess std is {value!r}, expected positive numbers")
        result[key] = value
    return result
