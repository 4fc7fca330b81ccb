"""The rows of an epoch's batches, features of augmented images, and checkpoints that continue a training bit for bit.

Images are augmented at every step, as in CoOp. A random crop of 8 to 100 % of the area, with an aspect from 3:4 to 4:3,
is resized to the tower's input and flipped with probability one half (Szegedy et al., 2015; Zhou et al., 2022). Crop
and flip are a function of seed, epoch and number of the draw, so a resumed run sees the same pixels.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dbpt._core import GroupIndex, GroupStream, Stream
from dbpt.clip import Backbone
from dbpt.errors import InputError, in_digits
from dbpt.features.images import UnreadableImage, decoding_threads, pillow_warnings, read_image
from dbpt.objectives import Objective
from dbpt.settings.config import FitConfig
from dbpt.settings.sections import TrainingSettings
from dbpt.storage.files import read_tensors, write_tensors
from dbpt.storage.typed_json import AnyFloat, Count, typed_json
from dbpt.training.judging import EpochRecord, PeakRates, Rows

if TYPE_CHECKING:
    from dbpt.sampling import GroupSampler, WeightedSampler

Draws: TypeAlias = "Stream | GroupSampler | WeightedSampler"


def draws_of_epoch(objective: Objective, seed: int, epoch: int) -> Draws:
    """Return the rows of ``epoch`` (from 0), a pure function of the seed, the epoch and the objective's state.

    A new sampler in each epoch gives the same draws as one that is kept, since these depend only on its weights, the
    seed and the epoch.
    """
    if objective.apply == "sampling" and (sampler := objective.sampler(seed)) is not None:
        sampler.set_epoch(epoch)
        return sampler
    part = np.zeros(len(objective.training.labels), dtype=np.int64)
    if (subset := objective.subset(seed)) is not None:
        # The stream has one group, 0. Rows of group -1 are never drawn.
        part -= 1
        part[subset] = 0
    index = GroupIndex(part, 1)
    return GroupStream(index, index.counts, seed, epoch)


SCHEMA_VERSION = 7
SECONDS_BETWEEN = 5.0
HINT = "start again with --overwrite"
MAY_CHANGE = ("lr",)
"""The settings that may change when a training continues: the learning rate may be lowered."""


@dataclass(frozen=True)
class LoopState:
    """The part of a checkpoint that is not tensors. ``best_score`` is -inf before the first epoch.

    ``first_epoch`` is the number, from 0, of the first epoch since the head was last reset.
    """

    history: list[EpochRecord]
    best_score: tuple[AnyFloat, AnyFloat]
    best_epoch: Count
    first_epoch: Count
    peak_rates: PeakRates


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch: ``tensors`` by dotted name, ``progress``, and the ``fingerprint`` of the run."""

    fingerprint: str
    tensors: dict[str, torch.Tensor]
    progress: LoopState

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with ``prefix.``, under the rest of their names."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` atomically; after a failure, ``path`` still has the previous one."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in checkpoint.tensors.items()}
    metadata = {"fingerprint": checkpoint.fingerprint, "progress": json.dumps(asdict(checkpoint.progress))}
    write_tensors(path, tensors, metadata, version=SCHEMA_VERSION)


class CheckpointWriter:
    """Writes the latest state to ``path``, at most once in `SECONDS_BETWEEN`: a save can take longer than an epoch."""

    def __init__(self, path: Path) -> None:
        self._path, self._saved_at = path, time.monotonic()
        self._waiting: Checkpoint | None = None

    def offer(self, checkpoint: Checkpoint) -> None:
        """Save ``checkpoint`` now, or keep a copy of it for a later `save`."""
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN:
            save_checkpoint(self._path, checkpoint)
            self._saved_at, self._waiting = time.monotonic(), None
        else:
            # The next epoch changes these tensors in place.
            copied = {name: tensor.detach().clone() for name, tensor in checkpoint.tensors.items()}
            history = list(checkpoint.progress.history)
            self._waiting = replace(checkpoint, tensors=copied, progress=replace(checkpoint.progress, history=history))

    def save(self) -> None:
        """Save the last state that was offered, if it has not been saved."""
        if self._waiting is not None:
            save_checkpoint(self._path, self._waiting)
            self._waiting = None


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Read the checkpoint; return None if there is none. Raises `InputError` if it is damaged or of another run."""
    if not os.path.lexists(path):
        return None
    tensors, metadata = read_tensors(path, "checkpoint", version=SCHEMA_VERSION, hint=HINT)
    if metadata.get("fingerprint") != fingerprint:
        raise InputError(f"{path}: made with other settings or data than this run's; use the same ones, or {HINT}")
    copied = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    return Checkpoint(fingerprint, copied, typed_json(metadata, "progress", LoopState, path, HINT))


def training_fingerprint(outer: str, training: Rows, validation: Rows, settings: FitConfig) -> str:
    """Return a digest of ``outer``, all rows, and all `TrainingSettings` except `MAY_CHANGE`."""
    digest = hashlib.sha256(outer.encode())
    fixed = {
        setting.name: getattr(settings, setting.name)
        for setting in fields(TrainingSettings)
        if setting.name not in MAY_CHANGE
    }
    digest.update(json.dumps(fixed, sort_keys=True).encode())
    for rows in (training, validation):
        for array in (rows.features, rows.labels, rows.groups):
            # Arrays of different shapes can have the same bytes.
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def lowered_rates(rates: PeakRates, lr: float, next_epoch: int | None, path: Path) -> PeakRates:
    """Return the rates of a training that continues with ``lr`` from its checkpoint at ``path``.

    A finished training, whose ``next_epoch`` is None, keeps its rates. Raises `InputError` for a higher rate.
    """
    before = rates[-1][1]
    if lr > before:
        hint = f"it can continue with the same or a lower one, or {HINT}"
        raise InputError(f"{path}: made at learning rate {in_digits(before)}, found --lr {in_digits(lr)}; {hint}")
    return rates if lr == before or next_epoch is None else [*rates, (next_epoch, lr)]


AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
IMAGES_A_PASS = 128
ATTEMPTS = 10
NUMBERS = 4 * ATTEMPTS + 1
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


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
        preprocess = backbone.spec["preprocess"]
        self.resampling = RESAMPLING[preprocess["interpolation"]]
        self.mean, self.std = (np.array(preprocess[key], dtype=np.float32)[:, None, None] for key in ("mean", "std"))

    def features(self, rows: NDArray[np.int64], *, epoch: int, first_draw: int) -> torch.Tensor:
        """Return (B, D) float32, L2-normalised, on the backbone's device. ``rows`` (B,) begin with ``first_draw``."""
        if not len(rows):  # the last batch may be smaller than the number of ranks; some towers refuse an empty one
            return torch.zeros(0, self.backbone.embed_dim, device=self.backbone.device)
        numbers = [draw_numbers(self.seed, epoch, first_draw + i) for i in range(len(rows))]
        parts = []
        for start in range(0, len(rows), IMAGES_A_PASS):
            part = rows[start : start + IMAGES_A_PASS].tolist()
            pixels = np.empty((len(part), 3, *self.backbone.preprocess.size), dtype=np.float32)
            for i, drawn in enumerate(self.pool.map(self._pixels, part, numbers[start:])):
                pixels[i] = drawn
            parts.append(self.backbone.encode_image(pixels))
        # cat makes a new tensor: those of inference mode can't take part in a gradient
        return torch.cat(parts).to(self.backbone.device)

    def _pixels(self, row: int, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        path = self.root / self.paths[row]
        try:
            image = read_image(path)
        except UnreadableImage as error:
            problem = f"could be read when training began, but not now ({error})"
            raise InputError(f"{path}: {problem}; put it back, and --resume") from None
        height, width = self.backbone.preprocess.size
        cropped = image.convert("RGB").crop(crop_box(image.width, image.height, numbers[1:]))
        resized = np.asarray(cropped.resize((width, height), self.resampling), dtype=np.float32)
        if numbers[0] < 0.5:
            resized = resized[:, ::-1]
        augmented: NDArray[np.float32] = (resized.transpose(2, 0, 1) / np.float32(255) - self.mean) / self.std
        return augmented


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
