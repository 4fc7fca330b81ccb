"""Find the images of a data set in a table by path: as in the data, absolute, or relative to a root of theirs."""

import os
import posixpath
from collections.abc import Collection, Sequence

from dbpt.data.columns import Columns
from dbpt.data.dataset import Dataset
from dbpt.data.paths import absolute
from dbpt.errors import InputError
from dbpt.files.csv import unmarked

PATH = "path"


def rows_by_path(table: Columns, dataset: Dataset) -> tuple[dict[str, int], list[int]]:
    """Return the row of the table for each path of the data that it has, and the rows of other images."""
    paths, folder = set(dataset.paths), str(absolute("."))
    roots = [os.path.join(root, "") for root in (str(absolute(dataset.root)), os.path.realpath(dataset.root))]  # noqa: PTH118
    found: dict[str, int] = {}
    ignored = []
    for row, cell in enumerate(table.values[PATH]):
        if not cell.strip() and not any(column[row].strip() for column in table.values.values()):
            continue  # spreadsheets write such lines at the end
        if cell in paths:
            path: str | None = cell
        elif not cell:
            raise InputError(f"{table.where(row)}: path is empty; name the image")
        else:
            texts = dict.fromkeys((cell, unmarked(cell)))
            path = next((path for text in texts if (path := _path_in_data(text, paths, roots, folder))), None)
        if path is None:
            ignored.append(row)
        elif path in found:
            other = f"{table.unit} {table.lines[found[path]]}"
            raise InputError(f"{table.where(row)}: image {cell!r} is in {other} already; keep one")
        else:
            found[path] = row
    return found, ignored


def _path_in_data(text: str, paths: Collection[str], roots: Sequence[str], folder: str) -> str | None:
    """Return the path by which the data know an image, or None. A relative one starts at the root or ``folder``."""
    if (path := posixpath.normpath(text)) in paths:
        return path
    full = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118 (once an image)
    below = (full.removeprefix(root) for root in roots if full.startswith(root))
    return next((path for path in below if path in paths), None)
