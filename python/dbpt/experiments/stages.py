"""The stages before training: data, features, pseudo attributes, groups, and a validation split.

`prepare` runs `load_and_embed`, which doesn't depend on the seed, `add_pseudo_attributes`, which may, and `arrange`,
with the settings of one training. A comparison runs each stage only as often as necessary.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dbpt.clip import Backbone
from dbpt.clip.zero_shot import zero_shot_weights
from dbpt.data.dataset_checks import check_classes
from dbpt.data.drawn import hold_out
from dbpt.data.precomputed import check_precomputed_file
from dbpt.experiments.checks import (
    check_before_embedding,
    check_before_reading,
    check_groups,
    group_warnings,
    setting_warnings,
)
from dbpt.experiments.figures import Study
from dbpt.experiments.guesses import judged_guesses, trust_warnings
from dbpt.experiments.readable import (
    Embedded,
    configured_backbone,
    drawn_shots,
    embedded_rows,
    known_attributes,
    left_out,
    open_dataset,
)
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes.pseudo_groups import pseudo_groups
from dbpt.runs.saved_prompt import check_context, read_context
from dbpt.settings.config import FitConfig

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
    guessed = replace(guessed, doubt_warnings=trust_warnings(guessed, [config]))
    study = arrange(guessed, config)
    study = replace(study, warnings=(*study.warnings, *setting_warnings([config])))
    log_warnings((*study.doubt_warnings, *study.warnings), guessed.warnings)
    return study


def log_warnings(warnings: Iterable[str], logged: Collection[str] = ()) -> None:
    """Log the warnings, except those already ``logged``.

    Stages return warnings in their values, because a comparison runs them more than once. `fit`, `evaluate` and
    `compare` log each as soon as it is known, and at the end all others in the `Result`.
    """
    for warning in warnings:
        if warning not in logged:
            logger.warning(warning)


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
    start = next((each.start_from for each in configs if each.start_from is not None), None)
    context = None if start is None else read_context(start)
    need_attributes |= any(OBJECTIVES[each.objective].uses_groups for each in configs)
    dataset = open_dataset(config, training=True, needs_attributes=need_attributes)
    known = known_attributes(config, dataset)
    dataset, known = drawn_shots(dataset, known, config)
    if backbone is None:
        logger.info(dataset.describe())
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    for each in configs:
        check_before_embedding(each, dataset)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings), dataset)
    backbone = backbone or configured_backbone(config)
    for each in {each.head: each for each in configs}.values():
        settings = each.values(HEADS[each.head].settings)
        if context is not None and start is not None and each.head == "prompt":
            specific = each.class_specific_context
            check_context(context, start, backbone, dataset.num_classes, class_specific=specific)
            settings["n_ctx"] = context.shape[-2]
        HEADS[each.head].check(backbone, dataset.words, **settings)
    embedded = embedded_rows(dataset, backbone, config, known)
    log_warnings(warnings := left_out(dataset, embedded.failures))
    check_classes(embedded.dataset)
    features, label_features = embedded.features[:], embedded.label_features  # training reads them in each step
    return replace(
        embedded,
        features=features,
        label_features=features if label_features is embedded.features else label_features[:],
        warnings=warnings,
        class_weights=zero_shot_weights(backbone, *dataset.words.class_texts()),
        context=context,
    )


def add_pseudo_attributes(embedded: Embedded, config: FitConfig) -> Study:
    """Return the data with pseudo attributes, and with a validation split if it has none, by the seed of ``config``."""
    dataset, pseudo = embedded.dataset, embedded.guess(config)
    groups = pseudo_groups(dataset, pseudo)
    strata = np.where(groups >= 0, groups, groups.max() + 1 + dataset.labels)
    by = "class and pseudo attribute" if dataset.attribute_names else "class"
    splits, notes = hold_out(dataset, strata, config.val_fraction, config.seed, by=by)
    warnings = (*embedded.warnings, *pseudo.warnings, *notes)
    return Study(embedded=embedded, config=config, pseudo=pseudo, splits=splits, warnings=warnings)


def arrange(study: Study, config: FitConfig) -> Study:
    """Return the input of one training with the settings ``config``, after checks of its groups."""
    study = replace(study, config=config)
    check_groups(study)
    warnings, dataset = [*study.warnings, *group_warnings(study)], study.dataset
    known = int((dataset.attributes >= 0).sum())
    if known and study.group_kind == "pseudo":
        warnings.append(f"only {known} of {len(dataset)} images have a true attribute: figures are over pseudo groups")
    study.average  # noqa: B018 (refused before anything is trained)
    return replace(study, warnings=tuple(warnings))
