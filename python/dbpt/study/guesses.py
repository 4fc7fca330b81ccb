"""Tell what to think of the guesses of a study: doubts, warnings, contact sheets, and a table of images."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution
from dbpt.clip.backbone import zero_shot_logits
from dbpt.data import SPLITS, Dataset
from dbpt.data.tables import Column
from dbpt.discovery.catalogue import catalogue_words
from dbpt.guesses import GuessedFactors
from dbpt.guesses.class_words import MOST_ROWS, class_word_doubts
from dbpt.guesses.grouping import Grouping
from dbpt.guesses.label import doubts_column
from dbpt.guesses.trust import FactorGuesses, Guesses, guesses_with_doubts
from dbpt.objectives import OBJECTIVES
from dbpt.report.pictures import GuessSheets, contact_sheets
from dbpt.settings.config import FitConfig
from dbpt.storage.files import is_missing, write_atomically
from dbpt.study.embedded import Embedded
from dbpt.study.study import Study

logger = logging.getLogger(__name__)

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
        doubts = [str(doubt) for each in judged for doubt in each.doubts] if judged else None
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


def guess_sheets(study: Study) -> GuessSheets:
    """Return the judged guesses of all but the test rows, with contact sheets if there are images.

    Of clusters, add class, cluster and its share of the class for each.
    """
    dataset, pseudo, rows = study.dataset, study.pseudo, study.dataset.rows_to_fit
    assert study.guesses is not None and pseudo.confidence is not None
    grouping = study.grouping("pseudo")
    groups, pairs = grouping.groups[rows], grouping.pairs
    sheets, clusters = None, list[tuple[str, str, float]]()
    if study.config.opens_images and grouping.provenance != "none":
        paths, seed = [dataset.paths[row] for row in rows], study.config.seed
        sheets = contact_sheets(paths, dataset.root, groups, pseudo.confidence[rows], group_names=pairs, seed=seed)
    if grouping.provenance == "clusters":
        counts_CK = grouping.counts(rows).reshape(dataset.num_classes, -1)
        shares_G = (counts_CK / counts_CK.sum(axis=1, keepdims=True).clip(1)).ravel()
        clusters = [(y, a, share) for (y, a), share in zip(pairs, shares_G.tolist(), strict=True)]
    return GuessSheets(study.guesses, {} if clusters else dataset.words.guessed(), sheets, clusters)


def write_guesses(out: Path, sheets: GuessSheets, name: str, label_commands: str, *, again: bool = False) -> None:
    """Write ``guesses.html`` if there are images, so that people can check the guesses during training.

    Args:
        out: the folder.
        sheets: the guesses, with pictures if there are images.
        name: of the data set.
        label_commands: those with which people label a sample, one a line.
        again: replace a page that is there.
    """
    if sheets.sheets is None:
        return
    from dbpt.report.sections import render_guesses  # imports matplotlib, which most commands don't need
    from dbpt.report.text import whose_guesses

    page = out / "guesses.html"
    if again or is_missing(page):
        write_atomically(page, render_guesses(sheets, name, label_commands))
    shown = str(page).encode("utf-8", "backslashreplace").decode()  # most handlers of logs refuse other names
    logger.info(f"{whose_guesses(sheets.guesses.provenance)}, to check before training: {shown}")


def doubted_guesses(study: Study, configs: Sequence[FitConfig] = ()) -> tuple[FactorGuesses, ...]:
    """Return the guesses of each suspect that are in doubt, if figures or trainings with ``configs`` depend on them."""
    depends = study.reported.kind == "pseudo" or any(
        config.selecting_groups == "pseudo"
        or (OBJECTIVES[config.trained_objective].uses_groups and config.group_source == "pseudo")
        for config in configs
    )
    return study.guesses.doubted_factors if depends and study.guesses else ()
