"""Copies among the audited images: the same image under several paths, which has equal features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.report.text import count, count_of


def copies_warning(first: NDArray[np.int64], paths: Sequence[str], rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a warning if some of the images are copies: the `first_copies` of all are ``first`` (n,).

    ``rows`` (n,) index ``paths``.
    """
    copies = np.flatnonzero(first != np.arange(len(rows)))
    if not len(copies):
        return ()
    one, other = (paths[rows[place]] for place in (copies[0], first[copies[0]]))
    found = f"{count_of(len(copies), 'copy', 'copies')} among {count(len(rows))} images, by equal features"
    counted = "they count in accuracies, whose intervals are then too narrow, but not in the test of the attribute"
    return (f"{found}: {counted}; the first is {one!r}, of {other!r}",)
