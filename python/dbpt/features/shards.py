"""One shard of a feature cache: a .safetensors file of features, with what is known of each row's file beside them.

features   (n, D) float32 or float16, rows of length 1; zeros where the image failed
row_ids    (n, 2) uint64, see file_rows.py
paths      NUL-separated bytes, as the file system has them
sizes      (n,) int64
mtimes_ns  (n,) int64
failed     (n,) uint8: 1 where the file holds no image that can be used
reasons    NUL-separated UTF-8, empty where the image did not fail
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dbpt.features.file_rows import FileRows, ids_of
from dbpt.files.disk import open_regular

NORM_TOLERANCE = 1e-2


class DamagedShard(ValueError):
    """A shard whose content is not what was written; the message is the reason."""


def shard_name(ids: NDArray[np.uint64]) -> str:
    """Return the file name of the shard of these rows, whose ids are (n, 2): known before it is computed."""
    return hashlib.sha256(ids.astype("<u8").tobytes()).hexdigest()[:32] + ".safetensors"


def shard_bytes(rows: FileRows, features: NDArray[Any], failed: NDArray[np.uint8], reasons: Sequence[str]) -> bytes:
    """Serialise n rows and their features (n, D)."""
    texts = "\0".join(reason.replace("\0", "?") for reason in reasons)
    return save(
        {
            "features": np.ascontiguousarray(features),
            "row_ids": rows.ids,
            "paths": np.frombuffer(os.fsencode("\0".join(rows.paths)), dtype=np.uint8),
            "sizes": rows.sizes,
            "mtimes_ns": rows.mtimes_ns,
            "failed": failed,
            "reasons": np.frombuffer(texts.encode("utf-8", "surrogateescape"), dtype=np.uint8),
        }
    )


class Shard:
    """A shard whose tensors are read when they are asked for.

    Raises `OSError` if it can't be read, `DamagedShard` if its form is not that of ``num_rows`` rows.
    """

    def __init__(self, file: Path, num_rows: int, embed_dim: int, dtype: np.dtype[Any]) -> None:
        self.num_rows = num_rows
        expected: dict[str, tuple[str, list[int] | None]] = {
            "features": ("F16" if dtype == np.float16 else "F32", [num_rows, embed_dim]),
            "row_ids": ("U64", [num_rows, 2]),
            "sizes": ("I64", [num_rows]),
            "mtimes_ns": ("I64", [num_rows]),
            "failed": ("U8", [num_rows]),
            "paths": ("U8", None),
            "reasons": ("U8", None),
        }
        open_regular(file, follow=False).close()  # refuses links and pipes, and gives the system's reason
        try:
            opened: Any = safe_open(file, "np")
            for name, (kind, shape) in expected.items():
                found = opened.get_slice(name)
                if found.get_dtype() != kind or shape not in (None, found.get_shape()):
                    raise DamagedShard(f"{name} is {found.get_dtype()} {found.get_shape()}, expected {kind} {shape}")
        except SafetensorError as error:
            raise DamagedShard(" ".join(str(error).split())[:120]) from None
        self._file = opened

    def tensor(self, name: str) -> NDArray[Any]:
        """Return one of the tensors above."""
        found: NDArray[Any] = self._file.get_tensor(name)
        return found

    @property
    def paths(self) -> list[str]:
        """(n,) as they are in the list that was embedded."""
        return [os.fsdecode(name) for name in self.tensor("paths").tobytes().split(b"\0")]

    @property
    def reasons(self) -> list[str]:
        """(n,) why a row failed, empty where it did not."""
        return self.tensor("reasons").tobytes().decode("utf-8", "surrogateescape").split("\0")

    def problem(self, *, by_content: bool = False) -> str | None:
        """Return what is wrong with the content, or None; reads all of it. Ids ``by_content`` can't be checked."""
        paths = self.paths
        if len(paths) != self.num_rows or len(self.reasons) != self.num_rows:
            return f"{self.num_rows} rows, but another number of paths or reasons"
        ids = ids_of(paths, self.tensor("sizes"), self.tensor("mtimes_ns"))
        if not by_content and not np.array_equal(self.tensor("row_ids"), ids):
            return "row ids that are not those of the files"
        norms = np.linalg.norm(self.tensor("features").astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - (self.tensor("failed") == 0)) <= NORM_TOLERANCE))
        if len(wrong):
            return f"the features of {paths[wrong[0]]} have length {norms[wrong[0]]:g} instead of 1"
        return None
