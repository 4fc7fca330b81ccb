"""Checkpoints that continue a training bit for bit, and their writer."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from dbpt.data.stored_features import stored
from dbpt.errors import InputError, in_digits
from dbpt.settings.all_settings import TrainingSettings
from dbpt.settings.config import FitConfig
from dbpt.storage.tensors import read_tensors, write_tensors
from dbpt.storage.typed_json import Count, typed_json
from dbpt.training.model_selection import EpochRecord, PeakRates, Rows

SCHEMA_VERSION = 9
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
    best_score: tuple[float, float]
    best_epoch: Count
    first_epoch: Count
    peak_rates: PeakRates


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch: ``tensors`` by dotted name, ``progress``, and the ``fingerprints`` of the run."""

    fingerprints: dict[str, str]
    tensors: dict[str, torch.Tensor]
    progress: LoopState

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with ``prefix.``, under the rest of their names."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` atomically; after a failure, ``path`` still has the previous one."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in checkpoint.tensors.items()}
    parts = {"fingerprints": checkpoint.fingerprints, "progress": asdict(checkpoint.progress)}
    metadata = {name: json.dumps(part) for name, part in parts.items()}
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


def load_checkpoint(path: Path, fingerprints: Mapping[str, str]) -> Checkpoint | None:
    """Read the checkpoint; return None if there is none. Raises `InputError` if it is damaged or of another run."""
    if not os.path.lexists(path):
        return None
    tensors, metadata = read_tensors(path, "checkpoint", version=SCHEMA_VERSION, hint=HINT)
    found = typed_json(metadata, "fingerprints", dict[str, str], path, HINT)
    if others := [name for name, digest in fingerprints.items() if found.get(name) != digest]:
        raise InputError(
            f"{path}: made with other {' and '.join(others)} than this run's; use the same, delete the file, or {HINT}"
        )
    copied = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    return Checkpoint(found, copied, typed_json(metadata, "progress", LoopState, path, HINT))


def fingerprints(outer: Mapping[str, str], training: Rows, validation: Rows, settings: FitConfig) -> dict[str, str]:
    """Return a digest of each thing that a training depends on, by its name in messages.

    These are those of ``outer``, what the caller names, and of the rows and all `TrainingSettings` except `MAY_CHANGE`.
    """
    fixed = {
        setting.name: getattr(settings, setting.name)
        for setting in fields(TrainingSettings)
        if setting.name not in MAY_CHANGE
    }
    parts: dict[str, object] = {**outer, "settings": (outer.get("settings"), sorted(fixed.items()))}
    for name in ("labels", "groups"):
        arrays = [np.ascontiguousarray(getattr(rows, name)) for rows in (training, validation)]
        parts[name] = [(array.shape, hashlib.sha256(array.data).hexdigest()) for array in arrays]
    parts["features"] = [stored(rows.features).digest for rows in (training, validation)]
    return {name: hashlib.sha256(repr(part).encode()).hexdigest() for name, part in parts.items()}


def lowered_rates(rates: PeakRates, lr: float, next_epoch: int | None, path: Path) -> PeakRates:
    """Return the rates of a training that continues with ``lr`` from its checkpoint at ``path``.

    A finished training, whose ``next_epoch`` is None, keeps its rates. Raises `InputError` for a higher rate.
    """
    before = rates[-1][1]
    if lr > before:
        hint = f"it can continue with the same or a lower one, or {HINT}"
        raise InputError(f"{path}: made at learning rate {in_digits(before)}, found --lr {in_digits(lr)}; {hint}")
    return rates if lr == before or next_epoch is None else [*rates, (next_epoch, lr)]
