"""Tensors in safetensors files: with a version and a digest, or by key in a cache; nothing is unpickled."""

import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dbpt.errors import InputError
from dbpt.storage.files import is_missing, open_regular, read_regular, system_errors, write_atomically
from dbpt.storage.typed_json import check_version

logger = logging.getLogger(__name__)

DIGEST = "sha256"  # metadata entry: the SHA-256 of everything else in the file


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None, *, version: int
) -> None:
    """Write arrays as safetensors, atomically. The same arrays and metadata give the same bytes."""
    header, data = _split(save({name: np.asarray(array, order="C") for name, array in tensors.items()}))
    entries = header["__metadata__"] = {"schema_version": str(version), **(metadata or {})}
    entries[DIGEST] = _digest(header, data)
    text = _canonical(header)
    # safetensors aligns the data to 8 bytes, by blanks at the end of the header.
    text += b" " * (-len(text) % 8)
    write_atomically(path, len(text).to_bytes(8, "little") + text + data)


def read_tensors(
    path: Path, what: str, *, version: int, way_out: str, needs: Iterable[str] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata that `write_tensors` wrote. ``needs`` names arrays that must be there.

    Refuses a changed file, naming the ``way_out``.
    """
    content = read_regular(path, what)
    try:
        tensors = load(content)
        header, data = _split(content)
        metadata = header["__metadata__"]
        check_version(path, int(metadata["schema_version"]), version)
        if metadata.pop(DIGEST) != _digest(header, data):
            raise InputError(f"{path}: damaged, not what was written into this {what}; {way_out}")
        if missing := set(needs) - tensors.keys():
            raise InputError(f"{path}: has no {min(missing)!r}; {way_out}")
    except InputError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a readable {what} ({error or type(error).__name__}); {way_out}") from None
    return tensors, metadata


def map_tensor(
    path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], *, follow: bool = True
) -> NDArray[Any]:
    """Map a tensor of a file whose header was checked, so that only what is indexed is read. Raises `OSError`."""
    with open_regular(path, follow=follow) as file:
        length = int.from_bytes(file.read(8), "little")
        begin = json.loads(file.read(length))[name]["data_offsets"][0]
        found: NDArray[Any] = np.memmap(file, dtype, "r", 8 + length + begin, shape)
    return found


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]


def _digest(header: Mapping[str, Any], data: memoryview) -> str:
    digest = hashlib.sha256(_canonical(header))
    digest.update(data)
    return digest.hexdigest()


def _canonical(header: Mapping[str, Any]) -> bytes:
    """Return the header as JSON with sorted metadata; the library writes them in random order."""
    ordered = {name: dict(sorted(value.items())) if name == "__metadata__" else value for name, value in header.items()}
    return json.dumps(ordered, separators=(",", ":")).encode()


VERSION = 1
TEXTS = "texts"  # folder in the cache, of the features of sentences
WAY_OUT = "it is computed again"
FILE_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


@dataclasses.dataclass(frozen=True)
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
