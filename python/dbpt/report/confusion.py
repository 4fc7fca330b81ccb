"""Mistaken classes: a confusion matrix or, for many classes, the most frequent confusions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_CLASSES = 12
"""With more classes, the most frequent confusions replace the matrix."""
MOST_CONFUSIONS = 24
SHADES = (0.02, 0.1, 0.25, 0.5)


class Confusion(NamedTuple):
    """The number of images of a class that were taken for another; ``shade`` is 0 to 4, None on the diagonal."""

    label: str
    prediction: str
    n: int
    share: float
    shade: int | None


@dataclass(frozen=True)
class Confusions:
    """A row of ``matrix`` for each true class, or None if there are many; ``frequent`` are without the diagonal."""

    num_classes: int
    matrix: list[list[Confusion]] | None
    frequent: list[Confusion]


def confusion_counts(labels: NDArray[np.int64], predictions: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the images (C, C) of each true class that are taken for each class."""
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def confusions(counts: ArrayLike, classes: Sequence[str]) -> Confusions:
    """Return what a page shows of the `confusion_counts`."""
    counts_CC = np.asarray(counts)
    totals_C = np.maximum(counts_CC.sum(axis=1), 1)

    def confusion(y: int, taken_for: int) -> Confusion:
        n = int(counts_CC[y, taken_for])
        share = n / int(totals_C[y])
        shade = None if y == taken_for else sum(share >= limit for limit in SHADES)
        return Confusion(classes[y], classes[taken_for], n, share, shade)

    numbers = range(len(classes))
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, counts_CC).ravel()
    order = np.argsort(-wrong, kind="stable")[:MOST_CONFUSIONS]
    return Confusions(
        len(classes),
        [[confusion(y, k) for k in numbers] for y in numbers] if len(classes) <= MOST_CLASSES else None,
        [confusion(*divmod(i, len(classes))) for i in order.tolist() if wrong[i]],
    )
