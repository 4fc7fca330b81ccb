"""Arrays in files: safetensors with a version and a digest, arrays by key in a folder, and files of users, mapped.

Nothing is unpickled.
"""

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

from dbpt.errors import InputError
from dbpt.storage.files import (
    check_version,
    is_missing,
    open_regular,
    read_regular,
    reason_of,
    system_errors,
    write_atomically,
)

logger = logging.getLogger(__name__)


DIGEST = "sha256"  # metadata entry: the SHA-256 of everything else in the file


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None, *, version: int
) -> None:
    """Write arrays as safetensors, atomically. The same arrays and metadata give the same bytes."""
    from safetensors.numpy import save  # only here, as samplers need NumPy alone

    header, data = _split(save({name: np.asarray(array, order="C") for name, array in tensors.items()}))
    entries = header["__metadata__"] = {"schema_version": str(version), **(metadata or {})}
    entries[DIGEST] = _digest(header, data)
    text = _canonical(header)
    # safetensors aligns the data to 8 bytes, by blanks at the end of the header.
    text += b" " * (-len(text) % 8)
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text, data]
    write_atomically(path, parts)


def read_tensors(
    path: Path, what: str, *, version: int, hint: str = "fit again", needs: Iterable[str] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata that `write_tensors` wrote. ``needs`` names arrays that must be there.

    Refuses a changed file, naming the ``hint``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read_regular(path, what)
    try:
        tensors = load(content)
        header, data = _split(content)
        metadata = header["__metadata__"]
        check_version(path, int(metadata["schema_version"]), version)
        if metadata.pop(DIGEST) != _digest(header, data):
            raise InputError(f"{path}: damaged: its content differs from what was written into this {what}; {hint}")
        if missing := set(needs) - tensors.keys():
            raise InputError(f"{path}: has no {min(missing)!r}; {hint}")
    except InputError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a readable {what} ({error or type(error).__name__}); {hint}") from None
    return tensors, metadata


def are_finite(*arrays: NDArray[Any]) -> bool:
    """Return whether all are float32 without NaN and infinities."""
    return all(array.dtype == np.float32 and bool(np.isfinite(array).all()) for array in arrays)


def map_tensor(
    path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], *, follow: bool = True
) -> "np.memmap[Any, np.dtype[Any]]":
    """Map a tensor of a file whose header was checked, so that only what is indexed is read. Raises `OSError`."""
    with open_regular(path, follow=follow) as file:
        length = int.from_bytes(file.read(8), "little")
        begin = json.loads(file.read(length))[name]["data_offsets"][0]
        return np.memmap(file, dtype, "r", 8 + length + begin, shape)


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
HINT = "it is computed again"
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
            # Of a process that was killed; one that writes the same at this moment can do without its own.
            for leftover in self.folder.glob(f".{key}.safetensors.*.tmp"):
                leftover.unlink()
        except (InputError, OSError) as error:
            logger.debug(f"not kept: {error}")

    def read(self, file: Path, shape: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return the array in one of the ``files``. Raises `InputError` for a file that `put` did not write."""
        if os.path.islink(file):  # noqa: PTH114
            raise InputError(f"{file}: a link, not a file of dbpt; delete it, {HINT}")
        tensors, metadata = read_tensors(file, "stored array", version=VERSION, hint=HINT, needs=["values"])
        values: NDArray[Any] = tensors["values"]
        is_right = shape is None or values.shape == tuple(shape)
        if metadata.get("key") != file.stem or not is_right or not are_finite(values):
            raise InputError(f"{file}: holds another array than its name says; delete it, {HINT}")
        return values

    def files(self) -> list[Path]:
        """Return the files with our names."""
        if not os.path.isdir(self.folder) or os.path.islink(self.folder):  # noqa: PTH112, PTH114
            return []
        with system_errors(f"{self.folder}: cannot be read", "make it readable"):
            return sorted(file for file in self.folder.iterdir() if FILE_NAME.fullmatch(file.name))


DTYPES: dict[str, np.dtype[Any]] = {f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)}
TENSOR_NAMES = ("features", "embeddings", "image_embeddings", "img_emb")
AS_NUMBERS = "numbers with np.save(FILE, features.astype('float32'))"


def open_npy(path: Path, name: str = "features", hint: str = AS_NUMBERS) -> NDArray[Any]:
    """Map the array in a ``.npy`` file, which has no pickled objects; ``hint`` says how to save without."""
    with path.open("rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    if not is_npy:
        raise InputError(f"{path}: is not a .npy file; write it with np.save(FILE, {name})")
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        return array
    except Exception as error:  # NumPy's parser raises anything for a wrong header
        if "Python objects" in str(error):
            raise InputError(f"{path}: holds pickled objects, which are never loaded; save {hint}") from None
        # The messages of NumPy's own errors help; those of Python's parser, which it doesn't catch, don't.
        reason = reason_of(error)[:120] if isinstance(error, OSError | ValueError) else "not a .npy header"
        raise InputError(f"{path}: is not a whole .npy file ({reason}); write it again") from None


def name_of_features(path: Path, names: Sequence[str], kind: str) -> str:
    """Return the first of `TENSOR_NAMES` among the ``names``, of a ``kind``. Raises `InputError` if none is there."""
    for name in TENSOR_NAMES:
        if name in names:
            return name
    present = ", ".join(names[:8]) or "none"
    raise InputError(f"{path}: which {kind} has the features? Call it {TENSOR_NAMES[0]!r}; found: {present}")


def open_safetensors(path: Path) -> NDArray[Any]:
    """Map the only tensor of a ``.safetensors`` file, or the first of `TENSOR_NAMES` that it has."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:  # checks the header
        names = list(file.keys())
        name = names[0] if len(names) == 1 else name_of_features(path, names, "tensor")
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
    if dtype not in DTYPES:
        expected = "F16, F32 or F64; convert it with features.float()"
        raise InputError(f"{path}: tensor {name!r} holds {dtype}, expected {expected}")
    if not all(shape):
        return np.zeros(shape, DTYPES[dtype])
    return map_tensor(path, name, DTYPES[dtype], shape)
