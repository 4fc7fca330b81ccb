"""The steps of a study before training: read and embed, guess, arrange. `checks` are between them."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dbpt.cautions import caution
from dbpt.clip import Backbone, zero_shot_weights
from dbpt.data import check_precomputed_file
from dbpt.data.dataset import check_classes, hold_out
from dbpt.guesses.grouping import Grouping
from dbpt.guesses.linear_probe import probe_errors
from dbpt.heads import HEADS
from dbpt.heads.base import class_prompts, group_prompts
from dbpt.objectives import OBJECTIVES
from dbpt.runs.run_folder import read_context
from dbpt.settings.config import FitConfig
from dbpt.study.checks import (
    check_before_embedding,
    check_before_reading,
    check_groups,
    group_warnings,
    setting_warnings,
)
from dbpt.study.data import open_dataset, rows_with_known
from dbpt.study.embedded import Embedded, configured_backbone, embedded_rows
from dbpt.study.guesses import doubted_guesses, judged_class_words, judged_guesses
from dbpt.study.study import Study

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
    backbone: Backbone | None = None,
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
    heads = {(trained.head, prompts): trained for trained in configs for _, prompts in trained.trained}
    for (_, prompts), trained in heads.items():
        settings, words = trained.values(HEADS[trained.head].settings), dataset.words
        is_named = prompts == "group" and words.attributes and not trained.has_unnamed_groups
        outputs = group_prompts(words) if is_named else class_prompts(words)
        HEADS[trained.head].check(backbone, outputs, context=context, start_from=start, **settings)
    embedded = embedded_rows(dataset, backbone, config, known)
    for warning in embedded.warnings:
        logger.warning(str(warning))
    check_classes(embedded.dataset)
    features = embedded.features[:]  # training reads them in each step
    label_features = features if embedded.label_features is embedded.features else embedded.label_features[:]
    weights = zero_shot_weights(backbone, *dataset.words.class_texts())
    return replace(embedded, features=features, label_features=label_features, class_weights=weights, context=context)


def add_pseudo_attributes(embedded: Embedded, config: FitConfig) -> Study:
    """Return the data with pseudo attributes, and with a validation split if it has none, by the seed of ``config``."""
    dataset, pseudo = embedded.dataset, embedded.guess(config)
    groups = Grouping.guessed(dataset, pseudo).groups
    # Rows without a group are held out by class, in strata numbered after the groups.
    strata = np.where(groups >= 0, groups, groups.max() + 1 + dataset.labels)
    by = "class and pseudo attribute" if dataset.attribute_names else "class"
    splits, notes = hold_out(dataset, strata, config.val_fraction, config.seed, by=by)
    warnings = (*embedded.warnings, *pseudo.warnings, *notes)
    return Study(embedded=embedded, config=config, pseudo=pseudo, splits=splits, warnings=warnings)


def arrange(study: Study, config: FitConfig) -> Study:
    """Return the input of one training with the settings ``config``, after checks of its groups."""
    study = replace(study, config=config)
    if config.group_source == "ppa":
        weights = study.embedded.class_weights
        training = study.rows("train")
        errors = probe_errors(study.features, study.dataset.labels, weights, training)
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
