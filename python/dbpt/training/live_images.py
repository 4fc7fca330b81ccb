"""Features of images that are augmented at every step, as in CoOp.

A random crop of 8 to 100 % of the area, with an aspect from 3:4 to 4:3, is resized to the tower's input and flipped
with probability one half (Szegedy et al., 2015; Zhou et al., 2022). Crop and flip are a function of seed, epoch and
number of the draw, so a resumed run sees the same pixels.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dbpt.clip import Backbone
from dbpt.errors import InputError
from dbpt.features.images import UnreadableImage, decoding_threads, pillow_warnings, read_image

AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
IMAGES_A_PASS = 128
ATTEMPTS = 10
NUMBERS = 4 * ATTEMPTS + 1


@contextmanager
def live_images(backbone: Backbone, root: Path, paths: list[str], *, seed: int) -> "Iterator[LiveImages]":
    """Yield `LiveImages` with a pool of decoding threads."""
    with pillow_warnings(), decoding_threads() as pool:
        yield LiveImages(backbone, root, paths, seed, pool)


class LiveImages:
    """The N images of a split, as features that differ at each draw. Created by `live_images`.

    Args:
        backbone: embeds the images.
        root: their folder.
        paths: (N,) relative to ``root``.
        seed: with the epoch and the number of the draw, determines each crop and flip.
        pool: threads that read images.
    """

    def __init__(self, backbone: Backbone, root: Path, paths: list[str], seed: int, pool: ThreadPoolExecutor) -> None:
        self.backbone, self.root, self.paths, self.seed, self.pool = backbone, root, paths, seed, pool
        self.resampling = Image.Resampling[backbone.spec["preprocess"]["interpolation"].upper()]

    def features(self, rows: NDArray[np.int64], *, epoch: int, first_draw: int) -> torch.Tensor:
        """Return (B, D) float32, L2-normalised, on the backbone's device. ``rows`` (B,) begin with ``first_draw``."""
        if not len(rows):  # the last batch may be smaller than the number of ranks; some towers refuse an empty one
            return torch.zeros(0, self.backbone.embed_dim, device=self.backbone.device)
        numbers = [draw_numbers(self.seed, epoch, first_draw + i) for i in range(len(rows))]
        parts = []
        for start in range(0, len(rows), IMAGES_A_PASS):
            part = rows[start : start + IMAGES_A_PASS].tolist()
            pixels = np.stack(list(self.pool.map(self._pixels, part, numbers[start:])))
            parts.append(self.backbone.encode_image(pixels))
        # cat makes a new tensor: those of inference mode can't take part in a gradient
        return torch.cat(parts).to(self.backbone.device)

    def _pixels(self, row: int, numbers: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the crop (H, W, 3) of an image, flipped or not."""
        path = self.root / self.paths[row]
        try:
            image = read_image(path)
        except UnreadableImage as error:
            problem = f"could be read when training began, but not now ({error})"
            raise InputError(f"{path}: {problem}; put it back, and --resume") from None
        height, width = self.backbone.preprocess.size
        cropped = image.convert("RGB").crop(crop_box(image.width, image.height, numbers[1:]))
        resized = np.asarray(cropped.resize((width, height), self.resampling))
        if numbers[0] < 0.5:
            resized = resized[:, ::-1]
        return resized


def draw_numbers(seed: int, epoch: int, draw: int) -> NDArray[np.float64]:
    """Return (41,) float64 in [0, 1) for one draw, from raw Philox output, which NumPy promises not to change."""
    # A counter, not a state: a draw has its numbers on any rank, and after a resume.
    generator = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64), counter=[0, 0, draw, epoch])
    raw: Any = generator.random_raw(NUMBERS)
    # The upper 53 bits: all that a float64 below 1 can hold, as in `numpy.random.Generator.random`.
    numbers: NDArray[np.float64] = (raw >> np.uint64(11)) * 2.0**-53
    return numbers


def crop_box(width: int, height: int, numbers: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of a random crop from 40 ``numbers`` in [0, 1), by torchvision's procedure.

    If ten attempts don't fit, it is the largest crop in the middle with a permitted aspect.
    """
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    for area, aspect, left, top in numbers.reshape(ATTEMPTS, 4).tolist():
        size = width * height * (AREA[0] + area * (AREA[1] - AREA[0]))
        ratio = math.exp(low + aspect * (high - low))
        w, h = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(left * (width - w + 1)), int(top * (height - h + 1))
            return x, y, x + w, y + h
    w = min(width, round(height * ASPECT[1]))
    h = min(height, round(width / ASPECT[0]))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h
