"""Features in files: those of the cache, and precomputed ones of users; copies among them."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import tables
from dbpt.data.columns import column_position
from dbpt.data.dataset import Dataset
from dbpt.data.paths import import_pyarrow, is_folder, list_entries
from dbpt.errors import InputError
from dbpt.storage.files import DTYPES, TENSOR_NAMES, open_npy, open_regular, open_safetensors, reason_of

BLOCK_ROWS = 8_192
MAX_FAILURES = 0.01
"""The fraction of images that may be unreadable, by default."""


class StoredFeatures:
    """The features (N, D) float32 of N images. ``features[rows]`` reads rows by a slice or by numbers (n,) int64.

    ``read`` returns the features (n, D) at some ``positions`` (n,), of which each image has one. Functions that index a
    NumPy array by blocks of rows take these features too. NumPy itself reads all of them, as ``features[:]`` does.
    """

    ndim, dtype = 2, np.dtype(np.float32)

    def __init__(
        self, read: Callable[[NDArray[np.int64]], NDArray[np.float32]], positions: NDArray[np.int64], width: int
    ) -> None:
        self._read, self._positions, self.shape = read, positions, (len(positions), width)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        return self._read(self._positions[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def take(self, rows: NDArray[np.int64]) -> "StoredFeatures":
        """Return the features of ``rows`` (n,), in this order, without reading them."""
        return StoredFeatures(self._read, self._positions[rows], self.shape[1])


def map_blocks(
    features: NDArray[Any] | StoredFeatures,
    compute: Callable[[NDArray[Any]], NDArray[Any]],
    rows: NDArray[np.int64] | None = None,
) -> NDArray[Any]:
    """Return what ``compute`` returns for each block of ``features`` (N, D), one below the other, (n, ...).

    Only a block at a time is in memory. ``rows`` (n,) are taken in their order, by default all.
    """
    number = len(features) if rows is None else len(rows)
    results: NDArray[Any] | None = None
    for start in range(0, max(number, 1), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        result = compute(features[block if rows is None else rows[block]])
        if results is None:
            results = np.empty((number, *result.shape[1:]), result.dtype)
        results[block] = result
    assert results is not None
    return results


def first_copies(features: NDArray[np.float32] | StoredFeatures) -> NDArray[np.int64]:
    """Return for each row of the ``features`` (N, D) the first row with the same ones, (N,) int64.

    Features are compared by a product with odd 64-bit numbers, which differs for different features but for chance.
    """
    # np.unique(axis=0) would sort whole rows, and need all of them in memory.
    odd_D = np.random.default_rng(0).integers(0, 1 << 63, features.shape[1], np.uint64) * 2 + 1

    def products_of(block: NDArray[np.float32]) -> NDArray[np.uint64]:
        products: NDArray[np.uint64] = np.ascontiguousarray(block).view(np.uint32) @ odd_D
        return products

    _, first, same = np.unique(map_blocks(features, products_of), return_index=True, return_inverse=True)
    firsts: NDArray[np.int64] = first[same]
    return firsts


PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle")
EMBEDDINGS, METADATA, IMAGE_PATH = "img_emb", "metadata", "image_path"


def open_precomputed_features(path: Path, dataset: Dataset, embed_dim: int, model: str) -> StoredFeatures:
    """Return the features (N, D) in the order of ``dataset``, each row divided by its length. All are checked now.

    ``path`` is a file of float16 to float64 whose row i is row i of ``dataset``, or of all rows that it was drawn from,
    or a Parquet file, a folder of such, or a folder of clip-retrieval, whose rows are found by image path. Whether the
    features come from ``model`` can only be checked by their width.
    """
    if _rows_have_paths(path):
        folder = FeaturesByPath(path)
        _check_width(path, folder.width, embed_dim, model)
        part_N, row_N = folder.positions_of(dataset)
        parts = folder.parts
    else:
        array = _open_aligned(path, dataset)
        _check_width(path, array.shape[1], embed_dim, model)
        row_N = np.arange(len(dataset)) if dataset.places is None else dataset.places
        part_N = np.zeros(len(row_N), np.int64)
        parts = [array]

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
            problem = "are all zero" if lengths[bad[0]] == 0 else "contain NaN or an infinity"
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
    """Check features as far as possible before a model is loaded, or without ``dataset`` before the data are read."""
    if _rows_have_paths(path):
        if not _parquet_files(path):
            _parts_and_tables(path)  # the rest when it is read
    elif dataset is None:
        open_array(path)
    else:
        _open_aligned(path, dataset)


def _rows_have_paths(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" or os.path.isdir(path)  # noqa: PTH112 (is_dir raises on a long name)


def _open_aligned(path: Path, dataset: Dataset) -> NDArray[Any]:
    array = open_array(path)
    listed = len(dataset) if dataset.places is None else dataset.num_listed
    if len(array) != listed:
        problem = f"has {len(array)} rows, {dataset.source} has {listed}"
        raise InputError(f"{path}: {problem}; row i must be the same in both")
    return array


def _check_width(path: Path, width: int, embed_dim: int, model: str) -> None:
    if width != embed_dim:
        hint = "name the model that made them with --model and --pretrained"
        raise InputError(f"{path}: rows of {width} numbers, but {model} gives {embed_dim}; {hint}")


def open_array(path: Path) -> NDArray[Any]:
    """Map the (N, D) floats in a file; in a ``.safetensors`` the only tensor, or one of `TENSOR_NAMES`.

    The column of a ``.parquet`` with one of these names is held in memory.
    """
    from safetensors import SafetensorError  # not needed by samplers, group weights, metrics and guesses

    suffix = path.suffix.lower()
    if suffix in PICKLES:
        hint = "safetensors.torch.save_file({'features': features}, 'features.safetensors')"
        raise InputError(f"{path}: is a pickle, which is never loaded; save the tensor with {hint}")
    if suffix not in OPENERS:
        expected = "a .npy, .safetensors or .parquet file, or a folder of .parquet files or of clip-retrieval"
        raise InputError(f"{path}: expected {expected}; np.save(FILE, features) writes the first")
    try:
        open_regular(path).close()
        array = OPENERS[suffix](path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot read the features: {reason_of(error)}") from None
    if array.dtype not in DTYPES.values():
        expected = "float16, float32 or float64; convert it with features.astype('float32')"
        raise InputError(f"{path}: holds {array.dtype}, expected {expected}")
    if array.ndim != 2:
        raise InputError(f"{path}: has the shape {array.shape}, expected (rows, width), a row an image")
    return array


class FeaturesByPath:
    """Features in several files, and the part and row of each image: of clip-retrieval, or Parquet files."""

    def __init__(self, path: Path) -> None:
        """Open every part. Raises `InputError` if one has no table, another width, or another number of rows."""
        self.path = path
        self.parts: list[NDArray[Any]] = []
        self.positions: dict[str, tuple[int, int]] = {}  # part and row of each name
        self.repeated: set[str] = set()
        files = _parquet_files(path)
        self.names, self.column = (path, tables.PATH) if files else (path / METADATA, IMAGE_PATH)
        for file, table in [(file, file) for file in files] or _parts_and_tables(path):
            self._add(file, table)
        self.width = int(self.parts[0].shape[1])

    def _add(self, file: Path, table: Path) -> None:
        array = open_array(file)
        names = tables.read_parquet(table, (self.column,)).values[self.column]
        if len(names) != len(array):
            raise InputError(f"{file}: has {len(array)} rows, {table.name} has {len(names)}; copy both again")
        if self.parts and array.shape[1] != self.parts[0].shape[1]:
            expected = f"expected {self.parts[0].shape[1]}, as in the files before it"
            raise InputError(f"{file}: its rows have {array.shape[1]} numbers, {expected}")
        for row, name in enumerate(names):
            if name in self.positions:
                self.repeated.add(name)
            self.positions[name] = len(self.parts), row
        self.parts.append(array)

    def positions_of(self, dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return part and row (N,) of the images of ``dataset``. Raises `InputError` if one is missing or twice."""
        of_images = [self._find(path, dataset.root) for path in dataset.paths]
        if not any(of_images):  # perhaps from other folders than ours: find the one name that ends with the first path
            names = [name for name in self.positions if name.endswith(f"/{dataset.paths[0]}")]
            if len(names) == 1:
                prefix = names[0].removesuffix(dataset.paths[0])
                of_images = [self._find(prefix + path, dataset.root) for path in dataset.paths]
        positions = [position for position in of_images if position is not None]
        if len(positions) < len(of_images):
            row = of_images.index(None)
            problem = f"is not in {self.names} ({of_images.count(None)} of {len(of_images)} images are missing)"
            hint = f"write paths as its column {self.column} does, for example {next(iter(self.positions), '')!r}"
            raise InputError(f"{dataset.where(row)}: image {dataset.paths[row]!r} {problem}; {hint}")
        part_N, row_N = np.array(positions, dtype=np.int64).T
        return part_N, row_N

    def _find(self, path: str, root: Path) -> tuple[int, int] | None:
        """Return the part and row of an image, by its path as it is or below ``root``."""
        for name in (path, os.path.normpath(root / path)):
            if name in self.repeated:
                raise InputError(f"{self.names}: {name!r} occurs in more than one row; keep one")
            if name in self.positions:
                return self.positions[name]
        return None


def _parquet_files(path: Path) -> list[Path]:
    """Return the Parquet files that ``path`` is or holds, by name."""
    entries = [path / entry.name for entry in list_entries(path)] if is_folder(path) else [path]
    return sorted(entry for entry in entries if entry.suffix.lower() == ".parquet")


def _open_parquet(file: Path) -> NDArray[Any]:
    """Return the column of lists of floats (N, D) that is named as one of `TENSOR_NAMES`."""
    pyarrow = import_pyarrow(file, "parquet")
    import pyarrow.parquet as parquet

    try:
        names = parquet.read_schema(file).names
        name = next((name for name in TENSOR_NAMES if name in names), None)
        if name is None:
            present = ", ".join(names[:8]) or "none"
            raise InputError(f"{file}: which column has the features? Call it {TENSOR_NAMES[0]!r}; found: {present}")
        column_position(str(file), names, name)  # refuses a second one
        with parquet.ParquetFile(file) as opened:
            chunks = opened.read(columns=[name]).column(0).chunks
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as Parquet ({reason_of(error)[:200]}); write it again") from None
    rows, blocks = 0, list[NDArray[Any]]()
    for chunk in chunks:
        lists = getattr(chunk, "storage", chunk)  # a tensor type, such as Ray's, stores lists
        kind = lists.type
        if not hasattr(kind, "value_type") or not pyarrow.types.is_floating(kind.value_type):
            raise InputError(f"{file}: column {name!r} holds {str(kind)[:80]}, expected lists of float16 to float64")
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        width = blocks[0].shape[1] if blocks else int(lengths[0]) if len(lengths) else 0
        wrong = np.flatnonzero((lengths != width) | (lengths == 0))
        if wrong.size:
            row, length = rows + int(wrong[0]) + 1, lengths[wrong[0]]
            raise InputError(f"{file} row {row}: {name} has {length} numbers, expected {width or 'some'}")
        if len(lists):
            blocks.append(lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width))
        rows += len(lists)
    if not blocks:
        raise InputError(f"{file}: has columns but no rows; expected one row per image")
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _parts_and_tables(folder: Path) -> list[tuple[Path, Path]]:
    """Return the files of features of a folder of clip-retrieval, each with the table of its paths, by number."""
    arrays, tables = _numbered(folder, EMBEDDINGS, ".npy"), _numbered(folder, METADATA, ".parquet")
    for number in sorted(arrays.keys() ^ tables.keys()):
        alone = arrays.get(number) or tables[number]
        raise InputError(f"{alone}: no file of number {number} in both {EMBEDDINGS}/ and {METADATA}/; copy both")
    if not arrays:
        expected = f"{EMBEDDINGS}/{EMBEDDINGS}_0.npy of clip-retrieval or a .parquet file"
        raise InputError(f"{folder}: holds no features, expected {expected}")
    return [(arrays[number], tables[number]) for number in sorted(arrays)]


OPENERS: dict[str, Callable[[Path], NDArray[Any]]] = {
    ".npy": open_npy,
    ".safetensors": open_safetensors,
    ".parquet": _open_parquet,
}


def _numbered(folder: Path, kind: str, suffix: str) -> dict[str, Path]:
    """Return the files ``kind/kind_N.suffix`` by N, as it is written."""
    entries = list_entries(folder / kind) if is_folder(folder / kind) else []
    files = [folder / kind / entry.name for entry in entries if entry.name.endswith(suffix)]
    return {file.stem.removeprefix(f"{kind}_"): file for file in files}
