"""Safetensors files with a digest of their content, so that any change is noticed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dbpt.errors import InputError
from dbpt.files.disk import open_regular, read_regular, write_atomically
from dbpt.files.typed_json import check_version

DIGEST = "sha256"  # metadata entry: the SHA-256 of everything else in the file


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None, *, version: int
) -> None:
    """Write arrays as safetensors, atomically. The same arrays and metadata give the same bytes."""
    header, data = _split(save({name: np.asarray(array, order="C") for name, array in tensors.items()}))
    entries = header["__metadata__"] = {"schema_version": str(version), **(metadata or {})}
    entries[DIGEST] = _digest(header, data)
    text = _canonical(header)
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
