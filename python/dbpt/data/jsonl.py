"""Tables as JSON lines: an object a line, whose keys are the columns."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dbpt.data.cell_text import cell_text
from dbpt.data.rows import Columns, read_text, shortened
from dbpt.errors import InputError, nearest


def read_jsonl(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """Read the named keys of every line that is not blank; other keys are ignored.

    Where at least one line has an optional key, a line without it has nothing there.

    Raises:
        InputError: as ``read_text``; a line that is no JSON object, lacks a required key, has a key twice, or has a
            list or an object where text, a number, true, false or null is expected; no lines.
    """
    lines: list[int] = []
    values: dict[str, list[str]] = {name: [] for name in (*required, *optional)}
    found: set[str] = set()
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{path} line {line}"
        row = json_object(text, where)
        for name in required:
            if name not in row:
                raise InputError(
                    f"{where}: no key {name!r}; keys found: {shortened(row) or 'none'}{nearest(name, list(row))}"
                )
        for name, column in values.items():
            column.append(_cell(row.get(name), name, where))
        lines.append(line)
        found |= row.keys()
    return Columns(path, lines, {name: column for name, column in values.items() if name in found})


def json_object(text: str, where: str) -> dict[str, Any]:
    """One JSON object. Raises `InputError` for anything else, and for a key that is there twice."""
    try:
        row = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON ({error}); expected an object") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: is {_kind(row)}, expected an object")
    return row


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {repeated!r} occurs twice in an object")
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats)


def _cell(value: object, name: str, where: str) -> str:
    text = cell_text(value)
    if text is None:
        raise InputError(f"{where}: {name} is {_kind(value)}, expected text, a number, true, false or null")
    return text


def _kind(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = ascii(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
