"""Writing files so that what stands under its final name is complete, and equal content is equal bytes."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from dbpt.errors import InputError

READ_BLOCK = 1 << 20


def check_can_create(folder: Path) -> None:
    """Refuse a new folder of ``--out`` at once where it could not be created after all the work.

    Folders above it may be missing. Raises `InputError`.
    """
    parent = next(parent for parent in folder.absolute().parents if os.path.lexists(parent))
    if not parent.is_dir():
        raise InputError(f"--out {folder}: cannot create: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"--out {folder}: cannot create: {parent} is not writable")


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary sibling, flush, fsync, rename. Text becomes UTF-8; file names in it keep their bytes.

    Raises `InputError` if the disk refuses; then ``path`` is as it was, and the temporary file gone if it can be.
    """
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise InputError(f"{path}: cannot write: {error.strerror}; free space or choose another folder") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # what went wrong before is what to tell
                temporary.unlink()


def remove_unfinished(path: Path) -> None:
    """Delete what `write_atomically` of ``path`` left where it was killed; what can't be deleted stays."""
    for file in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            file.unlink()


def file_sha256(file: Path) -> str:
    """The checksum of a file, read block by block."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder. Raises `InputError` if it refuses."""
    if os.name != "posix":  # a directory can't be opened elsewhere
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"{folder}: cannot write: {error.strerror}; free space or choose another folder") from None


def _write_all(handle: int, data: bytes) -> None:
    """By the system's own calls, which the tests can let fail one by one."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, NaN refused, as `write_atomically` does."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays as safetensors, as `write_atomically` does; the same arrays and metadata give the same bytes."""
    content = save(
        {name: np.asarray(array, order="C") for name, array in tensors.items()},
        None if metadata is None else dict(metadata),
    )
    write_atomically(path, _with_sorted_metadata(content))


def _with_sorted_metadata(content: bytes) -> bytes:
    """The same safetensors with its metadata in order; the library writes them in a random one."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]
