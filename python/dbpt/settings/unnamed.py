"""Words for ``--attributes`` that name no attribute, but say how to find one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dbpt.errors import InputError, nearest

AUTO = "auto"
CLUSTERS = "clusters"
MOST_CLUSTERS = 10


def auto_asked(attributes: Sequence[str] | None) -> bool:
    """Return whether ``--attributes`` is the word ``auto``. Raises `InputError` for ``auto`` with other names.

    >>> auto_asked(["auto"]), auto_asked(["clusters"]), auto_asked(["auto=auto|car", "bus"])
    (True, False, False)
    """
    asked = [name for name in attributes or () if name == AUTO]
    _check_alone(asked, attributes, AUTO, "auto finds the names itself")
    return bool(asked)


def refuse_misspelt(attributes: Sequence[str] | None) -> None:
    """Refuse a single name that is almost ``auto`` or ``clusters``: one name has nothing to be told apart from."""
    if attributes is None or len(attributes) != 1 or auto_asked(attributes) or clusters_asked(attributes) is not None:
        return
    word = attributes[0].partition(":")[0].strip().lower()
    if "=" not in attributes[0] and (meant := nearest(word, [AUTO, CLUSTERS])):
        raise InputError(f"--attributes: needs at least two names to tell apart, found only {attributes[0]!r}{meant}")


def clusters_asked(attributes: Sequence[str] | None) -> int | None:
    """Return the number of clusters within each class that ``--attributes`` asks for; None if it names attributes.

    ``clusters`` leaves the number open, which is 0. Raises `InputError` for ``clusters`` with other names, or with a
    number that is none.

    >>> clusters_asked(["clusters"]), clusters_asked(["clusters:3"]), clusters_asked(["land", "water"])
    (0, 3, None)
    """
    asked = [name for name in attributes or () if name.partition(":")[0].strip() == CLUSTERS and "=" not in name]
    if not asked:
        return None
    _check_alone(asked, attributes, CLUSTERS, "clusters need no names")
    _, colon, number = asked[0].partition(":")
    if not colon:
        return 0
    if not re.fullmatch(r"[0-9]{1,2}", number) or not 2 <= int(number) <= MOST_CLUSTERS:
        expected = f"expected a number of clusters for each class, from 2 to {MOST_CLUSTERS}: clusters:3"
        raise InputError(f"--attributes: {asked[0]!r}: {expected}")
    return int(number)


def _check_alone(asked: Sequence[str], attributes: Sequence[str] | None, word: str, why: str) -> None:
    """Refuse other names, and repetitions, beside the word that is ``asked``."""
    others = [name for name in attributes or () if name not in asked] or asked[1:]
    if asked and others:
        raise InputError(
            f"--attributes: {asked[0]!r} with {others[0]!r}: {why}; drop one of the two, or write '{word}=WORDING' for "
            "an attribute of that name"
        )
