"""Several suspected attributes as factors (``--factors``): how users write them, and the numbers of combinations."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Factor, Names, Vocabulary, check_printable, check_vocabulary, named_wordings
from dbpt.errors import InputError

FLAG = "--factors"
FactorNames: TypeAlias = Mapping[str, Names] | Sequence[str]
"""Factors as users write them: a dict of names and values, or a list of entries ``"NAME: value, value=wording"``."""
RESERVED = (
    *("path", "label", "split", "attribute", "pseudo_attribute", "prediction", "confidence", "doubts", "group"),
    *("error", "sample"),
)
HOW = "write 'NAME: value, value=wording|wording', or 'NAME[CLASS]: ...' for the values of one class"
_ENTRY = re.compile(r"(?P<name>[^\[\]:]*?)\s*(\[(?P<class_name>.*?)\])?\s*")


def parse_factors(given: FactorNames) -> tuple[Factor, ...]:
    """Parse factors, in order of appearance.

    >>> style, place = parse_factors(["style: photo, sketch=sketch|drawing", "place: sea, land", "place[ship]: sea"])
    >>> style.values
    {'photo': ('photo',), 'sketch': ('sketch', 'drawing')}
    >>> parse_factors({"place": ["sea", "land"], "place[ship]": ["sea"]}) == (place,)
    True
    """
    if isinstance(given, str | set | frozenset) or not isinstance(given, Iterable):
        raise InputError(f"{FLAG}: found {given!r}; expected a list of entries, or a dict of names and values; {HOW}")
    found: dict[str, dict[str | None, Vocabulary]] = {}
    for key, names in _entries(given):
        match = _ENTRY.fullmatch(key.strip())
        if match is None or not match["name"] or match["class_name"] == "":
            raise InputError(f"{FLAG}: {key!r} is not the name of a factor; {HOW}")
        _check_name(match["name"])
        of_classes = found.setdefault(match["name"], {})
        if match["class_name"] in of_classes:
            raise InputError(f"{FLAG}: {key!r} is given twice; write all its values in one entry")
        of_classes[match["class_name"]] = _values(key, names)
    if not found:
        raise InputError(f"{FLAG}: none is given; {HOW}")
    _check_different(found)
    return tuple(_factor(name, of_classes) for name, of_classes in found.items())


def _entries(given: FactorNames) -> Iterator[tuple[str, Names]]:
    for entry in given:
        if isinstance(given, Mapping):
            names = given[entry]
            if not isinstance(entry, str) or isinstance(names, str) or not isinstance(names, Mapping | Sequence):
                found = f"{FLAG}: found {entry!r}: {names!r}"
                raise InputError(f"{found}; expected a list of values, or a dict of values and wordings")
            yield entry, names
            continue
        if not isinstance(entry, str):
            raise InputError(f"{FLAG}: found {entry!r}; expected text; {HOW}")
        key, colon, values = re.fullmatch(r"([^:\[]*(?:\[.*?\])?[^:]*)(:?)(.*)", entry, re.DOTALL).groups()  # type: ignore[union-attr]
        if not colon or not values.strip():
            raise InputError(f"{FLAG}: {entry!r} names no values; {HOW}")
        yield key, values.split(",")


def _check_name(name: str) -> None:
    check_printable(name, FLAG)
    if bad := next((sign for sign in ",=|" if sign in name), None):
        raise InputError(f"{FLAG}: the name {name!r} has a {bad!r}, which separates values; name the factor without")
    if name in RESERVED:
        raise InputError(f"{FLAG}: {name!r} is the name of a column with another meaning; name the factor otherwise")


def _check_different(names: Iterable[str]) -> None:
    """Refuse names that differ only by case, which spreadsheets and some file systems take for the same."""
    spelled: dict[str, str] = {}
    for name in names:
        if (other := spelled.setdefault(name.casefold(), name)) != name:
            way_out = "write a factor's name always in the same way, or choose another name for one of them"
            raise InputError(f"{FLAG}: {other!r} and {name!r} differ only by case; {way_out}")


def _values(key: str, names: Names) -> Vocabulary:
    values: Vocabulary = {}
    for name, wordings in named_wordings(names, f"{FLAG}: {key}"):
        if not name:
            raise InputError(f"{FLAG}: {key}: a value is empty; {HOW}")
        if "," in name:
            raise InputError(f"{FLAG}: {key}: the value {name!r} has a comma, which separates values; do without")
        if name in values:
            raise InputError(f"{FLAG}: {key}: {name!r} is given twice; separate the wordings of one value by '|'")
        values[name] = wordings
    return values


def _factor(name: str, of_classes: Mapping[str | None, Vocabulary]) -> Factor:
    """Join the vocabularies, first the shared one. A value with wordings in one of them needs none in the others."""
    values: Vocabulary = {}
    shared = of_classes.get(None, {})
    for vocabulary in (shared, *of_classes.values()):
        for value, wordings in vocabulary.items():
            known = values.get(value, (value,))
            if (value,) not in (known, wordings) and known != wordings:
                both = f"{'|'.join(known)} and {'|'.join(wordings)}"
                raise InputError(f"{FLAG}: {name}: {value!r} has two lists of wordings, {both}; give them once")
            values[value] = known if wordings == (value,) else wordings
    check_vocabulary(values, f"{FLAG}: {name}")
    own = {key: tuple(vocabulary) for key, vocabulary in of_classes.items() if key is not None}
    return Factor(name, values, tuple(shared), own)


def factor_entries(factors: Sequence[Factor]) -> tuple[str, ...]:
    """Return the entries that `parse_factors` reads. Raises `InputError` for names that have none."""
    entries = []
    for factor in factors:
        vocabularies = {factor.name: factor.shared} if factor.shared else {}
        vocabularies |= {f"{factor.name}[{name}]": values for name, values in factor.of_class.items()}
        said = set[str]()
        for key, names in vocabularies.items():
            values = [name if name in said else _value_entry(name, factor.values[name]) for name in names]
            entries.append(f"{key}: {', '.join(values)}")
            said.update(names)
    if entries and parse_factors(entries) != tuple(factors):
        raise InputError(
            f"{FLAG}: can't be written as {entries}, as config.toml has it; do without ',', '=' and '|' in values, and "
            "without brackets in names"
        )
    return tuple(entries)


def _value_entry(name: str, wordings: Sequence[str]) -> str:
    return name if (name,) == wordings else f"{name}={'|'.join(wordings)}"


def joint_codes(codes: Sequence[NDArray[np.int64]], sizes: Sequence[int]) -> NDArray[np.int64]:
    """Return the numbers (N,) of the combinations of factors of these ``sizes``, from the ``codes`` (N,) of each.

    They are -1 where one of the codes is.
    """
    joint, known = np.zeros_like(codes[0]), np.ones(len(codes[0]), dtype=bool)
    for each, size in zip(codes, sizes, strict=True):
        joint, known = joint * size + each, known & (each >= 0)
    return np.where(known, joint, -1)


def factor_codes(joint: NDArray[np.int64], sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return the code (N,) of each factor in the ``joint`` numbers (N,); -1 where that is -1."""
    codes = np.unravel_index(np.maximum(joint, 0), sizes) if sizes else ()
    return [np.where(joint >= 0, each, -1).astype(np.int64) for each in codes]
