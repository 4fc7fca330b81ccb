"""A training checkpoint: one safetensors file, replaced atomically, that says which run it belongs to."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from dbpt.errors import InputError
from dbpt.files import write_tensors

SCHEMA_VERSION = 5


@dataclass(frozen=True)
class Checkpoint:
    """``tensors`` by dotted name, JSON-able ``progress``, and the ``fingerprint`` of what determines the run."""

    fingerprint: str
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under ``prefix.``, without the prefix."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` so that ``path`` holds either the old or the new one, whatever happens."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in checkpoint.tensors.items()}
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "fingerprint": checkpoint.fingerprint,
        "progress": json.dumps(checkpoint.progress),
    }
    write_tensors(path, tensors, metadata)


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint | None:
    """Read the checkpoint at ``path``, None if there is none yet.

    Raises `InputError` if it belongs to a run with other settings or data, or cannot be read.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        progress = json.loads(metadata["progress"])
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable checkpoint ({error}); start afresh with --overwrite") from None
    if metadata.get("schema_version") != str(SCHEMA_VERSION) or metadata.get("fingerprint") != fingerprint:
        raise InputError(
            f"{path}: made with other settings or data than this run's; use the same ones, or start afresh with "
            "--overwrite"
        )
    return Checkpoint(fingerprint, tensors, progress)
