"""Arrays that took long to compute, one file each, under the digest of everything that determines them.

Any number of processes may read and write at a time: a file is complete, and the same key has the same content. It is
only a store: what it lacks, can't read or can't write is computed, or isn't kept.
"""

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.files.disk import is_missing, system_errors
from dbpt.files.tensors import read_tensors, write_tensors

logger = logging.getLogger(__name__)

VERSION = 1
TEXTS = "texts"  # folder in the cache, of the features of sentences
WAY_OUT = "it is computed again"
FILE_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True)
class StoredArrays:
    """The arrays of finite float32 in ``folder``, which `put` creates."""

    folder: Path

    def get(self, key: str, shape: Sequence[int]) -> NDArray[np.float32] | None:
        """Return the array under ``key``, a SHA-256 in hex; None if there is none, or a damaged one."""
        file = self.folder / f"{key}.safetensors"
        if is_missing(file):
            return None
        try:
            return self.read(file, shape)
        except InputError as error:
            logger.info(str(error))
            return None

    def put(self, key: str, array: NDArray[np.float32]) -> None:
        """Keep ``array`` under ``key``, if the folder can be written, and is not a link."""
        if os.path.islink(self.folder):  # noqa: PTH114 (raises nothing)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(self.folder / f"{key}.safetensors", {"values": array}, {"key": key}, version=VERSION)
        except (InputError, OSError) as error:
            logger.debug(f"not kept: {error}")

    def read(self, file: Path, shape: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return the array in one of the ``files``. Raises `InputError` for one that `put` did not write so."""
        if os.path.islink(file):  # noqa: PTH114
            raise InputError(f"{file}: a link, not a file of dbpt; delete it, {WAY_OUT}")
        tensors, metadata = read_tensors(file, "stored array", version=VERSION, way_out=WAY_OUT, needs=["values"])
        values: NDArray[Any] = tensors["values"]
        is_right = values.dtype == np.float32 and values.shape == (values.shape if shape is None else tuple(shape))
        if metadata.get("key") != file.stem or not is_right or not np.isfinite(values).all():
            raise InputError(f"{file}: holds another array than its name says; delete it, {WAY_OUT}")
        return values

    def files(self) -> list[Path]:
        """Return the files with our names."""
        if not os.path.isdir(self.folder) or os.path.islink(self.folder):  # noqa: PTH112, PTH114
            return []
        with system_errors(f"{self.folder}: cannot be read", "make it readable"):
            return sorted(file for file in self.folder.iterdir() if FILE_NAME.fullmatch(file.name))
