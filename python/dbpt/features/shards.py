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
import json
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from dbpt.features.file_rows import FileRows, ids_of
from dbpt.files.disk import open_regular

MAX_HEADER = 1 << 16
NORM_TOLERANCE = 1e-2
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}


class DamagedShard(ValueError):
    """A shard whose content is not what was written; the message is the reason."""


def shard_name(ids: NDArray[np.uint64]) -> str:
    """The file name of the shard of these rows, whose ids are (n, 2): known before it is computed."""
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
    """A shard that is mapped into memory.

    Raises `OSError` if it can't be read, `DamagedShard` if its form is not that of ``num_rows`` rows.
    """

    def __init__(self, file: Path, num_rows: int, embed_dim: int, dtype: np.dtype[Any]) -> None:
        tensors = _map(file)
        try:
            self.features, self.row_ids = tensors["features"], tensors["row_ids"]
            self.sizes, self.mtimes_ns, self.failed = tensors["sizes"], tensors["mtimes_ns"], tensors["failed"]
            self._paths, self._reasons = tensors["paths"], tensors["reasons"]
        except KeyError as error:
            raise DamagedShard(f"no tensor {error}") from None
        expected = {
            "features": ((num_rows, embed_dim), dtype),
            "row_ids": ((num_rows, 2), np.uint64),
            "sizes": ((num_rows,), np.int64),
            "mtimes_ns": ((num_rows,), np.int64),
            "failed": ((num_rows,), np.uint8),
            "paths": (tensors["paths"].shape, np.uint8),
            "reasons": (tensors["reasons"].shape, np.uint8),
        }
        for name, (shape, kind) in expected.items():
            if tensors[name].shape != shape or tensors[name].dtype != kind:
                raise DamagedShard(f"{name} is {tensors[name].dtype} {tensors[name].shape}, expected {kind} {shape}")

    @property
    def paths(self) -> list[str]:
        """(n,) as they are in the list that was embedded."""
        return [os.fsdecode(name) for name in self._paths.tobytes().split(b"\0")]

    @property
    def reasons(self) -> list[str]:
        """(n,) why a row failed, empty where it did not."""
        return self._reasons.tobytes().decode("utf-8", "surrogateescape").split("\0")

    def problem(self, *, by_content: bool = False) -> str | None:
        """Return what of the content cannot be, or None; reads all of it. Ids ``by_content`` can't be checked."""
        paths = self.paths
        if len(paths) != len(self.sizes) or len(self.reasons) != len(self.sizes):
            return f"{len(self.sizes)} rows, but another number of paths or reasons"
        if not by_content and not np.array_equal(self.row_ids, ids_of(paths, self.sizes, self.mtimes_ns)):
            return "row ids that are not those of the files"
        norms = np.linalg.norm(self.features.astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - (self.failed == 0)) <= NORM_TOLERANCE))
        if len(wrong):
            return f"the features of {paths[wrong[0]]} have length {norms[wrong[0]]:g} instead of 1"
        return None


def _map(file: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a .safetensors file, mapped at once; its header is capped, and checked against the file."""
    try:
        with open_regular(file, follow=False) as opened:
            content = np.frombuffer(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        length = int.from_bytes(content[:8].tobytes(), "little")
        if length > MAX_HEADER:
            raise DamagedShard(f"a header of {length} bytes")
        header = json.loads(content[8 : 8 + length].tobytes())
        tensors = content[8 + length :]
        return {name: _tensor(tensors, **entry) for name, entry in header.items() if name != "__metadata__"}
    except DamagedShard:
        raise
    except OSError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedShard(" ".join(str(error).split())[:120]) from None


def _tensor(tensors: NDArray[np.uint8], dtype: str, shape: list[int], data_offsets: list[int]) -> NDArray[Any]:
    begin, end = data_offsets
    if not 0 <= begin <= end <= len(tensors) or min(shape, default=0) < 0:
        raise DamagedShard("tensors that lie outside the file")
    return tensors[begin:end].view(DTYPES[dtype]).reshape(shape)
