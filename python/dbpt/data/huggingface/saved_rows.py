"""The rows of saved splits: where the bytes of each image are, and what label, attribute and split say, as text."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbpt.archives.arrow import image_ranges
from dbpt.archives.arrow_stream import ArrowStream
from dbpt.data.cell_text import cell_text
from dbpt.data.huggingface.saved_folder import SavedSplit
from dbpt.data.rows import Columns
from dbpt.errors import InputError

NO_LABEL = ("", "-1")  # the hub's for the test splits of competitions


@dataclass(frozen=True)
class SavedRows(Columns):
    """The rows of several splits, one split after another.

    Attributes:
        members: (N,) where the bytes of each image would be, below ``path``, as `find_member` takes it.
        has_bytes: (N,) whether they are there.
        splits: those that have rows here.
        starts: the first row of each.
        unlabelled: how many rows each other split has.
    """

    lines: list[int]
    members: list[str] = field(default_factory=list)
    has_bytes: list[bool] = field(default_factory=list)
    splits: list[SavedSplit] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    unlabelled: dict[str, int] = field(default_factory=dict)

    def where(self, row: int) -> str:
        """As one asks datasets for it: ``"folder/beans/train[17]"``."""
        part = bisect_right(self.starts, row) - 1
        return f"{self.path / self.splits[part].name}[{row - self.starts[part]}]"

    def split_codes(self) -> list[int]:
        """(N,) what the splits themselves say."""
        ends = [*self.starts[1:], len(self.members)]
        spans = zip(self.splits, self.starts, ends, strict=True)
        return [split.code for split, start, end in spans for _ in range(start, end)]


def read_saved_rows(
    folder: Path, splits: Sequence[SavedSplit], image: str, label: str, others: Sequence[str]
) -> SavedRows:
    """Read the columns ``label`` and ``others``; a split in which no row has a label is left out.

    Raises:
        InputError: a damaged file, a value that is no text, number or boolean, or a row without a label.
    """
    rows = SavedRows(folder, [], {column: [] for column in (label, *others)})
    for split in splits:
        values = _read_texts(folder, split, [column for column in rows.values if column in split.features])
        labels = values[label]
        without = [row for row, value in enumerate(labels) if value in NO_LABEL]
        if len(without) == len(labels):
            rows.unlabelled[split.name] = len(labels)
            continue
        if without:
            raise InputError(
                f"{folder / split.name}[{without[0]}]: {label} is {labels[without[0]] or 'empty'}, no label "
                f"({len(without)} of {len(labels)} rows); leave such rows out with filter of datasets, and save again"
            )
        _append(rows, split, values, image)
    return rows


def image_file_names(rows: SavedRows, image: str) -> list[str]:
    """(N,) the file that each image was, as the column says; empty where it says nothing."""
    names: list[str] = []
    for split in rows.splits:
        for batch in _batches(rows.path, split, [image]):
            names += [cell_text((row or {}).get("path")) or "" for row in batch[image].to_pylist()]
    return names


def _append(rows: SavedRows, split: SavedSplit, values: dict[str, list[str]], image: str) -> None:
    rows.splits.append(split)
    rows.starts.append(len(rows.members))
    for file in split.files:
        inside = Path(split.name, file)
        sizes = image_ranges(rows.path / inside, image).sizes
        rows.members.extend(f"{inside.as_posix()}/{image}/{row}" for row in range(len(sizes)))
        rows.has_bytes.extend((sizes >= 0).tolist())
    added = len(rows.members) - rows.starts[-1]
    rows.lines.extend([0] * added)
    for column, cells in rows.values.items():
        cells.extend(values.get(column, [""] * added))


def _read_texts(folder: Path, split: SavedSplit, columns: Sequence[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {column: [] for column in columns}
    for batch in _batches(folder, split, columns):
        for column, cells in batch.items():
            values[column] += _texts(cells.to_pylist(), split, column, str(folder / split.name), len(values[column]))
    return values


def _batches(folder: Path, split: SavedSplit, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for file in split.files:
        yield from ArrowStream(folder / split.name / file).batches(columns)


def _texts(values: Sequence[object], split: SavedSplit, column: str, where: str, start: int) -> list[str]:
    """Cells as text; of a ClassLabel the names. ``start`` is the row of the first."""
    names = split.class_names(column)
    texts = [cell_text(value) for value in values]
    if names:
        meaning = {text: text for text in NO_LABEL} | {str(number): name for number, name in enumerate(names)}
        texts = [text if text is None else meaning.get(text) for text in texts]
    if None in texts:
        row = texts.index(None)
        expected = f"a number from 0 to {len(names) - 1}" if names else "text or a number"
        raise InputError(f"{where}[{start + row}]: {column} is {values[row]!a:.80}, expected {expected}")
    return [text.strip() for text in texts if text is not None]
