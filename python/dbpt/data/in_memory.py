"""Rows in memory as DATA: a pandas DataFrame, or a `Dataset`.

`save_table` writes them as a table, so that a run can be resumed and evaluated by a path.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dbpt.data.columns import Columns, DataRequest, cell_text, column_position
from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.paths import absolute, common_root
from dbpt.data.table_formats import dataset_of, wanted_columns
from dbpt.errors import InputError, optional_module
from dbpt.files.disk import system_errors, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from dbpt.data.huggingface_objects import HuggingFaceData

DataLike: TypeAlias = "str | os.PathLike[str] | Dataset | pd.DataFrame | HuggingFaceData"
"""Whatever has DATA in its place takes: a name or path, or rows in memory."""

logger = logging.getLogger(__name__)

FRAME = Path("DataFrame")  # where a row of one is, in messages
HINT = "; name the columns, for example columns={'label': 'y'}"


def is_in_memory(data: object) -> bool:
    """Return whether ``data`` is a `Dataset` or a pandas DataFrame, without importing pandas."""
    pandas = sys.modules.get("pandas")  # whoever has such an object has imported it
    return isinstance(data, Dataset) or (pandas is not None and isinstance(data, pandas.DataFrame))


def import_pandas() -> Any:
    """Return the module. Raises `InputError` if it is not installed."""
    return optional_module("pandas", "a data frame", "pandas")


def read_frame(frame: pd.DataFrame, request: DataRequest) -> Dataset:
    """Read a DataFrame as a table; its index is ignored.

    Without a root, paths are relative to the working directory, or to their common folder if they are absolute.
    """
    columns = frame_columns(frame, FRAME, *wanted_columns(request), hint=HINT)
    paths = columns.values.get(request.column_names["path"], [])
    return dataset_of(columns, request.root or common_root(paths) or absolute("."), request, "dataframe")


def frame_columns(
    frame: Any, path: Path, required: Sequence[str], optional: Sequence[str] = (), hint: str = ""
) -> Columns:
    """Return the named columns of a data frame of pandas or polars, which messages call ``path``."""
    header = [str(name) for name in frame.columns]
    wanted = [*required, *(name for name in optional if name in header)]
    positions = {name: column_position(str(path), header, name, hint) for name in wanted}
    if not len(frame):
        raise InputError(f"{path}: has columns but no rows; expected one row per image")
    of_pandas = hasattr(frame, "iloc")
    values = {
        name: _cells(frame.iloc[:, position] if of_pandas else frame[name], name, path)
        for name, position in positions.items()
    }
    return Columns(path, range(1, len(frame) + 1), values, unit="row")


def _cells(column: Any, name: str, path: Path) -> list[str]:
    cells: list[str] = []
    values = column.to_list()
    known = column.notna().tolist() if hasattr(column, "notna") else [value is not None for value in values]
    for value, is_known in zip(values, known, strict=True):
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        text = cell_text(value.item() if isinstance(value, np.generic) else value) if is_known else ""
        if text is None:
            raise InputError(f"{path} row {len(cells) + 1}: {name} is {value!a:.80}, expected text or a number")
        cells.append(text)
    return cells


def save_table(dataset: Dataset, cache: Path) -> Path:
    """Write the rows as a CSV in the cache folder, unless it exists, and return its path.

    Reading it with the words of ``dataset`` gives the same labels, attributes and splits.
    """
    columns = {"path": dataset.paths, "label": [dataset.class_names[code] for code in dataset.labels.tolist()]}
    if dataset.splits.any():  # else all are of split train, which a reader notes where it is not written
        columns["split"] = [SPLITS[code] for code in dataset.splits.tolist()]
    for factor, codes in zip(dataset.words.factors, dataset.known_factors, strict=bool(dataset.known_factors)):
        values = (*factor.values, "")  # the last for -1
        columns[factor.name] = [values[code] for code in codes.tolist()]
    if dataset.num_attributes and not dataset.known_factors:
        names = (*dataset.attribute_names, "")  # the last for -1
        columns["attribute"] = [names[code] for code in dataset.attributes.tolist()]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([columns, *zip(*columns.values(), strict=True)])
    digest = hashlib.sha256(text.getvalue().encode()).hexdigest()[:32]
    file = cache / "datasets" / digest / (re.sub(r"[^\w-]", "_", dataset.name) + ".csv")
    if not file.is_file():
        logger.info(f"saving {len(dataset)} rows as {file}")
        with system_errors(f"{file}: cannot save the rows there"):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.getvalue())
    return file
