"""One array in a ``.npy`` or ``.safetensors`` file, mapped into memory; nothing is unpickled."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from dbpt.errors import InputError
from dbpt.files.disk import open_regular, reason_of

DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}
NAMES = ("features", "embeddings", "image_embeddings", "img_emb")
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle")


def open_array(path: Path) -> NDArray[Any]:
    """Map the (N, D) float16 or float32 array of a file; of a ``.safetensors``, its only tensor or the one of `NAMES`.

    Raises:
        InputError: another kind of file, one that is damaged or would have to be unpickled, another shape or dtype.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise InputError(
            f"{path}: is a pickle, which is never loaded; save the tensor with "
            "safetensors.torch.save_file({'features': features}, 'features.safetensors')"
        )
    if suffix not in (".npy", ".safetensors"):
        raise InputError(
            f"{path}: expected a .npy or .safetensors file, or a folder that clip-retrieval has written; "
            "np.save(FILE, features) writes the first"
        )
    try:
        open_regular(path).close()
        array = _open_npy(path) if suffix == ".npy" else _open_safetensors(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot read the features: {reason_of(error)}") from None
    if array.dtype not in DTYPES.values():
        raise InputError(
            f"{path}: holds {array.dtype}, expected float16 or float32; convert it with features.astype('float32')"
        )
    if array.ndim != 2:
        raise InputError(f"{path}: has the shape {array.shape}, expected (rows, width), a row an image")
    return array


def _open_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        start = file.read(6)
    if start[:1] == b"\x80":
        raise InputError(f"{path}: {_REFUSED}")
    if start != b"\x93NUMPY":
        raise InputError(f"{path}: is not a .npy file; write it with np.save(FILE, features)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
            return array
    except Exception as error:  # numpy raises whatever its parser, or memory, makes of a header that is none
        if "Python objects" in str(error):
            raise InputError(f"{path}: {_REFUSED}") from None
        # NumPy's own errors say what is wrong; those of Python's parser, which it lets through, don't.
        reason = reason_of(error)[:120] if isinstance(error, OSError | ValueError) else "not a .npy header"
        raise InputError(f"{path}: is not a whole .npy file ({reason}); write it again") from None


_REFUSED = "holds pickled objects, which are never loaded; save numbers with np.save(FILE, features.astype('float32'))"


def _open_safetensors(path: Path) -> NDArray[Any]:
    with safe_open(path, framework="numpy") as file:  # which checks the header against the file
        names = list(file.keys())
        name = names[0] if len(names) == 1 else next((name for name in NAMES if name in names), None)
        if name is None:
            found = ", ".join(names[:8]) or "none"
            raise InputError(f"{path}: which tensor has the features? Call it {NAMES[0]!r}; found: {found}")
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
    if dtype not in DTYPES:
        raise InputError(
            f"{path}: tensor {name!r} holds {dtype}, expected F16 or F32; convert it with features.float()"
        )
    if not all(shape):
        return np.zeros(shape, DTYPES[dtype])
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin = json.loads(file.read(length))[name]["data_offsets"][0]
    array: NDArray[Any] = np.memmap(path, DTYPES[dtype], "r", 8 + length + begin, shape)
    return array
