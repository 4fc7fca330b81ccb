"""Words for ``--attributes`` that name no attribute, but say how to find one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dbpt.errors import InputError

AUTO = "auto"
CLUSTERS = "clusters"
MOST_CLUSTERS = 10


def auto_asked(attributes: Sequence[str] | None) -> bool:
    """Return whether ``--attributes`` is the word ``auto``. Raises `InputError` for ``auto`` with other names.

    >>> auto_asked(["auto"]), auto_asked(["clusters"]), auto_asked(["auto=auto|car", "bus"])
    (True, False, False)
    """
    names = list(attributes or ())
    if AUTO not in names:
        return False
    if len(names) > 1:
        others = [name for name in names if name != AUTO] or names[1:]
        raise InputError(
            f"--attributes: 'auto' with {others[0]!r}: auto finds the names itself; drop one of the two, or write "
            "'auto=WORDING' for an attribute of that name"
        )
    return True


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
    if attributes is not None and len(attributes) > 1:
        others = [name for name in attributes if name not in asked] or asked[1:]
        raise InputError(
            f"--attributes: {asked[0]!r} with {others[0]!r}: clusters need no names; drop one of the two, or write "
            "'clusters=WORDING' for an attribute of that name"
        )
    _, colon, number = asked[0].partition(":")
    if not colon:
        return 0
    if not re.fullmatch(r"[0-9]{1,2}", number) or not 2 <= int(number) <= MOST_CLUSTERS:
        expected = f"expected a number of clusters for each class, from 2 to {MOST_CLUSTERS}: clusters:3"
        raise InputError(f"--attributes: {asked[0]!r}: {expected}")
    return int(number)
