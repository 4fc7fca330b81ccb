"""Features in files: those of the cache, and precomputed ones of users; copies among them."""

import mmap
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.dataset import Dataset
from dbpt.data.paths import is_folder, list_entries
from dbpt.data.tables import read_parquet
from dbpt.errors import InputError
from dbpt.storage.files import map_tensor, open_regular, reason_of

BLOCK_ROWS = 8_192


class StoredFeatures:
    """The features (N, D) float32 of N images. ``features[rows]`` reads rows by a slice or by numbers (n,) int64.

    ``read`` returns the features (n, D) of some ``places`` (n,), of which each image has one. Functions that index a
    NumPy array by blocks of rows take these features too. NumPy itself reads all of them, as ``features[:]`` does.
    """

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(
        self, read: Callable[[NDArray[np.int64]], NDArray[np.float32]], places: NDArray[np.int64], width: int
    ) -> None:
        self._read, self._places, self.shape = read, places, (len(places), width)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self._read(self._places[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def take(self, rows: NDArray[np.int64]) -> "StoredFeatures":
        """Return those of ``rows`` (n,), in their order. Nothing is read."""
        return StoredFeatures(self._read, self._places[rows], self.shape[1])

    def map_blocks(self, compute: Callable[[NDArray[np.float32]], NDArray[Any]]) -> NDArray[Any]:
        """Return what ``compute`` returns for each block of rows, one below the other, (N, ...)."""
        starts = range(0, max(len(self), 1), BLOCK_ROWS)
        return np.concatenate([compute(self[start : start + BLOCK_ROWS]) for start in starts])


def first_copies(features: NDArray[np.float32] | StoredFeatures) -> NDArray[np.int64]:
    """Return for each row of the ``features`` (N, D) the first row with the same ones, (N,) int64.

    Features are compared by a product with odd 64-bit numbers, which differs for different features but for chance.
    """
    odd_D = np.random.default_rng(0).integers(0, 1 << 63, features.shape[1], np.uint64) * 2 + 1

    def products_of(block: NDArray[np.float32]) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = np.ascontiguousarray(block).view(np.uint32) @ odd_D
        return found

    products = features.map_blocks(products_of) if isinstance(features, StoredFeatures) else products_of(features)
    _, first, same = np.unique(products, return_index=True, return_inverse=True)
    found: NDArray[np.int64] = first[same]
    return found


DTYPES: dict[str, np.dtype[Any]] = {f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)}
TENSOR_NAMES = ("features", "embeddings", "image_embeddings", "img_emb")
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle")
AS_NUMBERS = "numbers with np.save(FILE, features.astype('float32'))"
EMBEDDINGS, METADATA, PATH = "img_emb", "metadata", "image_path"


def open_precomputed_features(path: Path, dataset: Dataset, embed_dim: int, model: str) -> StoredFeatures:
    """Return the features (N, D) in the order of ``dataset``, each row divided by its length. All are checked now.

    ``path`` is a file of float16 to float64 whose row i is row i of ``dataset``, or of all rows that it was drawn from,
    or a folder of clip-retrieval, whose rows are found by image path. Whether the features come from ``model`` can only
    be checked by their width.
    """
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        folder = ClipRetrievalFolder(path)
        _check_width(path, folder.width, embed_dim, model)
        part_N, row_N = folder.places_of(dataset)
        parts = folder.parts
    else:
        array = _open_aligned(path, dataset)
        _check_width(path, array.shape[1], embed_dim, model)
        row_N = np.arange(len(dataset)) if dataset.places is None else dataset.places
        part_N, parts = np.zeros(len(row_N), np.int64), [array]

    def read(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        features = _gathered(parts, part_N[rows], row_N[rows])
        features /= _lengths(features)[:, None]
        return features

    for start in range(0, len(dataset), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        lengths = _lengths(_gathered(parts, part_N[block], row_N[block]))
        bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
        if bad.size:
            row = start + int(bad[0])
            problem = "is all zeros" if lengths[bad[0]] == 0 else "holds NaN or an infinity"
            where = f"the features of row {row + 1} ({dataset.where(row)})"
            raise InputError(f"{path}: {where} {problem}; take the row out of both, or embed its image again")
    return StoredFeatures(read, np.arange(len(dataset)), embed_dim)


def _lengths(features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    lengths_N: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", features_ND, features_ND, dtype=np.float64))
    return lengths_N


def _gathered(parts: list[NDArray[Any]], part_N: NDArray[np.int64], row_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of mapped arrays (N, D). What was read of the files doesn't stay in memory beside them."""
    features = np.empty((len(row_N), parts[0].shape[1]), dtype=np.float32)
    for part in np.unique(part_N).tolist():
        array, wanted = parts[part], np.flatnonzero(part_N == part)
        wanted = wanted[np.argsort(row_N[wanted], kind="stable")]  # read in the order of the file
        for start in range(0, len(wanted), BLOCK_ROWS):
            block = wanted[start : start + BLOCK_ROWS]
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which is refused
                features[block] = array[row_N[block]]
            if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                array.base.madvise(mmap.MADV_DONTNEED)
    return features


def check_precomputed_file(path: Path, dataset: Dataset | None = None) -> None:
    """Check a file as far as possible before a model is loaded, or without ``dataset`` before the data are read."""
    if os.path.isdir(path):  # noqa: PTH112 (as above)
        _parts_and_tables(path)  # the rest when it is read
    elif dataset is None:
        open_array(path)
    else:
        _open_aligned(path, dataset)


def _open_aligned(path: Path, dataset: Dataset) -> NDArray[Any]:
    array, listed = open_array(path), len(dataset) if dataset.places is None else dataset.num_listed
    if len(array) != listed:
        found = f"has {len(array)} rows, {dataset.source} has {listed}"
        raise InputError(f"{path}: {found}; row i must be the same in both")
    return array


def _check_width(path: Path, width: int, embed_dim: int, model: str) -> None:
    if width != embed_dim:
        way_out = "name the model that made them with --model and --pretrained"
        raise InputError(f"{path}: rows of {width} numbers, but {model} gives {embed_dim}; {way_out}")


def open_array(path: Path) -> NDArray[Any]:
    """Map the (N, D) floats in a file; in a ``.safetensors`` the only tensor, or one of `TENSOR_NAMES`."""
    from safetensors import SafetensorError  # not needed by samplers, group weights, metrics and guesses

    suffix = path.suffix.lower()
    if suffix in PICKLES:
        way_out = "safetensors.torch.save_file({'features': features}, 'features.safetensors')"
        raise InputError(f"{path}: is a pickle, which is never loaded; save the tensor with {way_out}")
    if suffix not in (".npy", ".safetensors"):
        expected = "a .npy or .safetensors file, or a folder that clip-retrieval has written"
        raise InputError(f"{path}: expected {expected}; np.save(FILE, features) writes the first")
    try:
        open_regular(path).close()
        array = open_npy(path) if suffix == ".npy" else _open_safetensors(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot read the features: {reason_of(error)}") from None
    if array.dtype not in DTYPES.values():
        expected = "float16, float32 or float64; convert it with features.astype('float32')"
        raise InputError(f"{path}: holds {array.dtype}, expected {expected}")
    if array.ndim != 2:
        raise InputError(f"{path}: has the shape {array.shape}, expected (rows, width), a row an image")
    return array


def open_npy(path: Path, name: str = "features", way_out: str = AS_NUMBERS) -> NDArray[Any]:
    """Map the array in a ``.npy`` file, which has no pickled objects; ``way_out`` says how to save without."""
    refused = f"holds pickled objects, which are never loaded; save {way_out}"
    with path.open("rb") as file:
        start = file.read(6)
    if start[:1] == b"\x80":
        raise InputError(f"{path}: {refused}")
    if start != b"\x93NUMPY":
        raise InputError(f"{path}: is not a .npy file; write it with np.save(FILE, {name})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
            return array
    except Exception as error:  # NumPy's parser raises anything for a wrong header
        if "Python objects" in str(error):
            raise InputError(f"{path}: {refused}") from None
        # The messages of NumPy's own errors help; those of Python's parser, which it doesn't catch, don't.
        reason = reason_of(error)[:120] if isinstance(error, OSError | ValueError) else "not a .npy header"
        raise InputError(f"{path}: is not a whole .npy file ({reason}); write it again") from None


def _open_safetensors(path: Path) -> NDArray[Any]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:  # checks the header
        names = list(file.keys())
        name = names[0] if len(names) == 1 else next((name for name in TENSOR_NAMES if name in names), None)
        if name is None:
            found = ", ".join(names[:8]) or "none"
            raise InputError(f"{path}: which tensor has the features? Call it {TENSOR_NAMES[0]!r}; found: {found}")
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
    if dtype not in DTYPES:
        expected = "F16, F32 or F64; convert it with features.float()"
        raise InputError(f"{path}: tensor {name!r} holds {dtype}, expected {expected}")
    if not all(shape):
        return np.zeros(shape, DTYPES[dtype])
    return map_tensor(path, name, DTYPES[dtype], shape)


class ClipRetrievalFolder:
    """A folder of clip-retrieval: its memory-mapped parts, and the part and row of each image."""

    def __init__(self, folder: Path) -> None:
        """Open every part. Raises `InputError` if one has no table, another width, or another number of rows."""
        self.folder = folder
        arrays, tables = _parts_and_tables(folder)
        numbers = sorted(arrays)
        self.parts = [open_array(arrays[number]) for number in numbers]
        self.width = int(self.parts[0].shape[1])
        self.places: dict[str, tuple[int, int]] = {}
        self.repeated: set[str] = set()
        for part, number in enumerate(numbers):
            array, file, table = self.parts[part], arrays[number], tables[number]
            names = read_parquet(table, (PATH,)).values[PATH]
            if len(names) != len(array):
                raise InputError(f"{file}: has {len(array)} rows, {table.name} has {len(names)}; copy both again")
            if array.shape[1] != self.width:
                first = arrays[numbers[0]].name
                raise InputError(f"{file}: rows of {array.shape[1]} numbers, in {first} of {self.width}")
            for row, name in enumerate(names):
                if name in self.places:
                    self.repeated.add(name)
                self.places[name] = part, row

    def places_of(self, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return part and row (N,) of the images of ``dataset``. Raises `InputError` if one is missing or twice."""
        found = [self._find(path, dataset.root) for path in dataset.paths]
        if not any(found):  # other folders than ours, perhaps: find the one name that ends with the first path
            names = [name for name in self.places if name.endswith(f"/{dataset.paths[0]}")]
            if len(names) == 1:
                prefix = names[0].removesuffix(dataset.paths[0])
                found = [self._find(prefix + path, dataset.root) for path in dataset.paths]
        places = [place for place in found if place is not None]
        if len(places) < len(found):
            row = found.index(None)
            raise InputError(
                f"{dataset.where(row)}: image {dataset.paths[row]!r} is not in the metadata of {self.folder} "
                f"({len(found) - len(places)} of {len(found)} are not there); write paths as its {PATH} does, for "
                f"example {next(iter(self.places), '')!r}"
            )
        part_N, row_N = np.array(places, dtype=np.int64).T
        return part_N, row_N

    def _find(self, path: str, root: Path) -> tuple[int, int] | None:
        """Return the part and row of an image, by its path as it is or below ``root``."""
        for name in (path, os.path.normpath(root / path)):
            if name in self.repeated:
                raise InputError(f"{self.folder / METADATA}: {name!r} occurs in more than one row; keep one")
            if name in self.places:
                return self.places[name]
        return None


def _parts_and_tables(folder: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    arrays, tables = _numbered(folder, EMBEDDINGS, ".npy"), _numbered(folder, METADATA, ".parquet")
    for number in arrays.keys() ^ tables.keys():
        alone = arrays.get(number) or tables[number]
        raise InputError(f"{alone}: has no partner of number {number} in {EMBEDDINGS}/ or {METADATA}/; copy both")
    if not arrays:
        raise InputError(f"{folder}: holds no {EMBEDDINGS}/{EMBEDDINGS}_0.npy; is it what clip-retrieval wrote?")
    return arrays, tables


def _numbered(folder: Path, kind: str, suffix: str) -> dict[int, Path]:
    """Return the files ``kind/kind_N.suffix`` by N, which may have leading zeros."""
    found: dict[int, Path] = {}
    for entry in list_entries(folder / kind) if is_folder(folder / kind) else []:
        path = folder / kind / entry.name
        number = path.stem.removeprefix(f"{kind}_")
        if path.suffix == suffix and path.stem != number and number.isdecimal() and number.isascii():
            if int(number) in found:
                raise InputError(f"{path}: has the number of {found[int(number)].name}; keep one")
            found[int(number)] = path
    return found
