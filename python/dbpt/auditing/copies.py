"""Copies among the audited images: the same image under several paths, which has equal features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.data.copies import first_copies
from dbpt.data.stored_features import StoredFeatures
from dbpt.report.text import count, count_of


def copies_warning(features: StoredFeatures, paths: Sequence[str], rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a warning if some of the images repeat the ``features`` (n, D) of others; ``rows`` index ``paths``."""
    first = first_copies(features)
    copies = np.flatnonzero(first != np.arange(len(rows)))
    if not len(copies):
        return ()
    one, other = (paths[rows[place]] for place in (copies[0], first[copies[0]]))
    found = f"{count_of(len(copies), 'copy', 'copies')} among {count(len(rows))} images, by equal features"
    return (f"{found}: each counts as an image of its own; the first is {one!r}, of {other!r}",)
