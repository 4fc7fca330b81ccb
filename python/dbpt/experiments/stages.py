"""The stages before training: data, features, pseudo attributes, groups, and a validation split.

`prepare` runs `embed`, which no seed changes, `label`, which may depend on it, and `arrange`, with the settings of one
training. A comparison runs each only as often as it must.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.clip import Backbone, load_backbone
from dbpt.clip.zero_shot import zero_shot_logits, zero_shot_weights
from dbpt.data import SPLITS, Dataset
from dbpt.data.dataset_checks import check_classes
from dbpt.data.precomputed import check_precomputed_file, read_precomputed_features
from dbpt.errors import InputError
from dbpt.experiments.checks import check_before_embedding, check_groups, group_warnings, setting_warnings
from dbpt.experiments.figures import Labelled
from dbpt.features import Failure, embed_images
from dbpt.heads import HEADS
from dbpt.pseudo_attributes import PseudoAttributes, label_attributes
from dbpt.settings.config import FitConfig
from dbpt.settings.data import configured_dataset
from dbpt.settings.sections import BackboneSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The N readable images of a data set: ``features`` (N, D), L2-normalised, and zero-shot weights (C, D)."""

    dataset: Dataset
    backbone: Backbone
    features: NDArray[np.float32]
    class_weights: NDArray[np.float32]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that one training starts from, with the warnings of all stages."""

    embedded: Embedded
    labelled: Labelled
    config: FitConfig
    warnings: tuple[str, ...] = ()

    @property
    def dataset(self) -> Dataset:
        """The readable rows."""
        return self.labelled.dataset

    @property
    def groups_trained_on(self) -> NDArray[np.int64]:
        """(N,) the groups of the ``group_source``; under soft membership the likeliest."""
        return self.labelled.true_groups if self.config.group_source == "true" else self.labelled.pseudo_groups


def prepare(config: FitConfig) -> Experiment:
    """Load, embed, label and group. Raises `InputError` for what the data or the settings don't allow."""
    embedded = embed([config])
    labelled = label(embedded, config)
    log_warnings(labelled.warnings, embedded.warnings)  # also where the next stage refuses what they are about
    experiment = arrange(embedded, labelled, config)
    experiment = replace(experiment, warnings=(*experiment.warnings, *setting_warnings([config])))
    log_warnings(experiment.warnings, labelled.warnings)
    return experiment


def log_warnings(warnings: Iterable[str], logged: Collection[str] = ()) -> None:
    """Log the warnings but those that are ``logged``.

    Stages hand on warnings in their values, because a comparison runs them more than once. `fit`, `evaluate` and
    `compare` log each as soon as it is known, and at the end all others in the `Result`.
    """
    for warning in warnings:
        if warning not in logged:
            logger.warning(warning)


def embed(configs: Sequence[FitConfig]) -> Embedded:
    """Load and embed what ``configs``, which differ in seed, head, objective and group source alone, have in common."""
    config = configs[0]
    dataset = open_dataset(config)
    logger.info(dataset.describe())
    for each in configs:
        check_before_embedding(each, dataset)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings), dataset)
    backbone = configured_backbone(config)
    for each in {each.head: each for each in configs}.values():
        HEADS[each.head].check(backbone, dataset.words, **each.values(HEADS[each.head].settings))
    readable, features, failures = embed_dataset(dataset, backbone, config)
    log_warnings(warnings := left_out(dataset, failures))
    check_classes(readable)
    return Embedded(
        dataset=readable,
        backbone=backbone,
        features=features,
        class_weights=zero_shot_weights(backbone, *dataset.words.class_texts()),
        failures=failures,
        warnings=warnings,
    )


def configured_backbone(settings: BackboneSettings) -> Backbone:
    """Load the backbone that the settings name, on their device and in their precision."""
    model, pretrained = settings.named_model
    backbone = load_backbone(
        model,
        pretrained,
        tokenizer=settings.tokenizer,
        device=settings.device,
        image_precision=settings.image_precision,
    )
    logger.debug(f"backbone: {model}, {pretrained}, on {backbone.device}")
    return backbone


def label(embedded: Embedded, config: FitConfig) -> Labelled:
    """Add pseudo attributes, and a validation split if there is none, by the seed of ``config``."""
    dataset = embedded.dataset
    pseudo = label_dataset(dataset, embedded.features, embedded.backbone, config)
    splits, notes = _with_validation(dataset, dataset.groups(pseudo.pseudo_attributes), config)
    warnings = (*embedded.warnings, *pseudo.warnings, *notes)
    return Labelled(dataset=dataset, pseudo=pseudo, splits=splits, warnings=warnings)


def arrange(embedded: Embedded, labelled: Labelled, config: FitConfig) -> Experiment:
    """Add the settings of one training, with warnings about its groups."""
    experiment, dataset = Experiment(embedded=embedded, labelled=labelled, config=config), labelled.dataset
    check_groups(experiment)
    warnings = [*labelled.warnings, *group_warnings(experiment)]
    known = int((dataset.attributes >= 0).sum())
    if known and labelled.group_kind == "pseudo":
        warnings.append(f"only {known} of {len(dataset)} images have a true attribute: figures are over pseudo groups")
    labelled.average(config.average)  # refused before anything is trained
    return replace(experiment, warnings=tuple(warnings))


def open_dataset(config: FitConfig) -> Dataset:
    """Load the data set of ``config``; refuses one without two attribute names."""
    dataset = configured_dataset(config)
    if dataset.num_attributes < 2:
        raise InputError(
            f"{dataset.source}: no spurious attribute is named; name what the classifier might rely on, for example "
            "--attributes 'land=land background' 'water=water background'"
        )
    return dataset


def embed_dataset(
    dataset: Dataset, backbone: Backbone, config: FitConfig
) -> tuple[Dataset, NDArray[np.float32], tuple[Failure, ...]]:
    """Return the readable rows of the data set and their features; or all rows with the features that were given."""
    if config.embeddings is not None:
        features = read_precomputed_features(
            Path(config.embeddings), dataset, backbone.embed_dim, backbone.spec["model"]
        )
        logger.info(f"features: {len(dataset)} rows of {config.embeddings}; no image is opened")
        return dataset, features, ()
    embeddings = embed_images(
        backbone,
        dataset.root,
        dataset.paths,
        cache_dir=config.cache_dir / "features",
        batch_size=config.embed_batch_size,
        max_failures=config.max_failures,
    )
    logger.info(
        f"features: {len(dataset)} images, {embeddings.recomputed} embedded now, {len(embeddings.failures)} unreadable"
    )
    rows = np.flatnonzero(embeddings.ok)
    return dataset.take(rows), embeddings.features[rows], embeddings.failures


def left_out(dataset: Dataset, failures: Sequence[Failure]) -> tuple[str, ...]:
    """Return warnings of the images of ``dataset`` that could not be read: the first three, and how many more."""
    lines = [f"{dataset.where(each.row)}: {each.path}: {each.reason}; left out" for each in failures[:3]]
    return (*lines, *([f"further unreadable images, left out: {len(failures) - 3}"] if failures[3:] else []))


def label_dataset(
    dataset: Dataset, features: NDArray[np.float32], backbone: Backbone, config: FitConfig
) -> PseudoAttributes:
    """Return the pseudo attributes of the rows, with warnings for the caller; no test image changes another row's."""
    is_test = dataset.splits == SPLITS.index("test")
    logits = np.empty((len(dataset), dataset.num_attributes), np.float32)
    for rows in (~is_test, is_test):  # a matrix product over other rows may round otherwise
        logits[rows] = zero_shot_logits(backbone, features[rows], *dataset.words.attribute_texts())
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        return label_attributes(
            logits,
            method=config.pseudo_method,
            proportions="estimated" if config.proportions is None else config.proportions,
            fit_on=None if is_test.all() else ~is_test,
            min_confidence=config.min_confidence,
            seed=config.seed,
        )


def _with_validation(
    dataset: Dataset, pseudo_groups: NDArray[np.int64], config: FitConfig
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the splits, with ``val_fraction`` of each training group set aside if none is validation, and a note."""
    train, val = SPLITS.index("train"), SPLITS.index("val")
    if (dataset.splits == val).any():
        return dataset.splits, ()
    splits = dataset.splits.copy()
    strata = np.where(pseudo_groups >= 0, pseudo_groups, dataset.num_groups + dataset.labels)
    for stratum in np.unique(strata[splits == train]):
        members = np.flatnonzero((splits == train) & (strata == stratum))
        shuffled = GroupStream(GroupIndex(np.zeros_like(members), 1), np.array([len(members)]), config.seed, 0)
        num_val = min(max(1, round(config.val_fraction * len(members))), len(members) - 1)
        splits[members[shuffled.indices(0, num_val)]] = val
    if not (total := int((splits == val).sum())):
        raise InputError(f"{dataset.source}: too few training rows to set some aside for validation; add a val split")
    note = f"no validation split: {total} of the training rows, stratified by class and pseudo attribute, serve as one"
    return splits, (note,)
