"""The table with a row for each image, in which `dbpt guess`, `dbpt fit` and `dbpt audit` write their guesses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data import SPLITS, Dataset
from dbpt.files.csv import Column
from dbpt.pseudo_attributes.from_file import doubts_column
from dbpt.pseudo_attributes.job import PseudoAttributes
from dbpt.pseudo_attributes.pseudo_groups import NO_ATTRIBUTE, names_of_rows, pseudo_groups
from dbpt.pseudo_attributes.trust import Guesses

MOST_IN_SHORT = 10
"""So many probabilities with four digits still sum to 1, up to 0.0005; those of more classes have six."""


def image_columns(
    dataset: Dataset,
    pseudo: PseudoAttributes,
    guesses: Guesses | None,
    rows: NDArray[np.int64] | None = None,
    *,
    attributes: list[str] | None = None,
    predictions: NDArray[np.int64] | None = None,
    probabilities: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Column]:
    """Return the columns of the table, by name, for the ``rows`` (n,) of ``dataset``, by default all.

    Columns of text are lists, those of numbers arrays.

    They are ``path``, ``label``, ``split``, ``pseudo_attribute``, its ``confidence``, ``doubts``, and ``group``, the
    number y * A + a of label and pseudo attribute. With several factors, ``pseudo_NAME``, ``confidence_NAME`` and
    ``doubts_NAME`` of each follow the doubts. The doubts are those of ``guesses``, by `doubts_column`; the columns
    are missing if nobody judged the guesses. Also ``attribute``, ``prediction`` and a probability ``p_CLASS`` for each
    class, for which the names ``attributes`` (n,), ``predictions`` (n,) and ``probabilities`` (n, C) are of ``rows``.
    Names stand for indices; an unknown attribute is "", its group -1. Without named attributes the columns about it are
    missing.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    classes = dataset.class_names
    found: dict[str, Column] = {
        "path": [dataset.paths[row] for row in rows.tolist()],
        "label": [classes[label] for label in dataset.labels[rows].tolist()],
        "split": [SPLITS[split] for split in dataset.splits[rows].tolist()],
    }
    if predictions is not None:
        found["prediction"] = [classes[label] for label in predictions.tolist()]
    if attributes is not None:
        found["attribute"] = attributes
    if pseudo.method != NO_ATTRIBUTE:
        judged = guesses if guesses is not None and guesses.is_judged else None
        found |= _columns("", names_of_rows(dataset, pseudo), pseudo, judged, rows)
        for place, part in enumerate(pseudo.parts):
            suspect, of_part = dataset.words.suspects[place], judged and judged.factors[place]
            values = [*suspect.values, ""]  # the last for -1
            named = [values[value] for value in part.pseudo_attributes.tolist()]
            found |= _columns(suspect.name, named, part, of_part, rows)
        found["group"] = pseudo_groups(dataset, pseudo)[rows]
    if probabilities is not None:
        digits = 4 if len(classes) <= MOST_IN_SHORT else 6
        found |= {f"p_{name}": _rounded(column, digits) for name, column in zip(classes, probabilities.T, strict=True)}
    return found


def _columns(
    name: str, named: list[str], pseudo: PseudoAttributes, judged: Guesses | None, rows: NDArray[np.int64]
) -> dict[str, Column]:
    """Return the columns of one attribute, whose value in each row of the data is ``named``."""
    assert pseudo.confidence is not None
    suffix = name and f"_{name}"
    found: dict[str, Column] = {f"pseudo_{name or 'attribute'}": [named[row] for row in rows.tolist()]}
    found[f"confidence{suffix}"] = _rounded(pseudo.confidence[rows])
    if judged:
        doubts = [doubt.sentence if name else str(doubt) for doubt in judged.doubts]
        found[f"doubts{suffix}"] = doubts_column(doubts, len(rows))
    return found


def _rounded(values: NDArray[np.floating[Any]], digits: int = 4) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = values.astype(np.float64).round(digits)
    return rounded
