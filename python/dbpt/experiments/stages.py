"""The stages before training: data, features, pseudo attributes, groups, and a validation split.

`prepare` runs `load_and_embed`, which doesn't depend on the seed, `add_pseudo_attributes`, which may, and `arrange`,
with the settings of one training. A comparison runs each stage only as often as necessary.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone, load_backbone
from dbpt.clip.zero_shot import zero_shot_logits, zero_shot_weights
from dbpt.data import SPLITS, Dataset
from dbpt.data.dataset_checks import check_classes
from dbpt.data.precomputed import check_precomputed_file, read_precomputed_features
from dbpt.errors import InputError
from dbpt.experiments.checks import (
    check_before_embedding,
    check_before_reading,
    check_groups,
    group_warnings,
    setting_warnings,
)
from dbpt.experiments.clusters import find_clusters
from dbpt.experiments.figures import Labelled
from dbpt.experiments.guesses import judged_guesses, trust_warnings
from dbpt.features import Failure, embed_images
from dbpt.files.stored_arrays import TEXTS, StoredArrays
from dbpt.groups.permutation import permutation
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.pseudo_attributes.class_clusters import ClassClusters
from dbpt.pseudo_attributes.factors import label_suspects, without_unsure
from dbpt.pseudo_attributes.from_file import attributes_of_data, read_pseudo_attributes, with_known
from dbpt.pseudo_attributes.judged import JudgedNoise, read_label_noise
from dbpt.pseudo_attributes.pseudo_groups import no_attributes, pseudo_groups
from dbpt.settings.config import FitConfig
from dbpt.settings.data import configured_dataset
from dbpt.settings.sections import BackboneSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The sources of the pseudo attributes of N rows: `known_attributes`, and zero-shot ``logits`` (N, A) to guess by.

    One of them may be None. With both, only unknown attributes are guessed. With factors the logits have the values of
    all of them, one factor after another.
    """

    known: PseudoAttributes | None
    logits: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class ReadableRows:
    """The N readable rows of a data set with their ``features`` (N, D), and what their attributes are guessed from.

    That are the ``label_features`` (N, E) of the ``labeller``, which is the backbone itself without ``--label-model``.
    ``known`` are the `known_attributes`, which also say that none is named, or clusters; with ``guess_unknown`` the
    others are guessed.
    """

    dataset: Dataset
    features: NDArray[np.float32]
    failures: tuple[Failure, ...]
    known: PseudoAttributes | None
    guess_unknown: bool
    labeller: Backbone
    label_features: NDArray[np.float32]

    def evidence(self) -> Evidence:
        """Return the argument of `label_dataset`."""
        if self.known is not None and not self.guess_unknown:
            return Evidence(known=self.known, logits=None)
        is_test = self.dataset.splits == SPLITS.index("test")
        texts, owners = self.dataset.words.attribute_texts()
        logits = np.empty((len(self.dataset), owners[-1] + 1), np.float32)
        for rows in map(np.flatnonzero, (~is_test, is_test)):  # the rounding of a matrix product depends on its rows
            logits[rows] = zero_shot_logits(self.labeller, self.label_features, texts, owners, rows=rows)
        return Evidence(known=self.known, logits=logits)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The N readable images of a data set: ``features`` (N, D), L2-normalised, and zero-shot weights (C, D).

    ``evidence`` is for `label_dataset`, and the last two are those of `ReadableRows`.
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
    label_noise: JudgedNoise | None = None


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
    experiment = arrange(embedded, replace(labelled, guesses=guesses), config)
    doubts = trust_warnings(guesses, labelled, [config])
    experiment = replace(experiment, warnings=(*experiment.warnings, *doubts, *setting_warnings([config])))
    log_warnings(experiment.warnings, labelled.warnings)
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
    configs: Sequence[FitConfig], *, need_attributes: bool = False, notes: Sequence[str] = ()
) -> Embedded:
    """Load the data and the backbone and embed the images, once for ``configs`` that may differ in seed and method.

    With ``need_attributes``, refuse data that name no attribute, even if no objective uses groups. ``notes`` are added
    to those of the data.
    """
    config = configs[0]
    check_before_reading(config)
    need_attributes |= any(OBJECTIVES[each.objective].uses_groups for each in configs)
    dataset = open_dataset(config, training=True, needs_attributes=need_attributes)
    logger.info(dataset.describe())
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    for each in configs:
        check_before_embedding(each, dataset)
    label_noise = None
    if config.label_noise is not None:
        label_noise = read_label_noise(Path(config.label_noise), dataset.class_names, dataset.attribute_names)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings), dataset)
    known = known_attributes(config, dataset)
    backbone = configured_backbone(config)
    for each in {each.head: each for each in configs}.values():
        HEADS[each.head].check(backbone, dataset.words, **each.values(HEADS[each.head].settings))
    readable = readable_rows(dataset, backbone, config, known)
    log_warnings(warnings := (*left_out(dataset, readable.failures), *(label_noise.warnings if label_noise else ())))
    check_classes(readable.dataset)
    return Embedded(
        dataset=readable.dataset,
        backbone=backbone,
        features=readable.features,
        class_weights=zero_shot_weights(backbone, *dataset.words.class_texts()),
        evidence=readable.evidence(),
        labeller=readable.labeller,
        label_features=readable.label_features,
        failures=readable.failures,
        warnings=warnings,
        label_noise=label_noise,
    )


def configured_backbone(settings: BackboneSettings) -> Backbone:
    """Load the backbone of the settings, on their device and in their precision."""
    backbone = storing_texts(load_backbone(**settings.backbone), settings)
    logger.debug(f"backbone: {settings.backbone['model']}, {settings.backbone['pretrained']}, on {backbone.device}")
    return backbone


def storing_texts(backbone: Backbone, settings: BackboneSettings) -> Backbone:
    """Return the backbone with a store for the features of long lists of sentences, beside those of images."""
    with suppress(InputError):  # without a home there is no cache folder, and precomputed features need none
        return replace(backbone, stored_texts=StoredArrays(settings.cache_dir / TEXTS))
    return backbone


def add_pseudo_attributes(embedded: Embedded, config: FitConfig) -> Labelled:
    """Return the data with pseudo attributes, and with a validation split if it has none, by the seed of ``config``."""
    dataset = embedded.dataset
    pseudo = label_dataset(dataset, embedded.evidence, config)
    splits, notes = _with_validation(dataset, pseudo_groups(dataset, pseudo), config)
    warnings = (*embedded.warnings, *pseudo.warnings, *notes)
    noise = embedded.label_noise
    return Labelled(dataset=dataset, pseudo=pseudo, splits=splits, warnings=warnings, label_noise=noise)


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


def open_dataset(config: FitConfig, *, training: bool = True, needs_attributes: bool = True) -> Dataset:
    """Load the data set of ``config``, for ``training`` or not. Refuses one that names no attribute if it must."""
    dataset = configured_dataset(config, training=training)
    if needs_attributes and not dataset.attribute_names and config.num_clusters is None:
        others = ", ".join(name for name, chosen in OBJECTIVES.loaded.items() if not chosen.uses_groups)
        raise InputError(
            f"{dataset.source}: no spurious attribute is named; name what the classifier might rely on, for example "
            "--attributes 'land=land background' 'water=water background', several things with --factors, or let "
            "--attributes auto or clusters find it" + (f"; only the objectives {others} need none" if training else "")
        )
    return dataset


def known_attributes(config: FitConfig, dataset: Dataset) -> PseudoAttributes | None:
    """Return the attributes of all rows, -1 where unknown, that are not guessed; None if all are.

    They come from the file ``--pseudo-attributes``, or with ``--guess-only-unknown`` from the data.
    """
    assert not config.asks_auto, "resolved before the stages"
    if config.num_clusters is not None:
        return None
    if not dataset.attribute_names:
        return no_attributes(dataset)
    if config.pseudo_attributes is None:
        if not config.guess_only_unknown:
            return None
        own = attributes_of_data(dataset)
        if not any((each.pseudo_attributes >= 0).any() for each in own.factors or (own,)):
            raise InputError(
                f"--guess-only-unknown: {dataset.source} has no attribute for any image; name the file that has some "
                "with --pseudo-attributes"
            )
        return own
    found = read_pseudo_attributes(Path(config.pseudo_attributes), dataset)
    return without_unsure(found, config.min_confidence)


def readable_rows(
    dataset: Dataset,
    backbone: Backbone,
    config: FitConfig,
    known: PseudoAttributes | None,
    clusters: ClassClusters | None = None,
) -> ReadableRows:
    """Return the rows of `embed_dataset`, without those that ``--label-model`` can't read.

    ``known`` are the `known_attributes` of ``dataset``, and ``clusters`` those of a run, if none are to be found.
    """
    labeller = None
    if config.label_backbone is not None:
        names = config.label_backbone | {"image_precision": backbone.image_precision}
        labeller = storing_texts(load_backbone(**names), config)
    if labeller is not None:
        labeller.token_ids(["a"])  # refuses a tokenizer that is gone before the long part
    readable, features, failures = embed_dataset(dataset, backbone, config)
    rows = np.setdiff1d(np.arange(len(dataset)), [failure.row for failure in failures])
    label_features = features
    if labeller is not None:
        logger.info(f"features for the pseudo attributes, of {config.label_model}:")
        labelled, label_features, unlabelled = embed_dataset(readable, labeller, replace(config, embeddings=None))
        if unlabelled:
            kept = np.setdiff1d(np.arange(len(rows)), [failure.row for failure in unlabelled])
            unlabelled = tuple(replace(each, row=int(rows[each.row])) for each in unlabelled)
            failures = tuple(sorted((*failures, *unlabelled), key=lambda failure: failure.row))
            readable, features, rows = labelled, features[kept], rows[kept]
    if known is not None:
        known = known.take(rows)
    elif config.num_clusters is not None:
        clusters = clusters or find_clusters(readable, label_features, labeller or backbone, config.num_clusters)
        known = without_unsure(clusters.label(label_features, readable.labels), config.min_confidence)
    return ReadableRows(
        dataset=readable,
        features=features,
        failures=failures,
        known=known,
        guess_unknown=config.guess_only_unknown and bool(dataset.attribute_names),
        labeller=labeller or backbone,
        label_features=label_features,
    )


def embed_dataset(
    dataset: Dataset, backbone: Backbone, config: FitConfig
) -> tuple[Dataset, NDArray[np.float32], tuple[Failure, ...]]:
    """Return the readable rows of the data set and their features, or all rows with precomputed features."""
    if config.embeddings is not None:
        features = read_precomputed_features(
            Path(config.embeddings), dataset, backbone.embed_dim, backbone.spec["model"]
        )
        unopened = "" if config.opens_images else "; no image is opened"
        logger.info(f"features: {len(dataset)} rows of {config.embeddings}{unopened}")
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
        f"features in {backbone.image_precision}: {len(dataset)} images, {embeddings.recomputed} embedded now, "
        f"{len(embeddings.failures)} unreadable"
    )
    if not embeddings.failures:
        return dataset, embeddings.features, ()
    rows = np.flatnonzero(embeddings.ok)
    return dataset.take(rows), embeddings.features[rows], embeddings.failures


def left_out(dataset: Dataset, failures: Sequence[Failure]) -> tuple[str, ...]:
    """Return warnings about the unreadable images of ``dataset``: the first three, and the number of the others."""
    lines = [f"{dataset.where(each.row)}: {each.path}: {each.reason}; left out" for each in failures[:3]]
    return (*lines, *([f"further unreadable images, left out: {len(failures) - 3}"] if failures[3:] else []))


def label_dataset(dataset: Dataset, evidence: Evidence, config: FitConfig) -> PseudoAttributes:
    """Return the pseudo attributes of the rows. Test images don't influence those of other rows."""
    known, logits = evidence.known, evidence.logits
    if logits is None:
        assert known is not None
        return known
    is_test = dataset.splits == SPLITS.index("test")
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        found = label_suspects(
            logits,
            dataset.labels,
            dataset.words,
            method=config.pseudo_method,
            proportions="estimated" if config.proportions is None else config.proportions,
            fit_on=None if is_test.all() else ~is_test,
            min_confidence=config.min_confidence,
            seed=config.seed,
        )
    labelled_by = "" if config.label_model is None else f" by {Path(config.label_model).stem}"
    found = replace(found, method=found.method + labelled_by)
    return found if known is None else with_known(found, known)


def _with_validation(
    dataset: Dataset, groups: NDArray[np.int64], config: FitConfig
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the splits and a note. Without validation rows, ``val_fraction`` of each training group becomes them."""
    train, val = SPLITS.index("train"), SPLITS.index("val")
    if (dataset.splits == val).any():
        return dataset.splits, ()
    splits = dataset.splits.copy()
    strata = np.where(groups >= 0, groups, groups.max() + 1 + dataset.labels)
    for stratum in np.unique(strata[splits == train]):
        members = np.flatnonzero((splits == train) & (strata == stratum))
        num_val = min(max(1, round(config.val_fraction * len(members))), len(members) - 1)
        splits[members[permutation(len(members), config.seed)[:num_val]]] = val
    if not (total := int((splits == val).sum())):
        raise InputError(f"{dataset.source}: too few training rows for a validation split; add a val split")
    by = "class and pseudo attribute" if dataset.attribute_names else "class"
    note = f"no validation split: {total} of the training rows, stratified by {by}, serve as one"
    return splits, (note,)
