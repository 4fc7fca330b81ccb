"""A Dataset or DatasetDict of Hugging Face's datasets as DATA: it is saved in the cache folder and read from there.

So a run can be resumed and evaluated by a path, even if the files of Hugging Face are deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dbpt.data.huggingface import check_split_names
from dbpt.errors import InputError
from dbpt.files.disk import default_cache_dir, expanded, reason_of, system_errors

if TYPE_CHECKING:
    import datasets

logger = logging.getLogger(__name__)

HuggingFaceData: TypeAlias = "datasets.Dataset | datasets.DatasetDict"
COPIED = ("Image", "ClassLabel", "Value")  # features of the copied columns; audio and nested ones are left out


def materialize(data: str | Path | HuggingFaceData, cache: str | Path | None = None) -> str:
    """Return a name or path as it is; save an object in the cache, unless that was done before, and return its folder.

    A copy is identified by the fingerprints of datasets, and by size and modification time of images that are files.
    """
    if isinstance(data, str | os.PathLike):
        return str(data)
    splits = {}
    for name, split in _splits_of(data).items():
        columns = [column for column, kind in split.features.items() if type(kind).__name__ in COPIED]
        # Rows as they are stored; formats and transforms only apply when rows are read.
        splits[name] = split.with_format(None).select_columns(columns)
    name = next(iter(splits.values())).info.dataset_name or "dataset"
    place = Path(expanded(cache) if cache else default_cache_dir()) / "datasets" / _digest(splits)
    folder = place / re.sub(r"[^\w-]", "_", name)
    if not folder.is_dir():
        logger.info(f"saving {sum(map(len, splits.values()))} rows as {folder}")
        _save(splits, place, folder.name)
    return str(folder)


def _splits_of(data: Any) -> dict[str, datasets.Dataset]:
    """Return the splits of a DatasetDict, or a Dataset under the empty name."""
    datasets = sys.modules.get("datasets")  # an object exists only if it was imported
    if datasets and isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        problem = "which is streamed, and rows are read more than once; load it with streaming=False"
        raise InputError(f"data is a {type(data).__name__}, {problem}")
    if datasets and isinstance(data, datasets.Dataset):
        return {"": data}
    if datasets and isinstance(data, datasets.DatasetDict):
        if not data:
            raise InputError("data is a DatasetDict without a split; put Datasets in, under train, val and test")
        check_split_names(data, "data")
        return dict(data)
    expected = "expected a name, a path, a DataFrame, or a Dataset of dbpt or of datasets"
    raise InputError(f"data is a {type(data).__module__}.{type(data).__qualname__}; {expected}")


def _digest(splits: dict[str, datasets.Dataset]) -> str:
    import pyarrow.compute as compute

    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(json.dumps([name, split._fingerprint]).encode())
        for column in (column for column, kind in split.features.items() if type(kind).__name__ == "Image"):
            images = split.data.column(column)  # including rows outside a selection
            without_bytes = compute.is_null(compute.struct_field(images, "bytes"))
            files = compute.struct_field(images, "path").filter(without_bytes).to_pylist()
            for file in (file for file in files if file is not None):
                with system_errors(f"data: image {file!r} is not a file here", "download it, or leave its row out"):
                    found = os.stat(file)  # noqa: PTH116 (once an image)
                digest.update(f"{found.st_size} {found.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _save(splits: dict[str, datasets.Dataset], place: Path, name: str) -> None:
    """Save as ``name`` in the new folder ``place``, unless another process does so meanwhile."""
    from dbpt.files.whole_folder import whole_folder  # not needed to read labels

    try:
        with whole_folder(place) as copy:
            whole = splits[""] if "" in splits else sys.modules["datasets"].DatasetDict(splits)
            whole.save_to_disk(str(copy / name))
            for path in (path for path in copy.rglob("*") if path.is_file()):
                with path.open("rb") as file:
                    os.fsync(file.fileno())
    except OSError as error:
        if not (place / name).is_dir():  # else another process finished first
            raise InputError(f"{place / name}: cannot save the data set there: {reason_of(error)}") from None
