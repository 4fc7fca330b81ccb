"""The user's own predictions (``--predictions FILE``) for the images of a data set, read by `data.image_codes`.

`dbpt predict` writes such a table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import Dataset
from dbpt.data.image_codes import PATH, Codes, Wanted, codes_in_memory, read_codes
from dbpt.data.table_formats import READERS
from dbpt.errors import InputError, nearest


@dataclass(frozen=True, eq=False)
class UserPredictions:
    """Predicted classes (n,) int64, and probabilities (n, C) float64, whose rows sum to 1, or None.

    A class of -1 is that of an image that `dbpt predict` could not read.
    """

    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    warnings: tuple[str, ...] = ()

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """The probabilities (n,) of the predicted classes."""
        if self.probabilities is None:
            return None
        return self.probabilities[np.arange(len(self.predictions)), self.predictions]

    def take(self, rows: NDArray[np.bool_]) -> UserPredictions:
        """Return those where ``rows`` (n,) is True."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(self, predictions=self.predictions[rows], probabilities=probabilities)


def likeliest(probabilities: NDArray[np.floating[Any]]) -> UserPredictions:
    """Return the classes of the largest ``probabilities`` (n, C) as predictions."""
    return UserPredictions(probabilities.argmax(axis=1), probabilities.astype(np.float64))


def read_predictions(
    path: Path, dataset: Dataset, rows: NDArray[np.int64] | None = None, columns: Mapping[str, str] | None = None
) -> UserPredictions:
    """Return the predictions in a file for the ``rows`` (n,) of ``dataset`` that are audited, by default all.

    ``columns`` are those of ``--columns``, by role.
    """
    if path.suffix.lower() not in (*READERS, ".npy") and not os.path.lexists(path):  # Path.exists may raise
        meant = nearest(str(path), ["zero-shot", "probe"])
        raise InputError(
            f"--predictions {path}: no such file or folder{meant}; expected zero-shot, probe, the folder of a run, or "
            "a file of predictions"
        )
    return _predictions(read_codes(path, dataset, _wanted(dataset, columns or {}), rows))


def array_predictions(
    predictions: Any, dataset: Dataset, rows: NDArray[np.int64], columns: Mapping[str, str] | None = None
) -> UserPredictions:
    """Return predictions in memory, an array or a data frame, for the ``rows`` (n,) of ``dataset``."""
    return _predictions(codes_in_memory("predictions", predictions, dataset, _wanted(dataset, columns or {}), rows))


def _wanted(dataset: Dataset, columns: Mapping[str, str]) -> Wanted:
    own = columns.get("prediction_path")
    return Wanted(
        noun="prediction",
        kind="class",
        columns=(columns.get("prediction", "prediction"),),
        paths=(own,) if own else tuple(dict.fromkeys((columns.get("path", PATH), PATH))),
        vocabulary=dataset.words.classes,
    )


def _predictions(found: Codes) -> UserPredictions:
    return UserPredictions(found.codes, found.probabilities, found.warnings)
