"""Separation of names: by how much two modes describe their logits better than one, within the classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.pseudo_attributes.mixture import fit_mixture

FEWEST_OF_CLASS = 50
SHRINKAGE = 5  # rows
_Array = NDArray[np.floating[Any]]


def separations(
    logits_NA: NDArray[np.float32], guesses: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Return the separation of each name in use and the one most like it, by their names."""
    used = np.unique(guesses)
    if len(used) < 2:
        return {}
    logits_NU, guesses = logits_NA[:, used].astype(np.float64), np.searchsorted(used, guesses)
    found = dict[tuple[int, int], float]()
    for name in range(len(used)):
        others_NU = np.where(np.arange(len(used)) == name, -np.inf, logits_NU)[guesses == name]
        rival = int(np.bincount(others_NU.argmax(axis=1)).argmax())
        if (rival, name) not in found:
            rows = (guesses == name) | (guesses == rival)
            points = logits_NU[rows, name] - logits_NU[rows, rival]
            found[name, rival] = _two_modes(points, guesses[rows] == name, labels[rows])
    return {(names[used[min(pair)]], names[used[max(pair)]]): value for pair, value in found.items()}


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
            start = np.eye(2)[1 - is_first_N[rows]] * 0.98 + 0.01
            one = fit_mixture(points, np.ones((len(points), 1)), 1, 0.0)
            gain += (one.bic - fit_mixture(points, start, 300, 1e-4).bic) / 2
    return float(gain / num_rows)


def within_class(values_NA: _Array, labels: NDArray[np.int64]) -> _Array:
    """Return the values minus the mean of their class, which is shrunk to that of all rows if the class has few."""
    values_NA = values_NA - values_NA.mean(axis=0)
    sums = np.stack([np.bincount(labels, column) for column in values_NA.T], axis=1)
    found: _Array = values_NA - (sums / (np.bincount(labels)[:, None] + SHRINKAGE))[labels]
    return found
