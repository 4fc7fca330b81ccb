"""Given features in the order of a data set's rows, of the backbone's width and of length 1; or one line on why not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import Dataset
from dbpt.data.precomputed.arrays import open_array
from dbpt.data.precomputed.clip_retrieval import PATH, ClipRetrievalFolder
from dbpt.errors import InputError

BLOCK_ROWS = 65_536


def read_given_features(path: Path, dataset: Dataset, embed_dim: int, model: str) -> NDArray[np.float32]:
    """(N, D) float32, rows of length 1 whatever length they had, in the order of ``dataset``.

    A file is mapped, and read in blocks. That its features are those of ``model`` only their width can tell.

    Args:
        path: ``.npy`` or ``.safetensors``, whose row i is row i of ``dataset``; or a folder of clip-retrieval, whose
            rows are found by their image paths.
        dataset: the rows that are wanted.
        embed_dim: D of the model that goes on with the features.
        model: its name, for the message.

    Raises:
        InputError: as `open_array`; another number of rows, another width, a row with NaN or an infinity or of zeros
            alone, an image that the folder does not have.
    """
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        folder = ClipRetrievalFolder(path)
        _check_width(path, folder.width, embed_dim, model)
        features = _gathered(folder, dataset)
    else:
        array = open_aligned(path, dataset)
        _check_width(path, array.shape[1], embed_dim, model)
        features = np.empty(array.shape, dtype=np.float32)
        for start in range(0, len(array), BLOCK_ROWS):
            features[start : start + BLOCK_ROWS] = array[start : start + BLOCK_ROWS]
    for start in range(0, len(features), BLOCK_ROWS):
        _normalise(features[start : start + BLOCK_ROWS], start, path, dataset)
    return features


def open_aligned(path: Path, dataset: Dataset) -> NDArray[Any]:
    """Map a file that has a row for each of ``dataset``. Raises `InputError` as `open_array`, or for another number."""
    array = open_array(path)
    if len(array) != len(dataset):
        raise InputError(
            f"{path}: has {len(array)} rows, {dataset.source} has {len(dataset)}; row i must be the same in both"
        )
    return array


def check_given_file(path: Path, dataset: Dataset) -> None:
    """What can be told of a file before a model is loaded, as `open_aligned` tells it; a folder is left for later."""
    if not os.path.isdir(path):  # noqa: PTH112 (as above)
        open_aligned(path, dataset)


def _check_width(path: Path, width: int, embed_dim: int, model: str) -> None:
    if width != embed_dim:
        raise InputError(
            f"{path}: rows of {width} numbers, but {model} gives {embed_dim}; name the model "
            "that made them with --model and --pretrained"
        )


def _gathered(folder: ClipRetrievalFolder, dataset: Dataset) -> NDArray[np.float32]:
    found = [folder.find(path, dataset.root) for path in dataset.paths]
    if not any(found) and (beginning := folder.beginning(dataset.paths[0])):
        found = [folder.find(beginning + path, dataset.root) for path in dataset.paths]
    places = [place for place in found if place is not None]
    if len(places) < len(found):
        row = found.index(None)
        example = next(iter(folder.places), "")
        raise InputError(
            f"{dataset.where(row)}: image {dataset.paths[row]!r} is in no metadata of {folder.folder} "
            f"({len(found) - len(places)} of {len(found)} are not there); write paths as its {PATH} does, for example "
            f"{example!r}"
        )
    return folder.gather(places)


def _normalise(block: NDArray[np.float32], start: int, path: Path, dataset: Dataset) -> None:
    """Give every row of a block, which begins at row ``start``, the length 1."""
    lengths = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if bad.size:
        row = int(bad[0])
        problem = "is all zeros" if lengths[row] == 0 else "holds NaN or an infinity"
        raise InputError(
            f"{path}: the features of row {start + row + 1} ({dataset.where(start + row)}) {problem}; take the row out "
            "of both, or embed its image again"
        )
    block /= lengths[:, None]
