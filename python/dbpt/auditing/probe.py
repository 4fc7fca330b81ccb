"""A plain linear probe (``--predictions probe``), which says what ordinary training would learn from the data."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.data.stored_features import BLOCK_ROWS, StoredFeatures
from dbpt.errors import InputError
from dbpt.objectives.dfr import import_scikit_learn

PENALTY = 0.1
"""scikit-learn's C. 1.0 is overconfident where images are few, 0.01 misses what small groups need."""
MOST_ROWS = 50_000
"""Rows that the probes are fitted to; more hardly change them, but take memory and time."""
FEWEST_OF_CLASS = 100
"""Rows of a class that are taken even if its share of `MOST_ROWS` is smaller."""
SETTINGS = {"C": PENALTY, "tol": 1e-3, "max_iter": 1000}


def check_installed() -> None:
    """Raise `InputError` without scikit-learn."""
    import_scikit_learn("--predictions probe")


def probe_predictions(
    features: NDArray[np.float32] | StoredFeatures,
    labels: NDArray[np.int64],
    *,
    class_names: Sequence[str],
    seed: int,
    folds: int = 5,
) -> NDArray[np.float64]:
    """Return out-of-fold probabilities (N, C) of multinomial logistic regression on standardised features.

    ``features`` (N, D) and ``labels`` (N,) are those of all audited rows, of whatever split: each row is predicted by a
    probe that is fitted to the other folds, so that training rows count without flattering it. ``seed`` deals the rows
    of each class to ``folds``; the smallest class needs two rows. A class without rows has probability 0. Of more than
    50,000 rows a random sample of this size, with the shares of the classes, is fitted to. The same arguments give the
    same bytes on one machine. Raises `InputError`, also without scikit-learn.
    """
    regression = import_scikit_learn("--predictions probe").LogisticRegression
    counts_C = np.bincount(labels, minlength=len(class_names))
    if np.count_nonzero(counts_C) < 2:
        raise InputError("--predictions probe: all images have the same class; a probe needs at least two")
    for alone in np.flatnonzero(counts_C == 1)[:1]:
        needed = "a probe predicts each image from others, so it needs two; add images, or leave the class out"
        raise InputError(f"--predictions probe: class {class_names[alone]!r} has one image; {needed}")
    rng, fold_N, taken = np.random.default_rng(seed), np.empty(len(labels), dtype=np.int64), []
    for label in np.flatnonzero(counts_C):
        members = rng.permutation(np.flatnonzero(labels == label))
        fold_N[members] = np.arange(len(members)) % folds
        taken.append(members[: max(FEWEST_OF_CLASS, MOST_ROWS * len(members) // max(len(labels), MOST_ROWS))])
    rows = np.sort(np.concatenate(taken))
    features_RD = features[rows]
    mean_D = features_RD.mean(axis=0)
    features_RD -= mean_D
    deviation_D = features_RD.std(axis=0)
    deviation_D = np.where(deviation_D > 1e-12, deviation_D, 1)
    features_RD /= deviation_D
    fits = {}
    for fold in np.unique(fold_N).tolist():
        others = fold_N[rows] != fold
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the last digits of convergence
            fits[fold] = regression(**SETTINGS).fit(features_RD[others], labels[rows][others])
    probabilities_NC = np.zeros((len(labels), len(class_names)))
    for start in range(0, len(labels), BLOCK_ROWS):
        block = np.arange(start, min(start + BLOCK_ROWS, len(labels)))
        features_BD = (features[block] - mean_D) / deviation_D
        for fold, fit in fits.items():
            held = fold_N[block] == fold
            if held.any():
                probabilities_NC[np.ix_(block[held], fit.classes_)] = fit.predict_proba(features_BD[held])
    return probabilities_NC
