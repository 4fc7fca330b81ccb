"""Tell what to think of the guesses of a study: doubts, warnings, and a table of images."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.clip.backbone import zero_shot_logits
from dbpt.data import SPLITS, Dataset
from dbpt.data.tables import Column
from dbpt.guesses import GuessedFactors
from dbpt.guesses.catalogue import catalogue_words
from dbpt.guesses.doubts import MOST_ROWS, class_word_doubts
from dbpt.guesses.grouping import Grouping
from dbpt.guesses.label import doubts_column
from dbpt.guesses.trust import FactorGuesses, Guesses, guesses_with_doubts
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig
from dbpt.study.embedded import Embedded
from dbpt.study.study import Study

MOST_IN_SHORT = 10
"""So many probabilities with four digits still sum to 1, up to 0.0005; those of more classes have six."""


def image_columns(
    dataset: Dataset,
    pseudo: GuessedFactors,
    guesses: Guesses | None,
    rows: NDArray[np.int64] | None = None,
    *,
    attributes: list[str] | None = None,
    predictions: NDArray[np.int64] | None = None,
    probabilities: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Column]:
    """Return the columns of a table of images, by name: text as lists, numbers as arrays.

    They are ``path``, ``label``, ``split``, ``prediction``, ``attribute``, ``pseudo_attribute``, its ``confidence`` and
    ``doubts``, ``group`` (the number y * A + a of label and pseudo attribute), and a probability ``p_CLASS`` for each
    class. With several factors, ``pseudo_NAME``, ``confidence_NAME`` and ``doubts_NAME`` of each follow the doubts.
    Columns that nothing is known for are missing. An unknown attribute is "", its group -1.

    Args:
        dataset: N images.
        pseudo: their pseudo attributes.
        guesses: gives the doubts, by `doubts_column`; None if nobody judged the pseudo attributes.
        rows: (n,) the rows of ``dataset`` to write, by default all.
        attributes: (n,) names of the true attributes of ``rows``.
        predictions: (n,) predicted classes of ``rows``, as indices.
        probabilities: (n, C) of the classes.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    classes = dataset.class_names
    columns: dict[str, Column] = {
        "path": [dataset.paths[row] for row in rows.tolist()],
        "label": [classes[label] for label in dataset.labels[rows].tolist()],
        "split": [SPLITS[split] for split in dataset.splits[rows].tolist()],
    }
    if predictions is not None:
        columns["prediction"] = [classes[label] for label in predictions.tolist()]
    if attributes is not None:
        columns["attribute"] = attributes
    grouping, of_rows = Grouping.guessed(dataset, pseudo), pseudo.take(rows)
    if grouping.provenance != "none":
        judged = guesses.factors if guesses is not None and guesses.is_judged else []
        doubts = [str(doubt) for judged_part in judged for doubt in judged_part.doubts] if judged else None
        columns |= _columns("", grouping.names_of_rows(rows), of_rows.confidence, doubts)
        for number, factor in enumerate(of_rows.factors if of_rows.factors[1:] else ()):
            part = grouping.alone(number)
            doubts = [doubt.sentence for doubt in judged[number].doubts] if judged else None
            columns |= _columns(part.factors[0].name, part.names_of_rows(rows), factor.confidence, doubts)
        columns["group"] = grouping.groups[rows]
    if probabilities is not None:
        digits = 4 if len(classes) <= MOST_IN_SHORT else 6
        columns |= {
            f"p_{name}": _rounded(column, digits) for name, column in zip(classes, probabilities.T, strict=True)
        }
    return columns


def _columns(
    name: str, named: list[str], confidence: NDArray[np.float32] | None, doubts: list[str] | None
) -> dict[str, Column]:
    """Return the columns of one attribute, whose value in each of n rows is ``named``, with its confidence (n,)."""
    assert confidence is not None
    suffix = name and f"_{name}"
    columns: dict[str, Column] = {f"pseudo_{name or 'attribute'}": named, f"confidence{suffix}": _rounded(confidence)}
    return columns if doubts is None else columns | {f"doubts{suffix}": doubts_column(doubts, len(named))}


def _rounded(values: NDArray[np.floating[Any]], digits: int = 4) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = values.astype(np.float64).round(digits)
    return rounded


def judged_guesses(images: Embedded, pseudo: GuessedFactors, rows: NDArray[np.int64] | None = None) -> Guesses:
    """Return the figures and doubts of `guesses_with_doubts` about ``rows``, by default all but the test rows."""
    dataset = images.dataset
    rows = dataset.rows_to_fit if rows is None else rows
    if len(rows) < len(dataset):
        dataset, pseudo = dataset.take(rows), pseudo.take(rows)
    logits_of = partial(zero_shot_logits, images.labeller, images.label_features)
    return guesses_with_doubts(dataset, pseudo, rows, logits_of, catalogue_words)


def judged_class_words(
    images: Embedded, pseudo: GuessedFactors, rows: NDArray[np.int64] | None = None
) -> tuple[Caution, ...]:
    """Return the `class_word_doubts` about ``rows``, by default all but the test rows."""
    dataset = images.dataset
    rows = dataset.rows_to_fit if rows is None else rows
    rows = rows[:: -(-len(rows) // MOST_ROWS) or 1]
    labels, attributes = dataset.labels[rows], pseudo.pseudo_attributes[rows]
    if len(np.unique(labels)) < 2:
        return ()
    logits = zero_shot_logits(images.backbone, images.features, *dataset.words.class_texts(), rows=rows)
    return class_word_doubts(logits, labels, attributes, dataset.class_names)


def doubted_guesses(study: Study, configs: Sequence[FitConfig] = ()) -> tuple[FactorGuesses, ...]:
    """Return the guesses of each suspect that are in doubt, if figures or trainings with ``configs`` depend on them."""
    depends = study.reported.kind == "pseudo" or any(
        config.selecting_groups == "pseudo"
        or (OBJECTIVES[config.trained_objective].uses_groups and config.group_source == "pseudo")
        for config in configs
    )
    return study.guesses.doubted_factors if depends and study.guesses else ()
