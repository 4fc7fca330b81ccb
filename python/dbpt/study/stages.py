"""The steps of a study before training: read and embed, guess, judge the guesses, arrange. `checks` are between."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt.cautions import Caution, caution
from dbpt.data import SPLITS, Dataset, check_precomputed_file, first_copies
from dbpt.data.dataset import check_classes
from dbpt.data.text_array import Texts
from dbpt.data.validation_split import hold_out
from dbpt.data.writing import Column
from dbpt.guesses import GuessedFactors
from dbpt.guesses.apply_method import doubts_column
from dbpt.guesses.catalogue import catalogue_words
from dbpt.guesses.doubts import MOST_ROWS, class_word_doubts
from dbpt.guesses.figures import FactorGuesses, Guesses, guesses_with_doubts
from dbpt.guesses.grouping import Grouping
from dbpt.guesses.linear_probe import probe_errors
from dbpt.heads import HEADS
from dbpt.heads.class_and_group_prompts import class_prompts, group_prompts
from dbpt.objectives import OBJECTIVES
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.runs.run_folder import read_context
from dbpt.settings.config import FitConfig
from dbpt.study.checks import (
    check_before_embedding,
    check_before_reading,
    check_groups,
    check_memory,
    group_warnings,
    setting_warnings,
)
from dbpt.study.data import open_dataset, rows_with_known
from dbpt.study.study import Embedded, Study, configured_backbone, embedded_rows

logger = logging.getLogger(__name__)


def prepare(config: FitConfig, notes: Sequence[str] = ()) -> Study:
    """Run all stages. Raises `InputError` for anything that the data or the settings don't allow.

    ``notes`` are added to those of the data.
    """
    embedded = load_and_embed([config], notes=notes)
    config = replace(config, image_precision=embedded.backbone.image_precision)  # what auto was taken for
    guessed = add_pseudo_attributes(embedded, config)
    log_warnings(guessed.warnings, embedded.warnings)  # even if the next stage raises
    guessed = replace(guessed, guesses=judged_guesses(embedded, guessed.pseudo))
    study = arrange(guessed, config)
    warnings = (*study.warnings, *setting_warnings([config]))
    class_doubts = judged_class_words(embedded, study.pseudo)
    doubted = doubted_guesses(study, [config])
    study = replace(study, warnings=warnings, doubted_guesses=doubted, class_doubts=class_doubts)
    log_warnings((*class_doubts, *study.warnings), guessed.warnings)
    return study


def log_warnings(warnings: Iterable[object], logged: Iterable[object] = ()) -> None:
    """Log the warnings, except those already ``logged``.

    Stages return warnings in their values, because a comparison runs them more than once. `fit`, `evaluate` and
    `compare` log each as soon as it is known, and at the end all others in the `Result`.
    """
    before = set(map(str, logged))
    for text in map(str, warnings):
        if text not in before:
            logger.warning(text)


def load_and_embed(
    configs: Sequence[FitConfig],
    *,
    need_attributes: bool = False,
    notes: Sequence[str] = (),
    backbone: "clip.Backbone | None" = None,
) -> Embedded:
    """Load the data and the backbone and embed the images, once for ``configs`` that may differ in seed and method.

    With few shots they have the same seed, which draws them. With ``need_attributes``, refuse data that name no
    attribute, even if no objective uses groups. ``notes`` are added to those of the data. A ``backbone`` is that of the
    settings, loaded before.
    """
    config = configs[0]
    check_before_reading(config)
    start = next((trained.start_from for trained in configs if trained.start_from is not None), None)
    context = None if start is None else read_context(start)
    for trained in configs:
        uses_groups = OBJECTIVES[trained.trained_objective].uses_groups or trained.prompts == "group"
        need_attributes |= uses_groups and trained.group_source != "ppa"
    dataset = open_dataset(config, needs_attributes=need_attributes)
    dataset, known = rows_with_known(config, dataset)
    if backbone is None:
        logger.info(dataset.describe())
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    for trained in configs:
        check_before_embedding(trained, dataset)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings), dataset)
    backbone = backbone or configured_backbone(config)
    for trained in configs:
        check_memory(trained, len(dataset), backbone.embed_dim)
    heads = {(trained.head, prompts): trained for trained in configs for _, prompts in trained.trained}
    for (_, prompts), trained in heads.items():
        settings, words = trained.values(HEADS[trained.head].settings), dataset.words
        is_named = prompts == "group" and words.attributes and not trained.has_unnamed_groups
        outputs = group_prompts(words) if is_named else class_prompts(words)
        HEADS[trained.head].check(backbone, outputs, context=context, start_from=start, **settings)
    embedded = embedded_rows(dataset, backbone, config, known)
    embedded = replace(embedded, warnings=(*embedded.warnings, *_test_copies(embedded)))
    for warning in embedded.warnings:
        logger.warning(str(warning))
    check_classes(embedded.dataset)
    features = embedded.features.kept()  # training reads them in each step
    label_features = embedded.label_features
    label_features = features if label_features is embedded.features else label_features.kept()
    return replace(embedded, features=features, label_features=label_features, context=context)


def _test_copies(embedded: Embedded) -> list[Caution]:
    """Return a warning if test images have the features of images in other splits."""
    is_test = embedded.dataset.in_split("test")
    first = first_copies(embedded.features) if is_test.any() else np.arange(len(is_test))
    copies = np.flatnonzero(is_test & np.isin(first, first[~is_test]))
    if not len(copies):
        return []
    of_first = np.flatnonzero(~is_test & (first == first[copies[0]]))
    copy, original = embedded.dataset.paths_of(np.append(copies[:1], of_first[:1]))
    return [caution("test copies", n=len(copies), of=int(is_test.sum()), first=copy, original=original)]


def add_pseudo_attributes(embedded: Embedded, config: FitConfig) -> Study:
    """Return the data with pseudo attributes, and with a validation split if it has none, by the seed of ``config``."""
    dataset, pseudo = embedded.dataset, embedded.guess(config)
    groups = Grouping.guessed(dataset, pseudo).groups
    # Rows without a group are held out by class, in strata numbered after the groups.
    strata = np.where(groups >= 0, groups, groups.max() + 1 + dataset.labels)
    by = "class" if pseudo.provenance == "none" else "class and pseudo attribute"
    splits, notes = hold_out(dataset, strata, config.val_fraction, config.seed, by=by)
    warnings = (*embedded.warnings, *pseudo.warnings, *notes)
    return Study(embedded=embedded, config=config, pseudo=pseudo, splits=splits, warnings=warnings)


def arrange(study: Study, config: FitConfig) -> Study:
    """Return the input of one training with the settings ``config``, after checks of its groups."""
    study = replace(study, config=config)
    if config.group_source == "ppa":
        weights = study.embedded.zero_shot.weights
        training = study.rows("train")
        errors = probe_errors(study.features.whole("--group-source ppa"), study.dataset.labels, weights, training)
        study = replace(study, probe_errors=errors)
        if not errors[training].any():
            study = replace(study, warnings=(*study.warnings, caution("no errors of the probe")))
    check_groups(study)
    warnings, dataset = [*study.warnings, *group_warnings(study)], study.dataset
    known = int((dataset.attributes >= 0).sum())
    if known and study.reported.kind == "pseudo":
        warnings.append(caution("few true attributes", n=known, of=len(dataset)))
    study.average  # noqa: B018 (refused before anything is trained)
    return replace(study, warnings=tuple(warnings))


MOST_IN_SHORT = 10
"""So many probabilities with four digits still sum to 1, up to 0.0005; those of more classes have six."""


def image_columns(
    dataset: Dataset,
    pseudo: GuessedFactors,
    guesses: Guesses | None,
    rows: NDArray[np.int64] | None = None,
    *,
    attributes: Texts | None = None,
    predictions: NDArray[np.int64] | None = None,
    probabilities: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Column]:
    """Return the columns of a table of images, by name: text as `Texts`, numbers as arrays.

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
    of_rows, taken = (pseudo, slice(None)) if rows is None else (pseudo.take(rows), rows)
    classes = dataset.class_names
    columns: dict[str, Column] = {
        "path": dataset.paths_of(taken),
        "label": Texts.coded(classes, dataset.labels[taken]),
        "split": Texts.coded(SPLITS, dataset.splits[taken]),
    }
    if predictions is not None:
        columns["prediction"] = Texts.coded(classes, predictions)
    if attributes is not None:
        columns["attribute"] = attributes
    grouping = Grouping.guessed(dataset, pseudo)
    if grouping.provenance != "none":
        judged = guesses.factors if guesses is not None and guesses.is_judged else []
        doubts = [str(doubt) for judged_part in judged for doubt in judged_part.doubts] if judged else None
        columns |= _columns("", grouping.names_of_rows(taken), of_rows.confidence, doubts)
        for number, factor in enumerate(of_rows.factors if of_rows.factors[1:] else ()):
            part = grouping.alone(number)
            doubts = [doubt.sentence for doubt in judged[number].doubts] if judged else None
            columns |= _columns(part.factors[0].name, part.names_of_rows(taken), factor.confidence, doubts)
        columns["group"] = grouping.groups[taken]
    if probabilities is not None:
        digits = 4 if len(classes) <= MOST_IN_SHORT else 6
        columns |= {
            f"p_{name}": _rounded(column, digits) for name, column in zip(classes, probabilities.T, strict=True)
        }
    return columns


def _columns(
    name: str, named: Texts, confidence: NDArray[np.float32] | None, doubts: list[str] | None
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
    logits_of = partial(clip.zero_shot_logits, images.labeller, images.label_features)
    return guesses_with_doubts(dataset, pseudo, rows, logits_of, catalogue_words)


def judged_class_words(
    images: Embedded,
    pseudo: GuessedFactors,
    rows: NDArray[np.int64] | None = None,
    classifier: FeatureClassifier | None = None,
) -> tuple[Caution, ...]:
    """Return the `class_word_doubts` about ``rows``, by default all but the test rows.

    The ``classifier`` is made of words; by default it is the zero-shot one.
    """
    dataset = images.dataset
    rows = dataset.rows_to_fit if rows is None else rows
    rows = rows[:: -(-len(rows) // MOST_ROWS) or 1]
    labels, attributes = dataset.labels[rows], pseudo.pseudo_attributes[rows]
    if len(np.unique(labels)) < 2:
        return ()
    logits = (classifier or images.zero_shot).logits(images.features.take(rows))
    return class_word_doubts(logits, labels, attributes, dataset.class_names)


def doubted_guesses(study: Study, configs: Sequence[FitConfig] = ()) -> tuple[FactorGuesses, ...]:
    """Return the guesses of each suspect that are in doubt, if figures or trainings with ``configs`` depend on them."""
    depends = study.reported.kind == "pseudo" or any(
        config.selecting_groups == "pseudo"
        or (OBJECTIVES[config.trained_objective].uses_groups and config.group_source == "pseudo")
        for config in configs
    )
    return study.guesses.doubted_factors if depends and study.guesses else ()
