"""Which files a pattern means, as WebDataset writes it: ``train-{0000..0146}.tar``, ``{train,val}-*.tar``."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dbpt.data.folders import is_file, is_folder, list_entries
from dbpt.errors import InputError

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
MOST_SHARDS = 1_000_000
MOST_BRACES = 100
MOST_PARTS = 100_000  # names and globs that the braces come to, each of which is looked for


def shards_of(pattern: str) -> list[Path]:
    """The files in the order of the braces, and of their names within a glob.

    Raises:
        InputError: a range that runs backwards or is absurdly long, a part of the pattern that no file has.
    """
    if "\0" in pattern:
        raise InputError(f"data {pattern!r}: no file has a NUL in its name")
    if pattern.count("{") > MOST_BRACES:
        raise InputError(f"data {pattern!r}: has more than {MOST_BRACES} braces; name the shards by fewer")
    shards: dict[Path, None] = {}
    for number, part in enumerate(_expanded(pattern)):
        if number == MOST_PARTS:
            raise InputError(f"data {pattern!r}: its braces come to more than {MOST_PARTS} names; use a wildcard")
        is_glob = glob.has_magic(part) and not os.path.lexists(part)
        names = sorted(glob.glob(part)) if is_glob else [part]  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if is_glob and not names and is_folder(Path(part).parent):
            list_entries(Path(part).parent)  # which says so if it can't be listed
        if not names or not all(is_file(Path(name)) for name in names):
            raise InputError(f"data {pattern!r}: no file {part}; name the shards that are there")
        shards |= dict.fromkeys(map(Path, names))
        if len(shards) > MOST_SHARDS:
            raise InputError(f"data {pattern!r}: means more than {MOST_SHARDS} files")
    return list(shards)


def _expanded(pattern: str) -> Iterator[str]:
    found = BRACES.search(pattern)
    if not found:
        yield pattern
        return
    for choice in _choices(found[1], pattern):
        yield from _expanded(pattern[: found.start()] + choice + pattern[found.end() :])


def _choices(inside: str, pattern: str) -> Iterator[str]:
    limits = RANGE.fullmatch(inside)
    if not limits:
        yield from inside.split(",")
        return
    first, last = map(int, limits.groups())
    if not 0 <= last - first < MOST_SHARDS:
        raise InputError(f"data {pattern!r}: {{{inside}}} is no range upwards of at most {MOST_SHARDS} numbers")
    width = len(limits[1]) if limits[1].startswith("0") else 0
    yield from (f"{number:0{width}d}" for number in range(first, last + 1))
