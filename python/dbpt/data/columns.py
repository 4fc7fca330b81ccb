"""A request for data, the columns of a table that it names (``--columns``), and their cells as text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.data.paths import is_normal, relative_path
from dbpt.data.words import Factor, Vocabulary, Words
from dbpt.errors import InputError, first_few, nearest

REQUIRED = ("path", "label")
ROLES = (*REQUIRED, "split", "attribute")
PREDICTION_ROLES = ("prediction", "prediction_path")
"""Columns of the table of ``--predictions``, which readers of data ignore."""
COLUMNS_HINT = "; name the columns with --columns ROLE=NAME ROLE=NAME (separated by spaces)"
MOST_ROWS = 10_000_000
ColumnNames: TypeAlias = Mapping[str, str] | Iterable[str]
"""Columns of a table as users write them: a dict of roles and names, or a list of entries ``"ROLE=NAME"``."""


@dataclass(frozen=True)
class DataRequest:
    """The arguments of `load_dataset` that a reader needs; None for those not given."""

    source: str  # the name of a benchmark, or a path; empty for rows in memory
    root: Path | None = None
    classes: Vocabulary | None = None
    attributes: Vocabulary | None = None
    templates: tuple[str, ...] | None = None
    attribute_templates: tuple[str, ...] | None = None
    celeba_target: str | None = None
    celeba_attributes: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    images: bool = True
    factors: tuple[Factor, ...] | None = None

    @property
    def column_names(self) -> dict[str, str]:
        """The column of each role that is not ignored; a factor is a role."""
        roles = (*ROLES, *(factor.name for factor in self.factors or ()))
        names = {role: self.columns.get(role, role) for role in roles}
        return {role: name for role, name in names.items() if name}

    @property
    def ignores_attributes(self) -> bool:
        """True with ``--columns attribute=``."""
        return self.columns.get("attribute") == ""

    def words(self, own: Words) -> Words:
        """Return the words that are given, and the data's ``own`` for the others."""
        names = ("classes", "attributes", "templates", "attribute_templates", "factors")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.attributes is not None:
            given["factors"] = ()
        return replace(own, **given)


def parse_columns(given: ColumnNames, factors: Sequence[Factor] = ()) -> dict[str, str]:
    """Return ``["path=file", "label=y"]`` or a dict as role to column name; each of the ``factors`` is a role too.

    `PREDICTION_ROLES` are of a table of predictions. Refuse unknown roles, one column for two roles, and empty names,
    except for attributes, which ignores them.
    """
    columns: dict[str, str] = {}
    roles = (*ROLES, *(factor.name for factor in factors), *PREDICTION_ROLES)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"--columns: found {given!r}; expected a list such as ['label=y'] or a dict")
    for entry in given.items() if isinstance(given, Mapping) else given:
        text = "=".join(map(str, entry)) if isinstance(given, Mapping) else str(entry)
        role, equals, name = (part.strip() for part in text.partition("="))
        if not equals:
            example = f"for example 'label=y'; roles: {', '.join(roles)}"
            raise InputError(f"--columns: {entry!r} is not ROLE=NAME, {example}")
        if role not in roles:
            raise InputError(f"--columns: {role!r} is none of {', '.join(roles)}{nearest(role, list(roles))}")
        if role in columns:
            raise InputError(f"--columns: {role!r} is given twice; one column holds it")
        if not name and role in ("path", "label", "split", *PREDICTION_ROLES):
            raise InputError(f"--columns: {role} has no column name; write {role}=NAME")
        is_of_data = role not in PREDICTION_ROLES
        taken = {column: other for other, column in columns.items() if (other not in PREDICTION_ROLES) is is_of_data}
        if name and (owner := taken.get(name)):
            raise InputError(f"--columns: column {name!r} is given for {owner} and for {role}; each needs its own")
        columns[role] = name
    return columns


def of_data(columns: Mapping[str, str], factors: Sequence[Factor] = ()) -> dict[str, str]:
    """Return the columns without those of a table of predictions; a factor may have the name of such a role."""
    names = [factor.name for factor in factors]
    return {role: name for role, name in columns.items() if role not in PREDICTION_ROLES or role in names}


def column_position(where: str, header: Sequence[str], name: str, hint: str = "") -> int:
    """Return the index of a column that must occur once. Errors end with ``hint``."""
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise InputError(f"{where}: column {name!r} occurs {header.count(name)} times; keep one")
    close = nearest(name, list(header))
    raise InputError(f"{where}: no column {name!r}; columns found: {shortened(header)}{close}{hint}")


def check_number(path: Path, num_rows: int) -> None:
    """Refuse more rows than `MOST_ROWS`: a compressed file of a few KB may claim any number."""
    if num_rows > MOST_ROWS:
        raise InputError(f"{path}: has {num_rows} rows, more than {MOST_ROWS}; split it")


@dataclass(frozen=True)
class Columns:
    """Columns of one file. Rows that no file lists have ``names``, and 0 as their line."""

    path: Path
    lines: Sequence[int]  # of each row, or its number in another ``unit``
    values: dict[str, list[str]]
    unit: str = "line"
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_number(self.path, len(self.lines))

    def where(self, row: int) -> str:
        """Return ``"folder/file.csv line 17"``, or the row's name."""
        return self.names[row] if self.names else f"{self.path} {self.unit} {self.lines[row]}"

    def decode(
        self, column: str, code: Callable[[str], int | None], expected: Sequence[str], *, way_out: str = ""
    ) -> NDArray[np.int64]:
        """Return the codes of a column, (N,) int64. ``code`` maps each distinct value; None means a wrong one.

        ``way_out`` says what to do if it is not a slip of the pen.
        """
        values = self.values[column]
        codes = {value: code(value.strip()) for value in set(values)}
        bad = {value for value, number in codes.items() if number is None}
        if bad:
            row = next(row for row, value in enumerate(values) if value in bad)
            valid = repr(expected[0]) if len(expected) == 1 else f"one of {shortened(expected)}"
            close = nearest(values[row].strip(), list(expected))
            raise InputError(f"{self.where(row)}: {column} is {values[row]!r}, expected {valid}{close}{way_out}")
        return np.fromiter(map(codes.__getitem__, values), np.int64, len(values))

    def decode_numbers(self, column: str, number: int) -> NDArray[np.int64]:
        """Return the values of a column of integers from 0 to ``number`` - 1, (N,) int64."""
        codes = {str(code): code for code in range(number)}
        return self.decode(column, codes.get, list(codes))

    def image_paths(self, column: str, root: Path) -> tuple[str, ...]:
        """Return the paths (N,) in a column, made relative to ``root`` by `relative_path`. Raises `InputError`."""
        return tuple(
            path if is_normal(path) else relative_path(path, root, self.where(row))
            for row, path in enumerate(self.values[column])
        )


def cell_text(value: object) -> str | None:
    """Return a cell of a typed table (JSON, Parquet) as the text of a CSV; None for a value that can't be a cell.

    True and false become 1 and 0; null and NaN become empty. Text with a NUL or a surrogate can't be a cell.
    """
    if isinstance(value, str):
        is_storable = value.isprintable() or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
        return value if is_storable else None
    if value is None:
        return ""
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and not math.isinf(value):
        return "" if math.isnan(value) else repr(value)
    return None


def shortened(names: Iterable[str], limit: int = 12) -> str:
    """Return quoted names in one line; after ``limit`` names, only the number of the others."""
    return first_few([repr(name) for name in names], limit)
