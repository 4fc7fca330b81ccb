"""One shard of a feature cache: a .safetensors file of features with the keys of its rows beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

KEY_TENSORS = ("paths", "sizes", "mtimes_ns")


class RowKey(NamedTuple):
    """What identifies the content of an image file: its path under the root, its size and its modification time."""

    path: str
    size: int
    mtime_ns: int


class DamagedShard(ValueError):
    """A shard whose content is not what was written; the message is the reason."""


def shard_bytes(keys: Sequence[RowKey], features: NDArray[np.float32]) -> bytes:
    """Serialise features (n, D) and their n keys. Paths are stored NUL-separated, as the file system has them."""
    paths = b"\0".join(os.fsencode(key.path) for key in keys)
    return save(
        {
            "features": np.ascontiguousarray(features, dtype=np.float32),
            "paths": np.frombuffer(paths, dtype=np.uint8),
            "sizes": np.array([key.size for key in keys], dtype=np.int64),
            "mtimes_ns": np.array([key.mtime_ns for key in keys], dtype=np.int64),
        }
    )


def read_keys(file: Path) -> list[RowKey]:
    """Read the row keys of a shard, without its features."""
    try:
        with safe_open(file, framework="numpy") as shard:
            paths, sizes, mtimes = (shard.get_tensor(name) for name in KEY_TENSORS)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedShard(" ".join(str(error).split())) from None
    names = [os.fsdecode(name) for name in paths.tobytes().split(b"\0")]
    if not len(names) == len(sizes) == len(mtimes):
        raise DamagedShard(f"{len(names)} paths, {len(sizes)} sizes and {len(mtimes)} times")
    return [RowKey(*row) for row in zip(names, sizes.tolist(), mtimes.tolist(), strict=True)]


def read_features(file: Path, num_rows: int, embed_dim: int) -> NDArray[np.float32]:
    """Read the features (n, D) of a shard."""
    try:
        with safe_open(file, framework="numpy") as shard:
            features = shard.get_tensor("features")
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedShard(" ".join(str(error).split())) from None
    if features.shape != (num_rows, embed_dim) or features.dtype != np.float32:
        raise DamagedShard(f"features are {features.dtype} {features.shape}, expected ({num_rows}, {embed_dim})")
    return features  # type: ignore[no-any-return]
