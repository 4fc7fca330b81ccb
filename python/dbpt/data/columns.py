"""Columns of a table by role, their cells as text, and the codes of labels, attributes and splits."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.data.dataset import SPLITS, Dataset
from dbpt.data.other_columns import NO_OTHER_COLUMNS, OtherColumns
from dbpt.data.paths import relative_path
from dbpt.data.texts import Texts
from dbpt.data.words import Factor, Vocabulary, Words, combined, joint_codes
from dbpt.errors import CONTROL, InputError, first_few, nearest

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


CLASS_TEMPLATES = ("a photo of a {}.",)
ATTRIBUTE_TEMPLATES = ("{}",)
SPLIT_FOLDERS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
SPLIT_NAMES = SPLIT_FOLDERS | {"0": 0, "1": 1, "2": 2}
NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


def coded_dataset(
    request: DataRequest,
    columns: Columns,
    paths: Sequence[str],
    *,
    name: str,
    root: Path,
    splits: NDArray[np.int64] | None = None,
    own_classes: Vocabulary | None = None,
    own_attributes: Vocabulary | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Return the rows as a `Dataset`, with codes for labels, attributes and splits.

    Args:
        request: the user's names and words, and the column of each role.
        columns: labels, and optionally attributes and splits, of the N rows.
        paths: (N,) paths of the images, relative to ``root``.
        name: of the data set.
        root: the folder of the images.
        splits: (N,) int64 index into `SPLITS`; by default from the column, or all train without one.
        own_classes, own_attributes: the names in the data if these are not the values of the columns.
        notes: one line each for the user, about how the data were read.

    Raises:
        InputError: for fewer than two classes, and for values that stand for no class, attribute or split.
    """
    names = request.column_names
    if splits is None and names.get("split") in columns.values:
        splits = columns.decode(names["split"], lambda value: SPLIT_NAMES.get(value.lower()), list(SPLITS))
    elif splits is None:
        splits = np.full(len(paths), SPLITS.index("train"), dtype=np.int64)
        notes = (*notes, "no split column: all images are in split train, and there is no test split; add one")
    column = names["label"]
    known = request.classes or own_classes
    values = _values(columns, column, known)
    if known is None and {integer_of(value) for value in values} != {-1, 1}:  # which some write for two classes
        _refuse_negative(columns, column, values, "leave out images without a label, and give names or numbers from 0")
    classes, codes, expected = names_and_codes(values, known)
    if len(classes) < 2:
        problem = f"column {column!r} has {_few_values(classes)}"
        raise InputError(f"{columns.path}: {problem}; a classifier needs at least two classes")
    labels = columns.decode(column, codes.get, expected, "--classes" if request.classes else "")
    factors = request.factors or ()
    factor_codes: list[NDArray[np.int64]] = []
    known = combined(factors) if factors else request.attributes or own_attributes
    flag = "--attributes" if request.attributes else ""
    if present := [factor.name for factor in factors if names.get(factor.name) in columns.values]:
        decoded = [_attribute_codes(columns, names.get(factor.name, ""), factor.values) for factor in factors]
        factor_codes = [codes_N for _, codes_N, _ in decoded]
        taken = [note for *_, factor_notes in decoded for note in factor_notes]
        attributes = combined(factors)
        attribute_codes = joint_codes(factor_codes, [len(factor.values) for factor in factors])
        if missing := [factor.name for factor in factors if factor.name not in present]:
            notes = (*notes, f"no column for {', '.join(missing)}: only {', '.join(present)} has true values")
    else:
        attributes, attribute_codes, taken = _attribute_codes(columns, names.get("attribute", ""), known, factors, flag)
    notes = (*notes, *taken)
    for argument, words in (("classes", classes), ("attributes", attributes)):
        commas = [each for wordings in words.values() for each in wordings if "," in each and each not in words]
        if commas:
            notes = (*notes, f"{argument}: {commas[0]!r} is one wording; separate several by '|'")
        folded = {name.casefold(): name for name in words}
        if alike := [name for name in words if folded[name.casefold()] != name]:
            other = folded[alike[0].casefold()]
            notes = (
                *notes,
                f"{argument}: {alike[0]!r} and {other!r} differ only in upper and lower case; are they one?",
            )
        if words and all(integer_of(wordings[0]) is not None for wordings in words.values()):
            named = f"{argument} are named by numbers ({shortened(words, 4)})"
            notes = (*notes, f"{named}, which mean nothing to CLIP; give words")
    return Dataset(
        name,
        root,
        columns.path,
        paths,
        lines=np.asarray(columns.lines, dtype=np.int64),
        labels=labels,
        attributes=attribute_codes,
        splits=splits,
        words=request.words(Words(classes, attributes, CLASS_TEMPLATES, ATTRIBUTE_TEMPLATES)),
        notes=tuple(notes),
        unit=columns.unit,
        known_factors=tuple(factor_codes) if factors[1:] else (),
        other_columns=columns.others.without(f"p_{name}" for name in classes),  # probabilities that models predict
    )


def taken_in_order(owner: str, names: Iterable[str]) -> str:
    """Return the note that the numbers of ``owner`` index the given names."""
    meaning = ", ".join(f"{code} is {name}" for code, name in enumerate(names))
    return f"the integers of {owner} are read as positions in the names given: {meaning}"


def _attribute_codes(
    columns: Columns, column: str, vocabulary: Vocabulary | None, factors: Sequence[Factor] = (), option: str = ""
) -> tuple[Vocabulary, NDArray[np.int64], list[str]]:
    """Return the attributes and the index of each row's, (N,) int64; -1 if it is unknown or there is no column.

    Add a note if the integers of the column index names that are given.
    """
    if column not in columns.values:
        return vocabulary or {}, np.full(len(columns.lines), -1, dtype=np.int64), []
    found = _values(columns, column, vocabulary)
    values = {value for value in found if not is_unknown(value)}
    if vocabulary is None:
        hint = "write -1 or nothing where it is unknown, else a name or a number from 0"
        _refuse_negative(columns, column, values, hint)
    words, codes, expected = names_and_codes(values, vocabulary)
    if len(words) == 1:
        raise InputError(
            f"{columns.path}: column {column!r} has {_few_values(words)} (empty and -1 mean unknown); an attribute "
            "needs at least two: name them with --attributes, or ignore the column with --columns attribute="
        )
    owner = f"say which it is with --columns {factors[0].name}={column}" if factors else ""
    hint = f"; if the column is about another attribute, {owner or 'ignore it with --columns attribute='}"
    codes_N = columns.decode(column, lambda cell: codes.get(cell) if cell in values else -1, expected, option, hint)
    are_indices = (
        vocabulary and values.isdisjoint(vocabulary) and any(integer_of(value) is not None for value in values)
    )
    notes = [taken_in_order(f"column {column}", words)] if are_indices else []
    if {integer_of(value) for value in found} == {-1, 1}:
        notes.append(f"column {column}: -1 is read as unknown; if -1 and 1 are the two values, write 0 and 1")
    return words, codes_N, notes


def names_and_codes(values: Set[str], vocabulary: Vocabulary | None) -> tuple[Vocabulary, dict[str, int], list[str]]:
    """Return the vocabulary of a column (given, or its values), the index of each valid value, and the names."""
    integers = {value: number for value in values if (number := integer_of(value)) is not None}
    are_integers = len(integers) == len(values)
    if vocabulary is None:
        keys: dict[str, Any] = integers if are_integers else {value: value for value in values}
        order = {key: index for index, key in enumerate(sorted(set(keys.values())))}
        names = [str(key) for key in order]
        return {name: (name,) for name in names}, {value: order[key] for value, key in keys.items()}, names
    names = list(vocabulary)
    if integers and are_integers and values.isdisjoint(names):
        codes = {value: number for value, number in integers.items() if 0 <= number < len(names)}
        return vocabulary, codes, [str(index) for index in range(len(names))]
    return vocabulary, {name: index for index, name in enumerate(names)}, names


def _refuse_negative(columns: Columns, column: str, values: Set[str], hint: str) -> None:
    """Refuse a number below 0, if all ``values`` of the column are numbers."""
    if all(map(NUMBER.fullmatch, values)) and (negative := {value for value in values if Decimal(value) < 0}):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if v.strip() in negative)
        raise InputError(f"{columns.where(row)}: {column} is {value!r}, a negative number; {hint}")


def _values(columns: Columns, column: str, vocabulary: Vocabulary | None) -> set[str]:
    """Return the distinct values except missing ones: empty cells and, among numbers, NaN."""
    values = set(map(str.strip, columns.texts(column).distinct()[0]))
    missing = {value for value in values if value.lower() in ("", "nan")}
    if not all(map(NUMBER.fullmatch, values - missing)):  # "nan" among names is a name, such as the bread
        missing &= {""}
    values -= missing - set(vocabulary or ())
    if any(map(CONTROL.search, values)):
        row, value = next((row, v) for row, v in enumerate(columns.values[column]) if CONTROL.search(v.strip()))
        problem = "with a line break or another control character; is a quote missing?"
        raise InputError(f"{columns.where(row)}: {column} is {value!r}, {problem}")
    return values


def is_unknown(value: str) -> bool:
    """Return whether a cell means "unknown": it is empty or a number equal to -1 (``"-1.0"``)."""
    return not value or integer_of(value) == -1


def integer_of(value: str) -> int | None:
    """Return the integer in a text, also as NumPy and pandas write it (``"1.0"``, ``"1e+00"``); else None."""
    if not NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return int(number) if number == int(number) else None


def _few_values(names: Vocabulary) -> str:
    return f"only the value {next(iter(names))!r}" if names else "no value"
