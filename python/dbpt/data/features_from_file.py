"""Precomputed features of users, in files whose rows are those of the data or have paths."""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import tables
from dbpt.data.columns import column_position
from dbpt.data.dataset import Dataset
from dbpt.data.paths import import_pyarrow, is_folder, list_entries
from dbpt.data.stored_features import BLOCK_ROWS, StoredFeatures, read_blocks
from dbpt.data.text_array import TextIndex, Texts
from dbpt.errors import InputError
from dbpt.storage import row_files
from dbpt.storage.files import check_readable, open_regular, reason_of
from dbpt.storage.tensors import DTYPES, name_of_features, open_npy, open_safetensors

MAX_FAILURES = 0.01
"""The fraction of images that may be unreadable, by default."""
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
        _check_width(path, folder.parts[0].shape[1], embed_dim, model)
        parts, rows = folder.parts, folder.rows_of(dataset)
    else:
        parts = [open_rows(path)]
        _check_number(path, parts[0].shape[0], dataset)
        _check_width(path, parts[0].shape[1], embed_dim, model)
        rows = np.arange(len(dataset)) if dataset.places is None else dataset.places
    lengths, digest = np.empty(len(rows), np.float32), hashlib.sha256()
    for block, features in read_blocks(StoredFeatures(parts, rows, embed_dim)):
        lengths[block] = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
        bad = np.flatnonzero(~np.isfinite(lengths[block]) | (lengths[block] == 0))
        if bad.size:
            row = block.start + int(bad[0])
            problem = "are all zero" if lengths[row] == 0 else "contain NaN or an infinity"
            where = f"the features of row {row + 1} ({dataset.where(row)})"
            raise InputError(f"{path}: {where} {problem}; take the row out of both, or embed its image again")
        digest.update(features.data)
    return StoredFeatures(parts, rows, embed_dim, lengths=lengths, digest=digest.hexdigest())


def check_precomputed_file(path: Path, dataset: Dataset | None = None) -> None:
    """Check features as far as possible before a model is loaded, or without ``dataset`` before the data are read."""
    if _rows_have_paths(path):
        if not _parquet_files(path):
            _parts_and_tables(path)  # the rest when it is read
    elif dataset is None:
        _open_array(path)
    else:
        _check_number(path, len(_open_array(path)), dataset)


def _rows_have_paths(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" or os.path.isdir(path)  # noqa: PTH112 (is_dir raises on a long name)


def _check_number(path: Path, number: int, dataset: Dataset) -> None:
    listed = len(dataset) if dataset.places is None else dataset.num_listed
    if number != listed:
        problem = f"has {number} rows, {dataset.source} has {listed}"
        raise InputError(f"{path}: {problem}; row i must be the same in both")


def _check_width(path: Path, width: int, embed_dim: int, model: str) -> None:
    if width != embed_dim:
        hint = f"make them with {model} or, without a run, name their model with --model and --pretrained"
        raise InputError(f"{path}: rows of {width} numbers, but {model} gives {embed_dim}; {hint}")


def open_rows(path: Path) -> row_files.Rows:
    """Return the (N, D) floats in a file; in a ``.safetensors`` the only tensor, or one of `TENSOR_NAMES`.

    The column of a ``.parquet`` with one of these names, and an array that is stored by columns, are copied to a
    temporary file, since single rows of these can't be read.
    """
    if path.suffix.lower() == ".parquet":
        check_readable(path, "features")
        return row_files.CopiedRows(path, _parquet_blocks(path))
    array = _open_array(path)
    if isinstance(array, np.memmap) and array.flags.c_contiguous:
        return row_files.RowsFile(path, array.dtype, array.shape, array.offset)
    blocks = (array[start : start + BLOCK_ROWS] for start in range(0, max(len(array), 1), BLOCK_ROWS))
    return row_files.CopiedRows(path, blocks)


def _open_array(path: Path) -> NDArray[Any]:
    """Map the array in a file that is no Parquet. Its type and shape are checked, its numbers aren't read."""
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
    """Features in several files, and the row of each image, counted through all: of clip-retrieval, or Parquet."""

    def __init__(self, path: Path) -> None:
        """Open every part. Raises `InputError` if one has no table, another width, or another number of rows."""
        self.parts: list[row_files.Rows] = []
        files = _parquet_files(path)
        self.tables, self.column = (path, tables.PATH) if files else (path / METADATA, IMAGE_PATH)
        pairs = [(file, file) for file in files] or _parts_and_tables(path)
        self.names = Texts.of(chain.from_iterable(self._added(*pair) for pair in pairs))

    def _added(self, file: Path, table: Path) -> Texts:
        """Return the names of the rows of another file."""
        rows = open_rows(file)
        names = tables.read_parquet(table, (self.column,)).texts(self.column)
        if len(names) != rows.shape[0]:
            raise InputError(f"{file}: has {rows.shape[0]} rows, {table.name} has {len(names)}; copy both again")
        if self.parts and rows.shape[1] != self.parts[0].shape[1]:
            expected = f"expected {self.parts[0].shape[1]}, as in the files before it"
            raise InputError(f"{file}: its rows have {rows.shape[1]} numbers, {expected}")
        self.parts.append(rows)
        return names

    def rows_of(self, dataset: Dataset) -> NDArray[np.int64]:
        """Return the row (N,) of each image of ``dataset``. Raises `InputError` if one is missing or twice."""
        index, paths = TextIndex(self.names), Texts.of(dataset.paths)
        row_N = _find(index, paths, dataset.root)
        if (row_N < 0).all():
            # Perhaps they are from other folders than ours: find the one name that ends with the first path.
            names = {name for name in self.names if name.endswith(f"/{paths[0]}")}
            if len(names) == 1:
                prefix = names.pop().removesuffix(paths[0])
                row_N = _find(index, Texts.of(prefix + path for path in paths), dataset.root)
        is_repeated = np.isin(row_N, [first for _, first in self.names.repeated()])
        for row in row_N[is_repeated][:1].tolist():
            raise InputError(f"{self.tables}: {self.names[row]!r} occurs in more than one row; keep one")
        missing = np.flatnonzero(row_N < 0)
        for row in missing[:1].tolist():
            problem = f"is not in {self.tables} ({len(missing)} of {len(row_N)} images are missing)"
            hint = f"write paths as its column {self.column} does, for example {self.names[0]!r}"
            raise InputError(f"{dataset.where(row)}: image {paths[row]!r} {problem}; {hint}")
        return row_N


def _find(index: TextIndex, paths: Texts, root: Path) -> NDArray[np.int64]:
    """Return the row of each image (N,), by its path as it is or below ``root``; -1 where there is none."""
    row_N = index.find(paths)
    if (others := np.flatnonzero(row_N < 0)).size:
        below = Texts.of(os.path.normpath(os.path.join(root, path)) for path in paths.take(others))  # noqa: PTH118 (fast)
        row_N[others] = index.find(below)
    return row_N


def _parquet_files(path: Path) -> list[Path]:
    """Return the Parquet files that ``path`` is or holds, by name."""
    entries = [path / entry.name for entry in list_entries(path)] if is_folder(path) else [path]
    return sorted(entry for entry in entries if entry.suffix.lower() == ".parquet")


def _parquet_blocks(file: Path) -> Iterator[NDArray[Any]]:
    """Yield the column of lists of floats (N, D) that is named as one of `TENSOR_NAMES`, some rows at a time."""
    pyarrow = import_pyarrow(file)
    import pyarrow.parquet as parquet

    rows, first = 0, None
    try:
        names = parquet.read_schema(file).names
        name = name_of_features(file, names, "column")
        column_position(str(file), names, name)  # refuses a second one
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(BLOCK_ROWS, columns=[name]):
                chunk = batch.column(0)
                lists = getattr(chunk, "storage", chunk)  # a tensor type, such as Ray's, stores lists
                kind = lists.type
                if not hasattr(kind, "value_type") or not pyarrow.types.is_floating(kind.value_type):
                    expected = "expected lists of float16 to float64"
                    raise InputError(f"{file}: column {name!r} holds {str(kind)[:80]}, {expected}")
                lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
                width = int(lengths[0]) if first is None and len(lengths) else first or 0
                wrong = np.flatnonzero((lengths != width) | (lengths == 0))
                if wrong.size:
                    row, length = rows + int(wrong[0]) + 1, lengths[wrong[0]]
                    raise InputError(f"{file} row {row}: {name} has {length} numbers, expected {width or 'some'}")
                if len(lists):
                    first, rows = width, rows + len(lists)
                    yield lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as Parquet ({reason_of(error)[:200]}); write it again") from None
    if first is None:
        raise InputError(f"{file}: has columns but no rows; expected one row per image")


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
}


def _numbered(folder: Path, kind: str, suffix: str) -> dict[str, Path]:
    """Return the files ``kind/kind_N.suffix`` by N, as it is written."""
    entries = list_entries(folder / kind) if is_folder(folder / kind) else []
    files = [folder / kind / entry.name for entry in entries if entry.name.endswith(suffix)]
    return {file.stem.removeprefix(f"{kind}_"): file for file in files}
