"""Columns of a table by role, and their cells as text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.data.other_columns import NO_OTHER_COLUMNS, OtherColumns
from dbpt.data.paths import ENDINGS, relative_path
from dbpt.data.text_array import Texts
from dbpt.data.words import Factor, Vocabulary, Words
from dbpt.errors import InputError, first_few, nearest

REQUIRED = ("path", "label")
ROLES = (*REQUIRED, "split", "attribute")
PREDICTION_ROLES = ("prediction", "prediction_path")
"""Columns of the table of ``--predictions``, which readers of data ignore."""
COLUMNS_HINT = "; name the columns with --columns ROLE=NAME ROLE=NAME (separated by spaces)"
MOST_ROWS_OF_TABLE = 10_000_000
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
    group_templates: tuple[str, ...] | None = None
    celeba_target: str | None = None
    celeba_attributes: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    images: bool = True
    factors: tuple[Factor, ...] | None = None
    of_run: bool = False  # whether the classes and attributes are those of a finished run
    role_elsewhere: frozenset[str] | None = None  # if not None, columns without a role are read, except these

    @property
    def with_role(self) -> frozenset[str] | None:
        """The columns that have a role, or that are ignored; None if only these are read."""
        ignored = {role for role, name in self.columns.items() if not name}
        return None if self.role_elsewhere is None else self.role_elsewhere.union(self.column_names.values(), ignored)

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
        """Return the words that are given, and the data's ``own`` for the others.

        The data's group sentences are about its own classes and attributes, and don't suit other words or sentences.
        """
        names = ("classes", "attributes", "templates", "attribute_templates", "factors", "group_templates")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.attributes is not None:
            given["factors"] = ()
        named = {*(self.classes or own.classes), *(self.attributes or own.attributes)}
        if named != {*own.classes, *own.attributes} or self.factors is not None or self.templates is not None:
            given.setdefault("group_templates", ())
        return replace(own, **given)


def parse_columns(given: ColumnNames, factors: Sequence[Factor] = ()) -> dict[str, str]:
    """Return the column name of each role, from ``["path=file", "label=y"]`` or a dict.

    Each of the ``factors`` is a role too. An empty name is only allowed for attributes, and ignores that column. Raises
    `InputError` for an unknown role and for one column with two roles; a table of predictions
    (`PREDICTION_ROLES`) may use a column of the data again.
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
            hint = f"; write {name}={role}" if name in roles else nearest(role, list(roles))
            raise InputError(f"--columns: {role!r} is none of {', '.join(roles)}{hint}")
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
    if name == "path" and any(cell.lower().endswith(ENDINGS) for cell in header):
        raise InputError(f"{where}: looks like a row, not like the names of columns; write {name} and others above it")
    present = f"columns found: {shortened(header)}{nearest(name, list(header))}"
    raise InputError(f"{where}: no column {name!r}; {present}{hint}")


def positions_of(
    where: str, header: Sequence[str], required: Sequence[str], optional: Sequence[str], hint: str = ""
) -> dict[str, int]:
    """Return the index of each column: of the ``required`` ones, and of the ``optional`` ones that are there.

    Refuses a column whose name differs from an optional one in upper and lower case only.
    """
    folded = {name.casefold(): name for name in header}
    for name in optional:
        if name not in header and (found := folded.get(name.casefold())):
            raise InputError(f"{where}: column {found!r} would not be read, but {name!r} would; rename it{hint}")
    wanted = [*required, *(name for name in optional if name in header)]
    return {name: column_position(where, header, name, hint) for name in wanted}


def check_number(path: Path, num_rows: int) -> None:
    """Refuse more rows than `MOST_ROWS_OF_TABLE`: a compressed file of a few KB may claim any number."""
    if num_rows > MOST_ROWS_OF_TABLE:
        raise InputError(f"{path}: has {num_rows} rows, more than {MOST_ROWS_OF_TABLE}; split it")


@dataclass(frozen=True)
class Columns:
    """Columns of one file. Rows that no file lists have ``names``, and 0 as their line."""

    path: Path
    lines: Sequence[int] | NDArray[np.int64]  # of each row, or its number in another ``unit``
    values: Mapping[str, Sequence[str]]
    unit: str = "line"
    names: Sequence[str] = ()
    others: OtherColumns = NO_OTHER_COLUMNS

    def __post_init__(self) -> None:
        check_number(self.path, len(self.lines))

    def where(self, row: int) -> str:
        """Return ``"folder/file.csv line 17"``, or the row's name."""
        return self.names[row] if self.names else f"{self.path} {self.unit} {self.lines[row]}"

    def decode(
        self, column: str, code: Callable[[str], int | None], expected: Sequence[str], option: str = "", hint: str = ""
    ) -> NDArray[np.int64]:
        """Return the codes of a column, (N,) int64. ``code`` maps each distinct value; None means a wrong one.

        ``option`` is the user's that names the values. ``hint`` ends the message; it says what to do if the
        column is about something else.
        """
        values, at_N = self.texts(column).distinct()
        codes = [code(value.strip()) for value in values]
        if None in codes:
            row = int(np.isin(at_N, [at for at, number in enumerate(codes) if number is None]).argmax())
            value = values[at_N[row]]
            present = {text.strip() for text in values} - {""}
            used = [name for name in expected if not option or name in present]  # others may be misspelt themselves
            valid = f"one of {shortened(expected)}{nearest(value.strip(), used)}"
            if len(used) < len(expected):
                names = first_few([repr(f"{name}=WORDING") for name in sorted(present)], 4, " ")
                hint = f"; or name the values of {column}: {option} {names}{hint}"
            hint = hint if value.strip() else f"; fill it in, or remove the row{hint}"
            raise InputError(f"{self.where(row)}: {column} is {value!r}, expected {valid}{hint}")
        return np.array(codes, np.int64)[at_N]

    def texts(self, column: str) -> Texts:
        """Return a column."""
        return Texts.of(self.values[column])

    def decode_numbers(self, column: str, number: int) -> NDArray[np.int64]:
        """Return the values of a column of integers from 0 to ``number`` - 1, (N,) int64."""
        codes = {str(code): code for code in range(number)}
        return self.decode(column, codes.get, list(codes))

    def image_paths(self, column: str, root: Path) -> Texts:
        """Return the paths (N,) in a column, made relative to ``root`` by `relative_path`. Raises `InputError`."""
        return Texts.of(relative_path(path, root, self.where(row)) for row, path in enumerate(self.values[column]))


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
