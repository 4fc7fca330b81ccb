"""The surest mistakes of a classifier in a group, as thumbnails."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.report.thumbnails import Thumbnails

GALLERY_SIZE = 24
BUDGET = 150_000
"""Bytes of all JPEGs; base64 adds a third."""


@dataclass(frozen=True)
class Mistake:
    """A misclassified image for the gallery; ``image`` is a JPEG thumbnail, ``p_true`` None without probabilities."""

    path: str
    image: bytes
    label: str
    attribute: str
    prediction: str
    p_true: float | None


def surest_mistakes(
    paths: Sequence[str],
    root: Path,
    group: tuple[str, str],
    predictions: Sequence[str],
    p_true: NDArray[np.float64] | None,
) -> list[Mistake]:
    """Return the 24 misclassified images of a group that have the lowest probability of the true class.

    ``paths``, ``predictions`` (class names) and ``p_true`` are those of the images of ``group``, a class and an
    attribute by name. Without ``p_true`` the first mistakes are taken. Where an image can't
    be read, the next one takes its place.
    """
    wrong = np.flatnonzero([prediction != group[0] for prediction in predictions])
    if p_true is not None:
        wrong = wrong[np.argsort(p_true[wrong], kind="stable")]
    thumbnails = Thumbnails(paths, root, number=GALLERY_SIZE, budget=BUDGET)
    return [
        Mistake(paths[i], image, *group, predictions[i], None if p_true is None else float(p_true[i]))
        for i, image in thumbnails.first(wrong.tolist(), GALLERY_SIZE)
    ]
