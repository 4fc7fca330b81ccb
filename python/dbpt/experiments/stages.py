"""The stages before training: data, features, pseudo attributes, groups, and a validation split.

`prepare` runs `load_and_embed`, which doesn't depend on the seed, `add_pseudo_attributes`, which may, and `arrange`,
with the settings of one training. A comparison runs each stage only as often as necessary.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.clip.zero_shot import zero_shot_weights
from dbpt.data import Dataset
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
from dbpt.experiments.figures import Labelled
from dbpt.experiments.guesses import judged_guesses, trust_warnings
from dbpt.experiments.readable import (
    Evidence,
    configured_backbone,
    drawn_shots,
    known_attributes,
    label_dataset,
    left_out,
    open_dataset,
    readable_rows,
)
from dbpt.features import Failure
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes.pseudo_groups import pseudo_groups
from dbpt.runs.saved_prompt import check_context, read_context
from dbpt.settings.config import FitConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The N readable images of a data set: ``features`` (N, D), L2-normalised, and zero-shot weights (C, D).

    ``evidence`` is for `label_dataset`, ``labeller`` and ``label_features`` are those of `ReadableRows`, and prompts
    start as the ``context``, if there is one.
    """

    dataset: Dataset
    backbone: Backbone
    features: NDArray[np.float32]
    class_weights: NDArray[np.float32]
    evidence: Evidence
    labeller: Backbone
    label_features: NDArray[np.float32]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    context: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The input of one training, with the warnings of all stages."""

    embedded: Embedded
    labelled: Labelled
    config: FitConfig
    warnings: tuple[str, ...] = ()

    @property
    def dataset(self) -> Dataset:
        """The readable rows."""
        return self.labelled.dataset


def prepare(config: FitConfig, notes: Sequence[str] = ()) -> Experiment:
    """Run all stages. Raises `InputError` for anything that the data or the settings don't allow.

    ``notes`` are added to those of the data.
    """
    embedded = load_and_embed([config], notes=notes)
    config = replace(config, image_precision=embedded.backbone.image_precision)  # what auto was taken for
    labelled = add_pseudo_attributes(embedded, config)
    log_warnings(labelled.warnings, embedded.warnings)  # even if the next stage raises
    guesses = judged_guesses(labelled.dataset, embedded.label_features, embedded.labeller, labelled.pseudo)
    doubts = trust_warnings(guesses, labelled, [config])
    experiment = arrange(embedded, replace(labelled, guesses=guesses, doubt_warnings=doubts), config)
    experiment = replace(experiment, warnings=(*experiment.warnings, *setting_warnings([config])))
    log_warnings((*doubts, *experiment.warnings), labelled.warnings)
    return experiment


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
    readable = readable_rows(dataset, backbone, config, known)
    log_warnings(warnings := left_out(dataset, readable.failures))
    check_classes(readable.dataset)
    return Embedded(
        dataset=readable.dataset,
        backbone=backbone,
        features=(features := readable.features[:]),  # training reads them in each step
        class_weights=zero_shot_weights(backbone, *dataset.words.class_texts()),
        evidence=readable.evidence(),
        labeller=readable.labeller,
        label_features=features if readable.label_features is readable.features else readable.label_features[:],
        failures=readable.failures,
        warnings=warnings,
        context=context,
    )


def add_pseudo_attributes(embedded: Embedded, config: FitConfig) -> Labelled:
    """Return the data with pseudo attributes, and with a validation split if it has none, by the seed of ``config``."""
    dataset = embedded.dataset
    pseudo = label_dataset(dataset, embedded.evidence, config, embedded.label_features)
    groups = pseudo_groups(dataset, pseudo)
    strata = np.where(groups >= 0, groups, groups.max() + 1 + dataset.labels)
    by = "class and pseudo attribute" if dataset.attribute_names else "class"
    splits, notes = hold_out(dataset, strata, config.val_fraction, config.seed, by=by)
    warnings = (*embedded.warnings, *pseudo.warnings, *notes)
    return Labelled(dataset=dataset, pseudo=pseudo, splits=splits, warnings=warnings)


def arrange(embedded: Embedded, labelled: Labelled, config: FitConfig) -> Experiment:
    """Return the input of one training with the settings ``config``, after checks of its groups."""
    experiment, dataset = Experiment(embedded=embedded, labelled=labelled, config=config), labelled.dataset
    check_groups(experiment)
    warnings = [*labelled.warnings, *group_warnings(experiment)]
    known = int((dataset.attributes >= 0).sum())
    if known and labelled.group_kind == "pseudo":
        warnings.append(f"only {known} of {len(dataset)} images have a true attribute: figures are over pseudo groups")
    labelled.average(config.average)  # refused before anything is trained
    return replace(experiment, warnings=tuple(warnings))
