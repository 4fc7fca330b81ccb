"""A training checkpoint: one safetensors file, replaced atomically, that says which run it belongs to."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from dbpt.errors import InputError
from dbpt.files.tensors import read_tensors, write_tensors
from dbpt.files.typed_json import typed_json
from dbpt.training.records import Progress

SCHEMA_VERSION = 6
WAY_OUT = "start afresh with --overwrite"


@dataclass(frozen=True)
class Checkpoint:
    """``tensors`` by dotted name, ``progress``, and the ``fingerprint`` of what determines the run."""

    fingerprint: str
    tensors: dict[str, torch.Tensor]
    progress: Progress

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under ``prefix.``, without the prefix."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` holds either the old or the new one, whatever happens."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in checkpoint.tensors.items()}
    metadata = {"fingerprint": checkpoint.fingerprint, "progress": json.dumps(asdict(checkpoint.progress))}
    write_tensors(path, tensors, metadata, version=SCHEMA_VERSION)


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Read the checkpoint at ``path``, None if there is none yet.

    Raises `InputError` if it belongs to a run with other settings or data, cannot be read, or has changed.
    """
    if not os.path.lexists(path):
        return None
    tensors, metadata = read_tensors(path, "checkpoint", version=SCHEMA_VERSION, way_out=WAY_OUT)
    if metadata.get("fingerprint") != fingerprint:
        raise InputError(f"{path}: made with other settings or data than this run's; use the same ones, or {WAY_OUT}")
    copied = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    return Checkpoint(fingerprint, copied, typed_json(metadata, "progress", Progress, path, WAY_OUT))
