"""Predictions that are audited: of users, from files and arrays, and of a linear probe."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.data import READERS, Dataset, StoredFeatures, first_copies
from dbpt.data.predictions_from_file import PATH, Wanted, codes_in_memory, read_codes
from dbpt.errors import InputError, nearest
from dbpt.groups.ids import first_of_unit
from dbpt.guesses.linear_probe import import_scikit_learn, out_of_fold


@dataclass(frozen=True, eq=False)
class UserPredictions:
    """Predicted classes (n,) int64, and probabilities (n, C) float64, whose rows sum to 1, or None.

    A class of -1 is that of an image that `dbpt predict` could not read.
    """

    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    warnings: tuple[Caution, ...] = ()

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """The probabilities (n,) of the predicted classes."""
        if self.probabilities is None:
            return None
        return self.probabilities[np.arange(len(self.predictions)), self.predictions]

    def take(self, rows: NDArray[np.bool_]) -> "UserPredictions":
        """Return those where ``rows`` (n,) is True."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(self, predictions=self.predictions[rows], probabilities=probabilities)


def likeliest(probabilities: NDArray[np.floating[Any]]) -> UserPredictions:
    """Return the classes of the largest ``probabilities`` (n, C) as predictions."""
    return UserPredictions(probabilities.argmax(axis=1), probabilities.astype(np.float64))


def user_predictions(
    predictions: Any,
    dataset: Dataset,
    rows: NDArray[np.int64] | None = None,
    columns: Mapping[str, str] | None = None,
) -> UserPredictions:
    """Return the user's predictions for some images.

    Args:
        predictions: the path of a file, an array, or a data frame.
        dataset: the images and the names of their classes.
        rows: (n,) the rows of ``dataset`` that are audited; by default all.
        columns: the columns of ``--columns``, by role.

    Raises:
        InputError: for a file that can't be read, and for predictions that don't fit the data.
    """
    columns, rows = columns or {}, np.arange(len(dataset)) if rows is None else rows
    own = columns.get("prediction_path")
    wanted = Wanted(
        noun="prediction",
        kind="class",
        columns=(columns.get("prediction", "prediction"),),
        paths=(own,) if own else tuple(dict.fromkeys((columns.get("path", PATH), PATH))),
        vocabulary=dataset.words.classes,
    )
    if not isinstance(predictions, str | os.PathLike):
        codes = codes_in_memory("predictions", predictions, dataset, wanted, rows)
        return UserPredictions(codes.codes, codes.probabilities, codes.warnings)
    path = Path(predictions)
    if path.suffix.lower() not in (*READERS, ".npy") and not os.path.lexists(path):  # Path.exists may raise
        meant = nearest(str(path), ["zero-shot", "probe"])
        raise InputError(
            f"--predictions {path}: no such file or folder{meant}; expected zero-shot, probe, the folder of a run, or "
            "a file of predictions"
        )
    codes = read_codes(path, dataset, wanted, rows)
    return UserPredictions(codes.codes, codes.probabilities, codes.warnings)


PROBE_OPTION = "--predictions probe"


def probe_predictions(
    features: NDArray[np.float32] | StoredFeatures,
    labels: NDArray[np.int64],
    *,
    class_names: Sequence[str],
    seed: int,
) -> NDArray[np.float64]:
    """Predict the class of each row by a linear probe that is fitted to the other folds.

    So rows of any split can be audited: training rows count without flattering the probe.

    Args:
        features: (N, D) of the audited rows.
        labels: (N,) int64, their classes.
        class_names: (C,) for messages.
        seed: seed of the folds.

    Returns:
        The `out_of_fold` probabilities (N, C) of the classes.

    Raises:
        InputError: without scikit-learn, and unless each class has two rows that are no copies.
    """
    import_scikit_learn(PROBE_OPTION)
    counts_C = np.bincount(labels, minlength=len(class_names))
    if np.count_nonzero(counts_C) < 2:
        raise InputError(f"{PROBE_OPTION}: all images have the same class; a probe needs at least two")
    is_first = first_of_unit(first_copies(features), labels) == np.arange(len(labels))
    for alone in np.flatnonzero(np.bincount(labels[is_first], minlength=len(class_names)) == 1)[:1]:
        copies = f" in {counts_C[alone]} copies" if counts_C[alone] > 1 else ""
        needed = "a probe predicts each image from others, so it needs two; add images, or leave the class out"
        raise InputError(f"{PROBE_OPTION}: class {class_names[alone]!r} has one image{copies}; {needed}")
    return out_of_fold(features, labels, num_classes=len(class_names), seed=seed)
