"""Separation of names: how well two modes describe their logits, and if a gap parts a rare name from its rival."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.pseudo_attributes.mixture import gain_of_clusters, lowest_density

FEWEST_OF_CLASS = 50
SHRINKAGE = 5  # rows
RARE = 0.1  # of the images that are guessed a name or its rival
BANDWIDTH = 0.5  # in standard deviations of the rival's images
_Array = NDArray[np.floating[Any]]


def separations(
    logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return the separation of each name in use and the one most like it, by their names."""
    found = dict[tuple[str, str], float]()
    for name, rival in _rivals(logits_NA, guesses).items():
        pair = names[min(name, rival)], names[max(name, rival)]
        if pair not in found:
            rows = (guesses == name) | (guesses == rival)
            points = logits_NA[rows, name].astype(np.float64) - logits_NA[rows, rival]
            found[pair] = _two_modes(points, guesses[rows] == name, labels[rows])
    return found


def gap_densities(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Return the density of images in the gap between each rare name and its rival, relative to that at the rare name.

    Both are of the difference of their logits. The centres are the medians of the images that are guessed either. If
    there is no gap, the images of the rare name are no more than the tail of its rival's, and the figure is near 1.
    """
    found = dict[str, float]()
    for name, rival in _rivals(logits_NA, guesses).items():
        points = {
            each: logits_NA[guesses == each, name].astype(np.float64) - logits_NA[guesses == each, rival]
            for each in (name, rival)
        }
        own, others = points[name], points[rival]
        if len(own) < RARE * (len(own) + len(others)) and others.std() > 0:
            places = (np.concatenate([own, others]) - np.median(others)) / others.std()
            end = float(np.median(own) - np.median(others)) / others.std()
            found[names[name]] = lowest_density(places, np.ones(len(places)), end, BANDWIDTH)[1]
    return found


def _rivals(logits_NA: NDArray[np.float32], guesses: NDArray[np.int64]) -> dict[int, int]:
    """Return each name in use and the one that most of its images are nearest to otherwise; none if one is in use."""
    used = np.unique(guesses)
    if len(used) < 2:
        return {}
    found = dict[int, int]()
    for name in used.tolist():
        others = used[used != name]
        found[name] = int(others[np.bincount(logits_NA[guesses == name][:, others].argmax(axis=1)).argmax()])
    return found


def _two_modes(points_N: _Array, is_first_N: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Return half the difference in BIC, per row, of two Gaussians and of one."""
    classes = np.flatnonzero(np.bincount(labels) >= FEWEST_OF_CLASS)
    if not classes.size:  # then all classes together, without what the class adds to the points of a guess
        means = np.where(is_first_N, points_N[is_first_N].mean(), points_N[~is_first_N].mean())
        points_N = means + within_class((points_N - means)[:, None], labels)[:, 0]
        labels, classes = np.zeros_like(labels), np.array([0])
    gain, num_rows = 0.0, 0
    for label in classes:
        rows = labels == label
        points = (points_N[rows] - points_N[rows].mean())[:, None]
        num_rows += len(points)
        if points.any():
            gain += gain_of_clusters(points, 1 - is_first_N[rows], 2)
    return float(gain / num_rows)


def within_class(values_NA: _Array, labels: NDArray[np.int64]) -> _Array:
    """Return the values minus the mean of their class, which is shrunk to that of all rows if the class has few."""
    values_NA = values_NA - values_NA.mean(axis=0)
    sums = np.stack([np.bincount(labels, column) for column in values_NA.T], axis=1)
    found: _Array = values_NA - (sums / (np.bincount(labels)[:, None] + SHRINKAGE))[labels]
    return found
