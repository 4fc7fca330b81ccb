"""JSON that is read back into dataclasses: types, limits and versions are checked. TOML, as people write it."""

import dataclasses
import json
import math
import re
import sys
import types
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dbpt.errors import InputError
from dbpt.storage.files import check_version, read_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
MOST_BYTES, MOST_BYTES_BY_HAND = 1 << 26, 1 << 20
DEEPEST = 16  # levels of nesting in a value of type Any


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of a number, both included."""

    low: float
    high: float = 2**63 - 1


Count = Annotated[int, Limits(0)]
Share = Annotated[float, Limits(0, 1)]
AnyFloat = Annotated[float, Limits(-math.inf, math.inf)]
_DEFAULT = {int: Limits(-(2**63)), float: Limits(-1.7976931348623157e308, 1.7976931348623157e308)}


class _Wrong(Exception):
    """A wrong value. Its arguments are the place and what was expected there."""


def read_json(path: Path, what: str, version: int | None = None) -> dict[str, Any]:
    """Return the JSON object in a file. Refuse another ``schema_version`` than ``version``, if one is given."""
    value = json_object(read_regular(path, what, MOST_BYTES), str(path))
    if version is not None:
        check_version(path, value.get("schema_version"), version)
    return value


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the content of a TOML file, written by hand. Raises `InputError` for anything else."""
    text = read_regular(path, what, MOST_BYTES_BY_HAND)
    try:
        content: dict[str, Any] = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot read as a {what}: {error}; write NAME = VALUE, with texts in quotes"
        ) from None
    return content


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Return one JSON object. Raises `InputError` for anything else, and for a repeated key."""
    try:
        value = DECODER.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON ({error}); expected an object") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: is {json_kind(value)}, expected an object")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {repeated!r} occurs twice in an object")
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats)


def json_kind(value: object) -> str:
    """Return what a JSON value is, for messages."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = ascii(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."


def typed(value: object, kind: type[T], path: Path, hint: str) -> T:
    """Return the parsed JSON ``value`` as an instance of ``kind``, a dataclass whose fields have types and limits.

    Fields may be dataclasses, numbers, texts, booleans, None, ``Literal``, ``Any``, dictionaries by text, lists and
    tuples. For any other value, an `InputError` names ``path``, the place, what was expected, and the ``hint``.
    """
    try:
        return _typed(value, kind, "")  # type: ignore[no-any-return]
    except _Wrong as wrong:
        position, expected = wrong.args
        raise InputError(f"{path}: {position.lstrip('.')}: expected {expected}; the file was changed, {hint}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; the file was changed, {hint}") from None


def typed_json(metadata: Mapping[str, str], name: str, kind: type[T], path: Path, hint: str) -> T:
    """Return an entry of a file's metadata, parsed from JSON.

    Args:
        metadata: the entries, as JSON texts.
        name: the name of the entry.
        kind, path, hint: as in `typed`: the type to return, the file, and what to do if the entry is damaged.
    """
    try:
        value = json.loads(metadata[name])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{path}: has no readable {name}; the file was changed, {hint}") from None
    return typed(value, kind, path, hint)


def _typed(value: Any, kind: Any, position: str, limits: Limits | None = None) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        _check_depth(value, DEEPEST, position)
        return value
    if origin is Annotated:
        return _typed(value, arguments[0], position, arguments[1])
    if origin in (Union, types.UnionType):
        # Of unions only those with None are used.
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _typed(value, inner, position, limits)
    if origin is Literal:
        return _check(value, isinstance(value, str) and value in arguments, position, f"one of {', '.join(arguments)}")
    if origin is dict:
        _check(value, isinstance(value, dict), position, "an object")
        return {
            _typed(key, str, position): _typed(item, arguments[1], f"{position}.{key}") for key, item in value.items()
        }
    if origin in (list, tuple):
        of_any_length = origin is list or arguments[-1] is Ellipsis
        _check(value, isinstance(value, list), position, "a list")
        _check(value, of_any_length or len(value) == len(arguments), position, f"a list of {len(arguments)}")
        kinds = [arguments[0]] * len(value) if of_any_length else arguments
        pairs = enumerate(zip(value, kinds, strict=True))
        return origin(_typed(item, one, f"{position}[{i}]") for i, (item, one) in pairs)
    if kind in _DEFAULT:
        low, high = dataclasses.astuple(limits or _DEFAULT[kind])
        is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        name = "an integer" if kind is int else "a number"
        return kind(_check(value, is_number and low <= value <= high, position, f"{name} from {low} to {high}"))
    if kind is str:
        return _check(value, isinstance(value, str) and not _NO_TEXT.search(value), position, "a text")
    if kind is bool:
        return _check(value, isinstance(value, bool), position, "true or false")
    return _record(value, kind, position)


def _check_depth(value: Any, levels: int, position: str) -> None:
    """Refuse deep nesting, at which later recursive code could fail, and NaN and infinities, which JSON lacks."""
    if isinstance(value, list | dict):
        if not levels:
            raise RecursionError
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, levels - 1, position)
    elif isinstance(value, float):
        _check(value, math.isfinite(value), position, "finite numbers")


def _record(value: Any, kind: Any, position: str) -> Any:
    _check(value, isinstance(value, dict), position, "an object")
    hints = _hints(kind)
    for name in sorted((_required(kind) - value.keys()) | (value.keys() - hints.keys())):
        expected = "a value, found none" if name in hints else f"no such entry, found {value!r:.200}"
        raise _Wrong(f"{position}.{name}", expected)
    try:
        return kind(**{name: _typed(item, hints[name], f"{position}.{name}") for name, item in value.items()})
    except ValueError as error:  # from the checks of the dataclass
        raise _Wrong(position or kind.__name__, f"what can be used ({error})") from None


@cache
def _required(kind: Any) -> frozenset[str]:
    """Return the fields without a default: a file of an older version may lack the others."""
    unset = dataclasses.MISSING
    return frozenset(f.name for f in dataclasses.fields(kind) if f.default is unset and f.default_factory is unset)


_hints = cache(partial(get_type_hints, include_extras=True))


# File names may contain U+DC80 to U+DCFF, Python's escapes of bytes that are not UTF-8; other surrogates are no text.
_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def _check(value: Any, holds: bool, position: str, expected: str) -> Any:
    if not holds:
        raise _Wrong(position, f"{expected}, found {value!r:.200}")
    return value
