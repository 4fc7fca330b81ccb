"""The stages before training: data, features, pseudo attributes, groups, and a validation split.

`prepare` runs them in the order of the pipeline and returns one value that the training rows share: `embed`, which no
seed changes, then `label`, which may depend on it, then `arrange`, with the settings of one training. A comparison of
many trainings runs each of the three only as often as it must. True attributes pass through untouched: they reach
training only where ``group_source`` or ``select`` ask for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone, load_backbone
from dbpt.clip.zero_shot import zero_shot_logits, zero_shot_weights
from dbpt.data import SPLITS, Dataset, load_dataset
from dbpt.data.checks import check_classes
from dbpt.data.precomputed import check_precomputed_file, read_precomputed_features
from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.experiments.checks import (
    check_attributes_wanted,
    check_installed,
    check_pseudo_groups,
    check_rows_of_objective,
    setting_warnings,
)
from dbpt.experiments.splits import group_warnings, knows_true_groups, shown_average, training_counts, with_validation
from dbpt.features import Failure, embed_images
from dbpt.heads.prompt import prompt_layout
from dbpt.pseudo_attributes import PseudoAttributes, label_attributes
from dbpt.settings.config import FitConfig
from dbpt.settings.data import data_arguments

Log = Callable[[str], None]


@dataclass(frozen=True)
class Embedded:
    """The readable images of a data set, as the backbone sees them; the same for any seed, head and objective.

    features: (N, D) float32, L2-normalised, in the order of ``dataset``.
    class_weights: (C, D) float32, the zero-shot classifier.
    """

    dataset: Dataset
    backbone: Backbone
    features: NDArray[np.float32]
    class_weights: NDArray[np.float32]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Labelled:
    """Pseudo attributes and splits of the N images. Clusters, and rows set aside for validation, depend on the seed.

    pseudo_groups: (N,) int64, -1 where the pseudo attribute is unknown.
    splits: (N,) int64 as `Dataset.splits`, but with a validation part carved from training where there was none.
    """

    embedded: Embedded
    pseudo: PseudoAttributes
    pseudo_groups: NDArray[np.int64]
    splits: NDArray[np.int64]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """What every training row starts from. All rows are readable images, in the order of ``dataset``.

    features: (N, D) float32, L2-normalised.
    splits: (N,) int64 as `Dataset.splits`, but with a validation part carved from training where there was none.
    class_weights: (C, D) float32, the zero-shot classifier.
    pseudo_groups, true_groups: (N,) int64, -1 where the attribute is unknown.
    """

    config: FitConfig
    dataset: Dataset
    backbone: Backbone
    features: NDArray[np.float32]
    splits: NDArray[np.int64]
    class_weights: NDArray[np.float32]
    pseudo: PseudoAttributes
    pseudo_groups: NDArray[np.int64]
    true_groups: NDArray[np.int64]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    @property
    def groups_trained_on(self) -> NDArray[np.int64]:
        """(N,) the groups of the ``group_source``; under soft membership the likeliest."""
        return self.true_groups if self.config.group_source == "true" else self.pseudo_groups

    @property
    def membership(self) -> NDArray[np.float32]:
        """(N, A) float32, how far each row has each attribute, NaN throughout where the pseudo attribute is unknown."""
        assert self.pseudo.posterior is not None
        unknown = self.pseudo.pseudo_attributes < 0
        return np.where(unknown[:, None], np.float32(np.nan), self.pseudo.posterior)

    @property
    def evaluation_attributes(self) -> NDArray[np.int64]:
        """(N,) the attributes that accuracy is reported over."""
        true = knows_true_groups(self.dataset, self.splits)
        return self.dataset.attributes if true else self.pseudo.pseudo_attributes


def prepare(config: FitConfig, log: Log) -> Experiment:
    """Load, embed, label and group. Raises `InputError` for what the data or the settings don't allow."""
    embedded = embed([config], log)
    experiment = arrange(label(embedded, config, log), config)
    warnings = (*experiment.warnings, *setting_warnings([config]))
    for warning in warnings:
        log(f"warning: {warning}")
    return replace(experiment, warnings=warnings)


def embed(configs: Sequence[FitConfig], log: Log) -> Embedded:
    """Load and embed what ``configs`` have in common: they differ in seed, head, objective and group source alone.

    What one of them asks of the data or the backbone and doesn't find is refused before the long part.
    """
    config = configs[0]
    dataset = open_dataset(config.data, config)
    log(dataset.describe())
    for each in configs:
        check_installed(each)
        check_attributes_wanted(each, dataset)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings), dataset)
    backbone = configured_backbone(config)
    if prompts := [each for each in configs if each.head == "prompt"]:
        prompt_layout(backbone.tokenizer, dataset.words.classes, **layout_settings(prompts[0], dataset.words))
    dataset, features, failures = embed_dataset(dataset, backbone, config, log)
    check_classes(dataset)
    class_weights = zero_shot_weights(backbone, *dataset.words.class_texts())
    return Embedded(dataset, backbone, features, class_weights, failures)


def configured_backbone(config: FitConfig) -> Backbone:
    """The backbone that the settings name, where and in the precision that they say."""
    model, pretrained = config.named_model
    return load_backbone(
        model,
        pretrained,
        tokenizer=config.tokenizer,
        device=config.device,
        image_precision=config.image_precision,
    )


def label(embedded: Embedded, config: FitConfig, log: Log) -> Labelled:
    """Pseudo attributes, their groups, and a validation split where there is none, by the seed of ``config``."""
    dataset = embedded.dataset
    pseudo = label_dataset(dataset, embedded.features, embedded.backbone, config, log)
    pseudo_groups = dataset.groups(pseudo.pseudo_attributes)
    splits, notes = with_validation(dataset, pseudo_groups, config)
    return Labelled(embedded, pseudo, pseudo_groups, splits, tuple(notes))


def arrange(labelled: Labelled, config: FitConfig) -> Experiment:
    """What the training that ``config`` asks for starts from, with warnings of its groups, which nobody has logged."""
    embedded, pseudo_groups, splits = labelled.embedded, labelled.pseudo_groups, labelled.splits
    dataset, warnings = embedded.dataset, list(labelled.notes)
    check_pseudo_groups(config, pseudo_groups, splits)
    warnings += group_warnings(dataset, config, pseudo_groups, splits)
    known = int((dataset.attributes >= 0).sum())
    if known and not knows_true_groups(dataset, splits):
        warnings.append(f"only {known} of {len(dataset)} images have a true attribute: figures are over pseudo groups")
    experiment = Experiment(
        config=config,
        dataset=dataset,
        backbone=embedded.backbone,
        features=embedded.features,
        splits=splits,
        class_weights=embedded.class_weights,
        pseudo=labelled.pseudo,
        pseudo_groups=pseudo_groups,
        true_groups=dataset.groups(dataset.attributes),
        failures=embedded.failures,
        warnings=tuple(warnings),
    )
    check_rows_of_objective(experiment)
    shown_average(config.average, dataset, training_counts(dataset, splits, experiment.evaluation_attributes))
    return experiment


def layout_settings(config: FitConfig, words: Words) -> dict[str, Any]:
    """The settings that say where context and class name stand in a prompt."""
    names = ("n_ctx", "class_specific_context", "class_position")
    return {name: getattr(config, name) for name in names} | {"ctx_init": config.context_start(words)}


def open_dataset(data: str, config: FitConfig) -> Dataset:
    """`load_dataset` with the words of ``config``; refuses a data set without two attribute names."""
    dataset = load_dataset(data, config.root, **data_arguments(config))
    if dataset.num_attributes < 2:
        raise InputError(
            f"{dataset.source}: no spurious attribute is named; name what the classifier might lean on, for example "
            "--attributes 'land=land background' 'water=water background'"
        )
    return dataset


def embed_dataset(
    dataset: Dataset, backbone: Backbone, config: FitConfig, log: Log
) -> tuple[Dataset, NDArray[np.float32], tuple[Failure, ...]]:
    """Features of every readable image, and the data set without the others; or the given features of all rows."""
    if config.embeddings is not None:
        features = read_precomputed_features(
            Path(config.embeddings), dataset, backbone.embed_dim, backbone.spec["model"]
        )
        log(f"features: {len(dataset)} rows of {config.embeddings}; no image is opened")
        return dataset, features, ()
    embeddings = embed_images(
        backbone,
        dataset.root,
        dataset.paths,
        cache_dir=config.cache_dir / "features",
        batch_size=config.embed_batch_size,
        max_failures=config.max_failures,
        by_content=config.by_content,
        log=log,
    )
    log(f"features: {len(dataset)} images, {embeddings.recomputed} embedded now, {len(embeddings.failures)} unreadable")
    for failure in embeddings.failures[:3]:
        log(f"warning: {dataset.where(failure.row)}: {failure.path}: {failure.reason}; left out")
    return select_rows(dataset, embeddings.ok), embeddings.features[embeddings.ok], embeddings.failures


def select_rows(dataset: Dataset, keep: NDArray[np.bool_]) -> Dataset:
    """The data set with only the rows where ``keep`` (N,) is true."""
    return replace(
        dataset,
        paths=tuple(path for path, kept in zip(dataset.paths, keep, strict=True) if kept),
        lines=dataset.lines[keep],
        labels=dataset.labels[keep],
        attributes=dataset.attributes[keep],
        splits=dataset.splits[keep],
    )


def label_dataset(
    dataset: Dataset, features: NDArray[np.float32], backbone: Backbone, config: FitConfig, log: Log
) -> PseudoAttributes:
    """Pseudo attributes of the rows, from the attribute sentences alone.

    No test image moves shares, offsets or centres, unless there are no others; nor a bit of another row's logits, which
    may depend on how many rows a matrix product has.
    """
    is_test = dataset.splits == SPLITS.index("test")
    logits = np.empty((len(dataset), dataset.num_attributes), np.float32)
    for rows in (~is_test, is_test):
        logits[rows] = zero_shot_logits(backbone, features[rows], *dataset.words.attribute_texts())
    with catch_warnings(record=True) as caught:
        simplefilter("always", UserWarning)
        found = label_attributes(
            logits,
            method=config.pseudo_method,
            proportions="estimated" if config.proportions is None else config.proportions,
            fit_on=None if is_test.all() else ~is_test,
            min_confidence=config.min_confidence,
            seed=config.seed,
        )
    for warning in caught:
        log(f"warning: {warning.message}")
    return found
