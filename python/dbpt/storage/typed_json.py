"""JSON that is read back into dataclasses: types, limits and versions are checked. TOML, as people write it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from dbpt.errors import InputError
from dbpt.storage.files import check_version, read_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
MOST_BYTES, MOST_BYTES_BY_HAND = 1 << 26, 1 << 20

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


def read_json(path: Path, what: str, version: int | None = None) -> dict[str, Any]:
    """Return the JSON object in a file. Refuse another ``schema_version`` than ``version``, if one is given."""
    value = json_object(read_regular(path, what, MOST_BYTES), str(path))
    if version is not None:
        check_version(path, value.get("schema_version"), version)
    return value


def read_toml(path: Path, what: str, hint: str = "write NAME = VALUE, with texts in quotes") -> dict[str, Any]:
    """Return the content of a TOML file, written by hand. Raises `InputError` for anything else."""
    text = read_regular(path, what, MOST_BYTES_BY_HAND)
    try:
        content: dict[str, Any] = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot read as a {what}: {error}; {hint}") from None
    return content


def json_object(text: str | bytes, where: str) -> dict[str, Any]:
    """Return one JSON object. Raises `InputError` for anything else; NaN and infinities are read, as Python's are."""
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON ({error}); expected an object") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: is {json_kind(value)}, expected an object")
    return value


def json_kind(value: object) -> str:
    """Return what a JSON value is, for messages."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = ascii(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."


def typed(value: object, kind: type[T], path: Path, hint: str) -> T:
    """Return the parsed JSON ``value`` as an instance of ``kind``, a dataclass, whose fields may have `msgspec.Meta`.

    Entries that ``kind`` lacks are left out. For any other value, an `InputError` names ``path``, what was expected and
    at which place (``$`` is the whole), and the ``hint``.
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InputError(f"{path}: {error}; the file was changed, {hint}") from None


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
