"""A random choice of images of each group with the predictions of one or two classifiers, right and wrong ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import group_name
from dbpt.groups.permutation import permutation
from dbpt.report.thumbnails import Thumbnails

EACH = 8
MOST_PICTURES = 384
"""With more groups each has fewer, so that no picture gets too small to judge."""
BUDGET = 400_000
"""Bytes of all JPEGs; base64 adds a third."""


@dataclass(frozen=True)
class Example:
    """An image; ``image`` is a JPEG thumbnail, ``predictions`` are class names, one of each classifier."""

    path: str
    image: bytes
    predictions: tuple[str, ...]


@dataclass(frozen=True)
class GroupExamples:
    """The ``n`` images of a group, of which each classifier gets ``right`` so many, and some of them as pictures.

    ``gained`` are the images that only the last classifier gets right, ``lost`` those that only the first one does.
    """

    class_name: str
    attribute: str
    n: int
    right: tuple[int, ...]
    gained: int
    lost: int
    examples: tuple[Example, ...]

    @property
    def name(self) -> str:
        """Class · attribute."""
        return group_name(self.class_name, self.attribute)


def group_examples(
    paths: Sequence[str],
    root: Path | None,
    groups: NDArray[np.int64],
    predictions: Sequence[NDArray[np.int64]],
    *,
    group_names: Sequence[tuple[str, str]],
    classes: Sequence[str],
    seed: int = 0,
    first: Sequence[int] = (),
) -> list[GroupExamples]:
    """Return the images of each of the groups, which ``group_names`` (G,) names by class and attribute.

    ``groups`` (N,) are -1 for images of no group; ``predictions`` (N,) of each classifier index ``classes``. Chance, by
    ``seed``, chooses the pictures, whatever the predictions are. There are none without ``root``, the folder of
    ``paths``. If they don't suffice for all groups, those of ``first`` have precedence.
    """
    sizes = np.bincount(groups[groups >= 0], minlength=len(group_names))
    shown = [g for g in dict.fromkeys([*first, *range(len(sizes))]) if sizes[g]][:MOST_PICTURES]
    each = min(EACH, MOST_PICTURES // max(len(shown), 1))
    number = int(np.minimum(sizes[shown], each).sum())
    thumbnails = None if root is None else Thumbnails(paths, root, number=number, budget=BUDGET)
    found = []
    for g, (class_name, attribute) in enumerate(group_names):
        rows = np.flatnonzero(groups == g) if sizes[g] else np.empty(0, np.int64)
        y = classes.index(class_name)
        right = [of_one[rows] == y for of_one in predictions]
        pictures = []
        if thumbnails and g in shown:
            chosen = rows[permutation(len(rows), seed, g)].tolist()
            pictures = [
                Example(paths[row], jpeg, tuple(classes[of_one[row]] for of_one in predictions))
                for row, jpeg in thumbnails.first(chosen, each)
            ]
        found.append(
            GroupExamples(
                class_name,
                attribute,
                len(rows),
                tuple(int(of_one.sum()) for of_one in right),
                int((right[-1] & ~right[0]).sum()),
                int((right[0] & ~right[-1]).sum()),
                tuple(pictures),
            )
        )
    return found


def worst_first(accuracies: Sequence[float | None]) -> list[int]:
    """Return the groups in the order of their accuracies (G,), those without images last."""
    return sorted(range(len(accuracies)), key=lambda g: (accuracies[g] is None, accuracies[g]))
