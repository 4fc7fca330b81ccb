"""Words for ``--attributes`` that name no attribute, but say how to find one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dbpt.errors import InputError, nearest

AUTO = "auto"
CLUSTERS = "clusters"
MOST_CLUSTERS = 10


def asked_word(attributes: Sequence[str] | None) -> tuple[str, int] | None:
    """Return the word for finding attributes that ``--attributes`` is, and the number of clusters; None for names.

    ``clusters`` leaves the number open, which is 0. Raises `InputError` for the word with other names, for a number of
    clusters that is none, and for a single name that is almost one of the words.

    >>> asked_word(["auto"]), asked_word(["clusters:3"]), asked_word(["auto=auto|car", "bus"])
    (('auto', 0), ('clusters', 3), None)
    """
    given = list(attributes or ())
    asked = next((name for name in given if name == AUTO or (_word(name) == CLUSTERS and "=" not in name)), None)
    if asked is None:
        if len(given) == 1 and "=" not in given[0] and (meant := nearest(_word(given[0]).lower(), [AUTO, CLUSTERS])):
            raise InputError(f"--attributes: needs at least two names to tell apart, found only {given[0]!r}{meant}")
        return None
    word, _, number = asked.partition(":")
    word = word.strip()
    given.remove(asked)
    if given:
        why = "auto finds the names itself" if word == AUTO else "clusters need no names"
        other = next((name for name in given if name != asked), asked)
        raise InputError(
            f"--attributes: {asked!r} with {other!r}: {why}; drop one of the two, or write '{word}=WORDING' for "
            "an attribute of that name"
        )
    if ":" not in asked:
        return word, 0
    if not re.fullmatch(r"[0-9]{1,2}", number) or not 2 <= int(number) <= MOST_CLUSTERS:
        expected = f"expected a number of clusters for each class, from 2 to {MOST_CLUSTERS}: clusters:3"
        raise InputError(f"--attributes: {asked!r}: {expected}")
    return word, int(number)


def _word(name: str) -> str:
    return name.partition(":")[0].strip()
