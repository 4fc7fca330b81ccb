"""The folder of ``clip-retrieval inference``: ``img_emb/img_emb_N.npy`` beside ``metadata/metadata_N.parquet``.

Row i of one is row i of the other, whose ``image_path`` says which image it is. Its order is not the table's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.data.folders import is_folder, list_entries
from dbpt.data.parquet import read_parquet
from dbpt.data.precomputed.arrays import open_array
from dbpt.errors import InputError

EMBEDDINGS, METADATA, PATH = "img_emb", "metadata", "image_path"


@dataclass(frozen=True)
class Place:
    """Where one row stands: which part, and which row of it."""

    part: int
    row: int


class ClipRetrievalFolder:
    """Its parts, mapped, and where each image's row stands."""

    def __init__(self, folder: Path) -> None:
        """Open every part. Raises `InputError` if one has no partner, another width, or another number of rows."""
        self.folder = folder
        arrays, tables = (_numbered(folder, *kind) for kind in ((EMBEDDINGS, ".npy"), (METADATA, ".parquet")))
        for number in arrays.keys() ^ tables.keys():
            alone = arrays.get(number) or tables[number]
            raise InputError(f"{alone}: has no partner of number {number} in {EMBEDDINGS}/ or {METADATA}/; copy both")
        numbers = sorted(arrays)
        if not numbers:
            raise InputError(f"{folder}: holds no {EMBEDDINGS}/{EMBEDDINGS}_0.npy; is it what clip-retrieval wrote?")
        self.parts = [open_array(arrays[number]) for number in numbers]
        self.files = [arrays[number] for number in numbers]
        self.places: dict[str, Place] = {}
        self.repeated: set[str] = set()
        for part, number in enumerate(numbers):
            self._add(part, arrays[number], tables[number])

    def _add(self, part: int, file: Path, table: Path) -> None:
        array, first = self.parts[part], self.parts[0]
        names = read_parquet(table, (PATH,)).values[PATH]
        if len(names) != len(array):
            raise InputError(f"{file}: has {len(array)} rows, {table.name} has {len(names)}; copy both again")
        if array.shape[1] != first.shape[1]:
            raise InputError(f"{file}: rows of {array.shape[1]} numbers, in {self.files[0].name} of {first.shape[1]}")
        for row, name in enumerate(names):
            if name in self.places:
                self.repeated.add(name)
            self.places[name] = Place(part, row)

    @property
    def width(self) -> int:
        """D."""
        return int(self.parts[0].shape[1])

    def gather(self, places: Sequence[Place]) -> NDArray[np.float32]:
        """(N, D) the rows at ``places``, part by part in the order of the file."""
        gathered = np.empty((len(places), self.width), dtype=np.float32)
        part_N, row_N = (np.array([getattr(place, name) for place in places], np.int64) for name in ("part", "row"))
        for part, array in enumerate(self.parts):
            wanted = np.flatnonzero(part_N == part)
            wanted = wanted[np.argsort(row_N[wanted], kind="stable")]
            gathered[wanted] = array[row_N[wanted]]
        return gathered

    def find(self, path: str, root: Path) -> Place | None:
        """The row of an image, by its name as it is or below ``root``. Raises `InputError` if two rows have it."""
        for name in (path, os.path.normpath(root / path)):
            if name in self.repeated:
                raise InputError(f"{self.folder / METADATA}: {name!r} occurs in more than one row; keep one")
            if name in self.places:
                return self.places[name]
        return None

    def beginning(self, path: str) -> str | None:
        """What stands before ``path`` in the one name that ends with it: where clip-retrieval was started, not here."""
        found = [name for name in self.places if name.endswith(f"/{path}")]
        return found[0].removesuffix(path) if len(found) == 1 else None


def _numbered(folder: Path, kind: str, suffix: str) -> dict[int, Path]:
    """The files ``kind/kind_N.suffix`` by N, which may have zeros in front."""
    found: dict[int, Path] = {}
    for entry in list_entries(folder / kind) if is_folder(folder / kind) else []:
        path = folder / kind / entry.name
        number = path.stem.removeprefix(f"{kind}_")
        if path.suffix == suffix and path.stem != number and number.isdecimal() and number.isascii():
            if int(number) in found:
                raise InputError(f"{path}: has the number of {found[int(number)].name}; keep one")
            found[int(number)] = path
    return found
