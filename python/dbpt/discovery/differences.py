"""The largest difference in accuracy that a family makes within a class. It doesn't shrink where the images are few.

The share of the errors that a family explains does: a rare name can hardly have a fifth of all errors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.files.typed_json import Count, Share
from dbpt.groups.intervals import TAIL, newcombe_margins


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference in accuracy of two groups of one class, by their indices in the list of groups, y*A + a.

    ``low`` to ``high`` is a 95 % interval of the difference that holds for all pairs of the family at once. ``low`` is
    below 0 if the difference may be chance.
    """

    worse: Count
    better: Count
    value: Share
    low: float
    high: float


def largest_difference(correct_CA: NDArray[np.int64], counts_CA: NDArray[np.int64]) -> Difference | None:
    """Return the pair of groups within a class whose difference in accuracy has the largest lower bound.

    So a large difference by chance, between groups of few images, doesn't hide one that is certain. None if no class
    has two groups. The bounds are Newcombe's (1998), at confidence 1 - 0.05 / m for m pairs (Bonferroni).

    >>> found = largest_difference(np.array([[90, 60, 0], [50, 50, 1]]), np.array([[100, 100, 0], [100, 100, 1]]))
    >>> found.worse, found.better, round(found.value, 2), found.low > 0
    (1, 0, 0.3, True)
    """
    has_rows = counts_CA > 0
    num_groups = has_rows.sum(axis=1)
    pairs = int((num_groups * (num_groups - 1) // 2).sum())
    if not pairs:
        return None
    counts = np.maximum(counts_CA, 1)
    accuracy_CA, below_CA, above_CA = newcombe_margins(correct_CA, counts, TAIL / pairs)
    best: Difference | None = None
    for label, columns in enumerate(has_rows):
        a = np.flatnonzero(columns)
        if a.size < 2:
            continue
        value_AA = accuracy_CA[label, a][:, None] - accuracy_CA[label, a]  # better, worse
        low_AA = value_AA - np.hypot(below_CA[label, a][:, None], above_CA[label, a])
        low_AA[value_AA < 0] = -np.inf
        np.fill_diagonal(low_AA, -np.inf)
        better, worse = np.unravel_index(int(low_AA.argmax()), low_AA.shape)
        if best is None or low_AA[better, worse] > best.low:
            above = np.hypot(above_CA[label, a[better]], below_CA[label, a[worse]])
            start = label * counts.shape[1]
            best = Difference(
                worse=start + int(a[worse]),
                better=start + int(a[better]),
                value=float(value_AA[better, worse]),
                low=float(low_AA[better, worse]),
                high=min(float(value_AA[better, worse] + above), 1.0),
            )
    return best
