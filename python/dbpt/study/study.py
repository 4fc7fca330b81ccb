"""`Embedded`: readable images with features, which guess their attributes; `Study`: with guesses, splits, groupings."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt.cautions import Caution, caution
from dbpt.data import SPLITS, Dataset
from dbpt.data.dataset import Average, Split
from dbpt.data.features_from_file import open_precomputed_features
from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError
from dbpt.features import EmbeddedFiles, Failure
from dbpt.guesses import PSEUDO_METHODS, GuessedFactors, Guesses, PseudoAttributes
from dbpt.guesses.apply_method import by_suspect, label_suspects, with_known
from dbpt.guesses.base import GroupKind
from dbpt.guesses.catalogue import read_catalogue
from dbpt.guesses.clusters import ClassClusters, find_class_clusters
from dbpt.guesses.doubts import order_doubts
from dbpt.guesses.figures import FactorGuesses
from dbpt.guesses.grouping import Grouping, Use
from dbpt.guesses.linear_probe import AttributeProbe
from dbpt.guesses.methods import drawn_known
from dbpt.guesses.value_families import Coding
from dbpt.runs.feature_classifier import FeatureClassifier, zero_shot_classifier
from dbpt.settings.all_settings import BackboneSettings
from dbpt.settings.config import FitConfig, readers
from dbpt.storage.tensors import TEXTS, StoredArrays
from dbpt.study.column_attributes import coded_attributes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The N readable images of a data set, with their ``features`` (N, D) of ``backbone``, L2-normalised.

    Their attributes are guessed from the ``label_features`` (N, E) of the ``labeller``, which also reads words: that of
    ``--label-model``, or the backbone itself. ``known`` are the attributes that need no guess: those of
    `rows_with_known`, or the clusters or the values of a column that ``--attributes`` asks for. ``warnings`` are about
    the ``failures``. ``context`` is that as which prompts start, if it is a saved one.
    """

    dataset: Dataset
    backbone: "clip.Backbone"
    features: StoredFeatures
    labeller: "clip.Backbone"
    label_features: StoredFeatures
    known: GuessedFactors | None
    failures: tuple[Failure, ...]
    warnings: tuple[Caution, ...] = ()
    context: NDArray[np.float32] | None = None

    @cached_property
    def zero_shot(self) -> FeatureClassifier:
        """The zero-shot classifier of the backbone, by the words of the classes."""
        weights = clip.zero_shot_weights(self.backbone, *self.dataset.words.class_texts())
        return zero_shot_classifier(self.backbone, weights)

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """Zero-shot logits (N, K) of the values of all suspects, one suspect after another."""
        texts, owners = self.dataset.words.attribute_texts()

        def of_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            return clip.zero_shot_logits(self.labeller, self.label_features, texts, owners, rows=rows)

        return self._apart(of_rows)

    def are_guessed(self, config: FitConfig) -> bool:
        """Return whether some attributes are guessed, and not all taken from ``known``."""
        return self.known is None or (config.keeps_known and bool(self.dataset.attribute_names))

    def guess(self, config: FitConfig, probe: AttributeProbe | None = None) -> GuessedFactors:
        """Return the pseudo attributes of all images. Test images don't influence those of others.

        ``probe`` is that of a finished run, if none is to be fitted.
        """
        if not self.are_guessed(config):
            assert self.known is not None
            return self.known
        method, fit_on, known = PSEUDO_METHODS[config.pseudo_method], ~self.dataset.in_split("test"), self.known
        if known is not None and config.probe_rows is not None:
            known = drawn_known(known, fit_on, config.probe_rows, seed=config.seed)
        if method.learns and probe is None:
            assert known is not None
            advice = "label more by hand" if config.probe_rows is None else "raise --probe-rows"
            labels, words = self.dataset.labels, self.dataset.words
            probe = method.fit(self.label_features, known, labels, fit_on, words, seed=config.seed, hint=advice)
        logits = self.logits if probe is None else self._apart(partial(probe.logits, self.label_features))
        guessed = label_suspects(
            logits,
            self.dataset.labels,
            self.dataset.words,
            method="argmax" if method.learns else method.name,
            proportions="estimated" if config.proportions is None else config.proportions,
            fit_on=fit_on if fit_on.any() else None,
            min_confidence=config.min_confidence,
            seed=config.seed,
        )
        if probe is None:
            guessed = replace(guessed, factors=tuple(self._with_order_doubts(guessed.factors)))
        note = "" if config.label_model is None else f" by {Path(config.label_model).stem}"
        guessed = guessed if known is None else with_known(guessed, known)
        factors = [replace(factor, method=method.name, note=note + factor.note) for factor in guessed.factors]
        return replace(guessed, factors=tuple(factors), probe=probe)

    def _with_order_doubts(self, factors: Sequence[PseudoAttributes]) -> Iterator[PseudoAttributes]:
        """Yield the guesses by words with the `order_doubts` about the words, where true values are known."""
        rows, words = self.dataset.rows_to_fit, self.dataset.words
        of_suspects = zip(factors, words.suspects, by_suspect(self.logits, words), strict=True)
        for (factor, suspect, logits_NA), codes in zip(of_suspects, self.dataset.factor_attributes, strict=True):
            flag = "--factors" if suspect.prefix else "--attributes"
            of = logits_NA[rows], codes[rows], self.dataset.labels[rows], list(suspect.values)
            yield replace(factor, warnings=(*factor.warnings, *order_doubts(*of, flag=flag)))

    def _apart(self, of_rows: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the logits (N, K) of test images and of others, which would change the rounding of each other."""
        logits = np.empty((len(self.dataset), sum(self.dataset.words.sizes)), np.float32)
        is_test = self.dataset.in_split("test")
        for rows in map(np.flatnonzero, (~is_test, is_test)):
            logits[rows] = of_rows(rows)
        return logits


def configured_backbone(config: FitConfig) -> "clip.Backbone":
    """Load the backbone of the settings. Before that, refuse a context that is too long and a wrong ``label_model``."""
    specs = [clip.checked_spec(**named)[0] for named in (config.backbone, config.label_backbone) if named is not None]
    length = specs[0].get("config", {}).get("text_cfg", {}).get("context_length")
    n_ctx = config.n_ctx if f"--head {config.head}" in readers("n_ctx") else None
    if n_ctx is not None and isinstance(length, int) and n_ctx >= length:
        room = f"the text tower has {length} positions, which must hold a class name too"
        raise InputError(f"--n-ctx {n_ctx}: {room}; lower it")
    return _loaded(config, config.backbone)


def _loaded(settings: BackboneSettings, names: Mapping[str, Any]) -> "clip.Backbone":
    """Load the backbone of these ``names``, on their device and in their precision."""
    backbone = storing_texts(clip.load_backbone(**names), settings)
    logger.debug(f"backbone: {names['model']}, {names['pretrained']}, on {backbone.device}")
    return backbone


def storing_texts(backbone: "clip.Backbone", settings: BackboneSettings) -> "clip.Backbone":
    """Return the backbone with a store for the features of long lists of sentences, beside those of images."""
    with suppress(InputError):  # without a home there is no cache folder, and precomputed features need none
        return replace(backbone, stored_texts=StoredArrays(settings.cache_dir / TEXTS))
    return backbone


def embedded_rows(
    dataset: Dataset,
    backbone: "clip.Backbone",
    config: FitConfig,
    known: GuessedFactors | None,
    saved: ClassClusters | Coding | None = None,
    *,
    measure: bool = False,
) -> Embedded:
    """Return the rows of `embed_dataset`, without those that ``--label-model`` can't read.

    Args:
        dataset: all rows.
        backbone: the one that is trained on.
        config: the settings. Attributes below their ``min_confidence`` become unknown.
        known: the known attributes of ``dataset``.
        saved: the clusters of a run, or how it codes a column or a property; None finds what ``config`` asks for.
        measure: whether to measure images too that are decoded for ``backbone``.
    """
    labeller = backbone
    if config.label_backbone is not None:
        labeller = _loaded(config, config.label_backbone | {"image_precision": backbone.image_precision})
    for model in (backbone, labeller):
        model.token_ids(["a"])  # refuses a tokenizer that is gone before the long part
    measure |= config.coded is not None and config.coded[0] == "measured"
    readable, features, failures = embed_dataset(dataset, backbone, config, measure=measure)
    rows, label_features = _rows_without(failures, len(dataset)), features
    if labeller is not backbone:
        logger.info(f"features for the pseudo attributes, of {config.label_model}:")
        readable, label_features, others = embed_dataset(readable, labeller, replace(config, embeddings=None))
        failures += tuple(replace(failure, row=int(rows[failure.row])) for failure in others)
        kept = _rows_without(others, len(rows))
        features, rows = features.take(kept), rows[kept]
    if known is not None:
        known = known.take(rows)
    elif config.num_clusters is not None:
        assert not isinstance(saved, Coding)
        clusters = saved or find_clusters(readable, label_features, labeller, config.num_clusters)
        known = GuessedFactors.of_clusters(clusters, label_features, readable.labels)
    elif config.coded is not None:
        assert not isinstance(saved, ClassClusters)
        known = coded_attributes(config, readable, saved)
    if known is not None:
        known = known.above(config.min_confidence)
    failures = tuple(sorted(failures, key=lambda failure: failure.row))
    warnings = [
        caution("unreadable image", where=dataset.where(failure.row), path=failure.path, reason=failure.reason)
        for failure in failures[:3]
    ]
    warnings += [caution("more unreadable images", n=len(failures) - 3)] if failures[3:] else []
    return Embedded(
        dataset=readable,
        backbone=backbone,
        features=features,
        labeller=labeller,
        label_features=label_features,
        known=known,
        failures=failures,
        warnings=tuple(warnings),
    )


def _rows_without(failures: Sequence[Failure], num_rows: int) -> NDArray[np.int64]:
    """Return the row numbers of ``num_rows`` without those of the ``failures``."""
    return np.delete(np.arange(num_rows), [failure.row for failure in failures])


def embed_dataset(
    dataset: Dataset, backbone: "clip.Backbone", config: FitConfig, *, measure: bool = False
) -> tuple[Dataset, StoredFeatures, tuple[Failure, ...]]:
    """Return the readable rows of the data set and their features, or all rows with precomputed features.

    With ``measure``, images that are decoded here are measured too, so that `measure_files` needn't decode them again.
    """
    if config.embeddings is not None:
        model = backbone.spec["model"]
        features = open_precomputed_features(Path(config.embeddings), dataset, backbone.embed_dim, model)
        unopened = "" if config.opens_images else "; no image is opened"
        logger.info(f"features: {len(dataset)} rows of {config.embeddings}{unopened}")
        return dataset, features, ()
    folder = config.cache_dir / "features"
    embedded = EmbeddedFiles(
        backbone, dataset.root, dataset.paths, folder, max_failures=config.max_failures, measure=measure
    )
    recomputed = embedded.complete(batch_size=config.embed_batch_size)
    features, failures = embedded.features(), embedded.failures()
    done = f"{len(dataset)} images, {recomputed} embedded now, {len(failures)} unreadable"
    logger.info(f"features in {backbone.image_precision}: {done}")
    if not failures:
        return dataset, features, ()
    rows = _rows_without(failures, len(dataset))
    return dataset.take(rows), features.take(rows), failures


def find_clusters(dataset: Dataset, features: StoredFeatures, backbone: "clip.Backbone", number: int) -> ClassClusters:
    """Return ``number`` clusters in each class, 0 for as many as fit, of the (N, D) features of ``backbone``.

    They are fitted on all rows but those of the test split, and named by words of the catalogue.
    """
    fitted = dataset.rows_to_fit
    class_weights = clip.zero_shot_weights(backbone, *dataset.words.class_texts())
    of_fitted = features.take(fitted).whole("--attributes clusters")
    clusters = find_class_clusters(of_fitted, dataset.labels[fitted], class_weights, dataset.class_names, number)
    named = ((family.templates[0], *item) for family in read_catalogue() for item in family.attributes.items())
    texts = {name: template.replace("{}", wordings[0]) for template, name, wordings in named}
    return clusters.named(list(texts), clip.zero_shot_weights(backbone, list(texts.values()), np.arange(len(texts))))


@dataclass(frozen=True, kw_only=True)
class Study:
    """The N images of a data set, ``embedded``, with pseudo attributes and ``splits`` (N,). All figures are about them.

    With the settings ``config`` it is the input of one training, and ``warnings`` are those of all steps.
    ``drawn`` are the training and validation rows of a draw, sorted, with repeats; None: each row of these splits once.
    ``counts_of_run`` (G,) are the training rows of a run, for data without any. ``guesses`` say how far the pseudo
    attributes can be trusted; None if that has not been judged. ``doubted_guesses`` are as in `Metrics`, and
    ``class_doubts`` say that CLIP doesn't know the words of the classes. ``probe_errors`` (N,) divide the classes into
    groups with ``--group-source ppa``. ``audited`` are the `reported` groups of an audit, which decides them itself.
    """

    embedded: Embedded
    config: FitConfig
    pseudo: GuessedFactors
    splits: NDArray[np.int64]
    warnings: tuple[Caution, ...] = ()
    counts_of_run: NDArray[np.int64] | None = None
    guesses: Guesses | None = None
    doubted_guesses: tuple[FactorGuesses, ...] = ()
    class_doubts: tuple[Caution, ...] = ()
    drawn: NDArray[np.int64] | None = None
    probe_errors: NDArray[np.int64] | None = None
    audited: Grouping | None = None

    @property
    def dataset(self) -> Dataset:
        """The readable images."""
        return self.embedded.dataset

    @property
    def features(self) -> StoredFeatures:
        """(N, D), those that training reads."""
        return self.embedded.features

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the row numbers of a split, some of them several times if they are drawn."""
        if self.drawn is None or split == "test":
            return np.flatnonzero(self.splits == SPLITS.index(split))
        return np.compress(self.splits[self.drawn] == SPLITS.index(split), self.drawn)

    @property
    def split(self) -> Split:
        """The split that tables show: test, else validation, else training."""
        return next(split for split in ("test", "val", "train") if len(self.rows(split)))

    def grouping(self, source: str) -> Grouping:
        """Return the groups of a ``group_source``: of ``true`` or ``pseudo`` attributes, or for ``ppa`` of errors.

        Those of true attributes may be used for what the settings ask for.
        """
        if source == "ppa":
            assert self.probe_errors is not None
            return Grouping.by_errors(self.dataset, self.probe_errors)
        if source == "pseudo":
            return Grouping.guessed(self.dataset, self.pseudo)
        asked: dict[Use, str | None] = {
            "training": self.config.group_source,
            "selection": self.config.selecting_groups,
        }
        return Grouping.true(self.dataset, frozenset(use for use, wanted in asked.items() if wanted == "true"))

    @cached_property
    def training_grouping(self) -> Grouping:
        """The groups of the ``group_source``, which are trained on."""
        return self.grouping(self.config.group_source)

    @cached_property
    def selection_grouping(self) -> Grouping:
        """The groups by which model selection judges."""
        return self.grouping(self.config.selecting_groups or "pseudo")

    @cached_property
    def reported(self) -> Grouping:
        """The groups of all figures: of true attributes if enough rows of `split` have one, by `true_or_pseudo`."""
        if self.audited is not None:
            return self.audited
        rows = self.rows(self.split)
        labels, attributes = self.dataset.labels[rows], self.dataset.attributes[rows]
        return self.grouping(true_or_pseudo(labels, attributes, self.dataset.num_classes))

    @property
    def train_counts(self) -> NDArray[np.int64]:
        """(G,) training rows of each of the `reported` groups, in the data, or else in the run.

        Rows held out for validation count, and draws don't matter, so that an audit of a run has the same.
        """
        counts = self.reported.counts(np.flatnonzero(self.dataset.in_split("train")))
        return counts if counts.any() or self.counts_of_run is None else self.counts_of_run

    @property
    def average(self) -> Average:
        """The average for tables: the one asked for with ``--average``, else that of the data set.

        Raises `InputError` for an adjusted average without training rows of a known group.
        """
        asked = self.config.average
        if self.train_counts.any():
            return "adjusted" if (asked or self.dataset.average) == "adjusted" else "plain"
        if asked == "adjusted":
            hint = "and the groups' shares of the training images are the weights; choose --average plain"
            raise InputError(f"--average adjusted: {self.dataset.source} has no training row of a known group, {hint}")
        return "plain"


def true_or_pseudo(labels: NDArray[np.int64], attributes: NDArray[np.int64], num_classes: int) -> GroupKind:
    """Return ``true`` if at least half of each class's rows have a true attribute, else ``pseudo``."""
    rows_C = np.bincount(labels, minlength=num_classes)
    known_C = np.bincount(labels[attributes >= 0], minlength=num_classes)
    return "true" if (2 * known_C >= rows_C).all() else "pseudo"
