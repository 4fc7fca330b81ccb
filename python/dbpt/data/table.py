"""Any data set as a table: a CSV, TSV, JSON lines or Parquet file with path, label, split and optionally attribute.

Which columns hold them the user may say. Labels and attributes are names or integers; an empty attribute (or -1) is
unknown.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dbpt.data.choices import Choices
from dbpt.data.column_names import REQUIRED, ROLES
from dbpt.data.dataset import Dataset
from dbpt.data.jsonl import read_jsonl
from dbpt.data.parquet import read_parquet
from dbpt.data.rows import Columns, read_columns
from dbpt.errors import InputError

READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Columns]] = {
    ".csv": partial(read_columns, delimiter=","),
    ".tsv": partial(read_columns, delimiter="\t"),
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
}


def read_table(path: Path, root: Path, choices: Choices, *, images: bool = True) -> Dataset:
    """Read a table.

    Args:
        path: a ``.csv`` (comma), ``.tsv`` (tab), ``.jsonl`` or ``.ndjson`` file in UTF-8, or a ``.parquet`` file.
        root: the folder that the paths are relative to.
        choices: an attribute column that they name must be there.
        images: False takes paths as any names, and a row's number where no column has them.

    Raises:
        InputError: a malformed file, a path that leaves the root; as `Choices.dataset`.
    """
    named = choices.named
    needed = [role for role in ROLES if role in choices.columns or (role in REQUIRED and (images or role != "path"))]
    required = [named[role] for role in needed]
    read = READERS[path.suffix.lower()](path, required, [named[role] for role in ROLES if role not in needed])
    paths = read.image_paths(named["path"], root) if images else _row_names(read, named["path"])
    return choices.dataset(read, paths, name=path.stem, root=root)


def _row_names(read: Columns, column: str) -> tuple[str, ...]:
    """What tells rows apart that need no image: their paths as they are written, else their numbers."""
    names = read.values.get(column)
    if names is None:
        return tuple(f"row {row + 1}" for row in range(len(read.lines)))
    if "" in names:
        raise InputError(f"{read.where(names.index(''))}: {column} is empty; name every row, or drop the column")
    return tuple(names)
