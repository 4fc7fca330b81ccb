"""Columns of a user's table that have no role: which are read, and their cells as text. What they mean is not asked."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dbpt.data.text_array import TextBuilder, Texts
from dbpt.errors import CONTROL

MOST_COLUMNS = 200  # features of a network, saved as columns, would fill the memory
MOST_LETTERS = 200
RESERVED = "column:"
"""Before the name of such a column in a saved table where another column has a role under this name."""
Unreadable = Literal["type", "name", "repeated", "too many columns"]
"""A cell is a list or a picture; the name is empty, very long or has control characters; several columns have it."""
Unusable = Literal["empty", "one value", "same within classes", "free text", "identifiers", "too many values"]
CodedSource = Literal["column", "measured"]
"""What may be trained on, if the user asks for it: a column, or a property of the images and their files."""
Source = Literal["words", "column", "measured", "caption", "pair"]
"""Where a family comes from: words that CLIP guesses, the user's table, the pixels and files, or two other families."""


@dataclass(frozen=True)
class LeftOut:
    """A column that is not searched, and why."""

    name: str
    reason: Unreadable | Unusable
    source: Source = "column"


@dataclass(frozen=True, eq=False)
class OtherColumns:
    """The cells (N,) of columns without a role by name, "" where empty; and the columns that could not be read."""

    cells: Mapping[str, Texts] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def take(self, rows: NDArray[np.int64]) -> "OtherColumns":
        """Return the cells of the ``rows`` (n,), in this order."""
        return OtherColumns({name: cells.take(rows) for name, cells in self.cells.items()}, self.left_out)

    def without(self, names: Iterable[str]) -> "OtherColumns":
        """Return all columns but those of these ``names``."""
        others = set(self.cells).difference(names)
        return OtherColumns({name: cells for name, cells in self.cells.items() if name in others}, self.left_out)


NO_OTHER_COLUMNS = OtherColumns()


class OtherCells:
    """Collects the cells while a table is read.

    Args:
        with_role: the names of the columns that have a role; None collects nothing.
    """

    def __init__(self, with_role: Collection[str] | None) -> None:
        self.with_role = with_role
        self.num_rows = 0
        self.texts: dict[str, TextBuilder] = {}
        self.no_text = set[str]()
        self.reasons: dict[str, Unreadable] = {}

    def positions(self, header: Sequence[str], unreadable: Collection[str] = ()) -> dict[str, int]:
        """Return the columns to add, with their positions in the ``header``; those of a wrong type are left out."""
        if self.with_role is None:
            return {}
        number_of, chosen = Counter(header), {}
        for position, name in enumerate(header):
            if name in self.with_role or name in self.reasons:
                continue
            if not name.strip() or len(name) > MOST_LETTERS or CONTROL.search(name):
                self.reasons[name] = "name"
            elif number_of[name] > 1:
                self.reasons[name] = "repeated"
            elif name in unreadable:
                self.reasons[name] = "type"
            elif name not in self.texts and len(self.texts) == MOST_COLUMNS:
                self.reasons[name] = "too many columns"
            else:
                chosen[name] = position
                self.texts.setdefault(name, TextBuilder())
        return chosen

    def add(self, cells: Mapping[str, Iterable[object]], num_rows: int) -> None:
        """Add some rows. A column that they lack is empty there."""
        for name, values in cells.items():
            texts = list(map(text_of, values))
            if None in texts:
                self.no_text.add(name)
            self.texts[name].fill(self.num_rows)
            self.texts[name].extend(text or "" for text in texts)
        self.num_rows += num_rows

    def add_rows(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add some rows, each of which may have other keys."""
        if self.with_role is not None:
            self.positions(list(dict.fromkeys(chain.from_iterable(rows))))
            self.add({name: [row.get(name) for row in rows] for name in self.texts}, len(rows))

    def columns(self) -> OtherColumns:
        """Return the columns in which every cell can be text."""
        self.reasons |= {name: "type" for name in self.texts if name in self.no_text}
        cells = {}
        for name, texts in self.texts.items():
            own = name.removeprefix(RESERVED)
            if name not in self.reasons:
                texts.fill(self.num_rows)
                cells[name if own in self.texts else own] = texts.texts()
        return OtherColumns(cells, tuple(LeftOut(name, reason) for name, reason in self.reasons.items()))


def text_of(value: Any) -> str | None:
    """Return a cell as a CSV has it, dates in ISO format; None if it can't be one. What can't be stored becomes "?"."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return value if value.isprintable() else value.replace("\0", "?").encode("utf-8", "replace").decode()
    if isinstance(value, bool | int | float | Decimal | date | time):
        return "" if value != value else str(value)  # NaN and NaT are unequal to themselves
    return "" if value is None else None
