"""Whether CLIP knows the words of the classes, by the labels. Doubts as about the words of an attribute."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution

SEPARATION_LIMIT = 0.7
"""Of 108 random tasks with right words 14 % are below it, of 24 with unrelated ones 79 %."""
MOST_ROWS = 4000  # for callers: more hardly change the figures


def class_word_doubts(
    logits: NDArray[np.float32], labels: NDArray[np.int64], attributes: NDArray[np.int64], names: Sequence[str]
) -> tuple[Caution, ...]:
    """Return the doubts about the words of the classes.

    A class is told apart if its images get larger logits than those of other classes with the same attribute, as a
    classifier that follows the attribute alone is biased, not ignorant. A second doubt is an accuracy below that of
    always answering the largest class, if the mean over the classes is nearer to chance than to 1, too.

    Args:
        logits: (N, C) zero-shot logits.
        labels: (N,) classes.
        attributes: (N,) guessed attributes, -1 where unknown, which count as an attribute of their own.
        names: (C,) of the classes.

    Returns:
        None, one or two doubts.
    """
    separations = [_separation(logits, labels, attributes, label) for label in range(len(names))]
    blurred = [name for name, value in zip(names, separations, strict=True) if value < SEPARATION_LIMIT]
    doubts = []
    if blurred:
        doubts.append(caution("class words", names=blurred, value=min(separations), limit=SEPARATION_LIMIT))
    counts_C = np.bincount(labels, minlength=len(names))
    right_C = np.bincount(labels, weights=logits.argmax(axis=1) == labels, minlength=len(names))
    share, accuracy = counts_C.max() / counts_C.sum(), right_C.sum() / counts_C.sum()
    mean = (right_C[counts_C > 0] / counts_C[counts_C > 0]).mean()
    if accuracy < share and mean < (1 + 1 / len(names)) / 2:
        largest = names[int(counts_C.argmax())]
        doubts.append(caution("class accuracy", largest=largest, right=100 * float(accuracy), share=100 * float(share)))
    return tuple(doubts)


def _separation(
    logits: NDArray[np.float32], labels: NDArray[np.int64], attributes: NDArray[np.int64], label: int
) -> float:
    """Return the probability that an image of the class has a larger margin than one of another class.

    Both have the same attribute (the area under the ROC curve within each attribute, weighted by n1 n2 / (n1 + n2)).
    """
    margins = logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)
    total = weight = 0.0
    for attribute in np.unique(attributes):
        rows = attributes == attribute
        is_class = labels[rows] == label
        inside, outside = int(is_class.sum()), int((~is_class).sum())
        if inside and outside:
            _, positions, counts = np.unique(margins[rows], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[positions]  # ties have their mean rank
            area = (ranks[is_class].sum() - inside * (inside + 1) / 2) / (inside * outside)
            share = inside * outside / (inside + outside)
            total, weight = total + share * area, weight + share
    return total / weight if weight else 1.0
