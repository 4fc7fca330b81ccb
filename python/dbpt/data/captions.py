"""Captions, tags or alternative texts of the images: a column of the data, or a table that need not have all images."""

import os
from pathlib import Path

from dbpt.cautions import Caution
from dbpt.data.dataset import Dataset
from dbpt.data.tables import PATH, READERS, rows_by_path
from dbpt.data.text_array import Texts
from dbpt.errors import InputError, first_few, nearest

CAPTIONS = ("caption", "text", "tags", "alt")
"""Columns of a table of captions; the first one that is there is read."""


def captions_of(source: str | Path, dataset: Dataset) -> tuple[Texts, tuple[Caution, ...]]:
    """Return the caption of each image.

    Args:
        source: the name of one of the ``other_columns`` of the data; or the path of a CSV, TSV, JSON lines or Parquet
            table with the columns ``path`` and ``caption`` (or ``text``, ``tags``, ``alt``).
        dataset: N images.

    Returns:
        (N,) "" for an image without a caption; and a warning if the table has other images.

    Raises:
        InputError: if ``source`` is neither, and for a table without a caption for any of the images.
    """
    columns = dataset.other_columns.cells
    if str(source) in columns:
        return columns[str(source)], ()
    path = Path(source)
    reader = READERS.get(path.suffix.lower())
    if reader is None or not os.path.lexists(path):  # Path.exists may raise
        has = f"the data have {first_few([repr(name) for name in columns], 12) or 'no other columns'}"
        problem = f"is no column of the data and no table{nearest(str(source), list(columns))}"
        raise InputError(f"captions {str(source)!r}: {problem}; {has}; tables end with {', '.join(READERS)}")
    hint = f"; captions are a table with the columns {PATH} and {' or '.join(CAPTIONS)}"
    table = reader(path, (PATH,), CAPTIONS, hint=hint)
    name = next((name for name in CAPTIONS if name in table.values), None)
    if name is None:
        raise InputError(f"{path}: none of the columns {', '.join(CAPTIONS)} is there{hint}")
    row_N, warnings = rows_by_path(table, dataset)
    captions = table.texts(name).filled(row_N)
    if not any(map(str.strip, captions)):
        first = f"write paths as in the data, where the first is {dataset.paths[0]!r}"
        raise InputError(f"{path}: column {name!r} has no caption for any of {len(dataset)} images; {first}")
    return captions, warnings
