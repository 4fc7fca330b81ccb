"""Images as users name or hold them: paths, folders, PIL images, arrays and tensors, one or several."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dbpt.data.image_folder import ENDINGS, files_below
from dbpt.errors import InputError

if TYPE_CHECKING:
    import torch

ImageSource: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | torch.Tensor"
EXPECTED = "expected a path, a folder, a PIL image, an array (H, W, 3), a tensor (3, H, W), or a list of these"


def list_images(images: ImageSource | Iterable[ImageSource]) -> list[Path | Image.Image]:
    """Return the files, those in folders and below them in sorted order, and the PIL images; a 4-D array is a list.

    Arrays are (H, W, 3) uint8; tensors (3, H, W) uint8, or floats from 0 to 1. Raises `InputError` for anything else,
    for a folder without image files, and for no image at all; a file that is missing is found when it is read.
    """
    if _is_one(images):
        return _found(images, "images")
    items = cast(Iterable[Any], images)
    found = [each for number, item in enumerate(items) for each in _found(item, f"images[{number}]")]
    if not found:
        raise InputError(f"images is empty; {EXPECTED}")
    return found


def is_one_image(images: Any) -> bool:
    """Return whether ``images`` is one image, no folder or collection of them."""
    is_path = isinstance(images, str | os.PathLike)
    return _is_one(images) and not (is_path and os.path.isdir(images))  # noqa: PTH112 (as below)


def _is_one(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return images.dtype.kind not in "OU" and images.ndim != 4
    if _is_tensor(images):
        return bool(images.ndim != 4)
    return isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable)


def _is_tensor(image: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    return torch is not None and isinstance(image, torch.Tensor)


def _found(image: Any, name: str) -> list[Path | Image.Image]:
    if isinstance(image, Image.Image):
        return [image]
    if isinstance(image, np.ndarray):
        return [_from_array(image, name)]
    if _is_tensor(image):
        return [_from_tensor(image, name)]
    if not isinstance(image, str | os.PathLike):
        raise InputError(f"{name} is of type {type(image).__name__}; {EXPECTED}")
    path = str(os.fspath(image))  # str of a NumPy string, which os.scandir takes for bytes
    if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        return [Path(path)]
    if found := [Path(file) for file in files_below(Path(), path) if file.lower().endswith(ENDINGS)]:
        return [*found]
    raise InputError(f"{path}: this folder holds no image file ({', '.join(ENDINGS)})")


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise InputError(f"{name} is an array of {array.dtype} and shape {array.shape}; expected uint8 of (H, W, 3)")
    return Image.fromarray(array)


def _from_tensor(tensor: torch.Tensor, name: str) -> Image.Image:
    tensor = tensor.detach()
    kind, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    is_float = tensor.is_floating_point()
    if not (is_float or kind == "uint8") or len(shape) != 3 or shape[0] != 3 or not tensor.numel():
        raise InputError(f"{name} is a tensor of {kind} and shape {shape}; expected uint8 or floats of (3, H, W)")
    if is_float:
        low, high = float(tensor.min()), float(tensor.max())
        if not 0 <= low <= high <= 1:  # or NaN
            raise InputError(
                f"{name} is a tensor of {kind} with values from {low:g} to {high:g}; expected 0 to 1, not normalised"
            )
        tensor = (tensor.float() * 255).round()
    return Image.fromarray(tensor.permute(1, 2, 0).cpu().numpy().astype(np.uint8))
