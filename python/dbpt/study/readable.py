"""`Embedded`: the readable images of a data set, their features, and the guesses of their attributes."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone, load_backbone, zero_shot_logits, zero_shot_weights
from dbpt.data import SPLITS, Dataset
from dbpt.data.dataset import few_shots
from dbpt.data.features import StoredFeatures, open_precomputed_features
from dbpt.discovery.catalogue import read_catalogue
from dbpt.errors import InputError, in_quotes
from dbpt.features import EmbeddedFiles, Failure
from dbpt.guesses import PseudoAttributes
from dbpt.guesses.base import PSEUDO_METHODS, no_attributes
from dbpt.guesses.clusters import ClassClusters, find_class_clusters
from dbpt.guesses.label import attributes_of_data, label_suspects, read_pseudo_attributes, with_known, without_unsure
from dbpt.guesses.linear_probe import AttributeProbe, Features
from dbpt.guesses.probe import drawn_known
from dbpt.objectives import OBJECTIVES
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION, WAY_OUT
from dbpt.settings.config import FitConfig
from dbpt.settings.sections import BackboneSettings
from dbpt.storage.tensors import TEXTS, StoredArrays, read_tensors, write_tensors
from dbpt.storage.typed_json import typed_json
from dbpt.study.data import configured_dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The N readable images of a data set, with their ``features`` (N, D) of ``backbone``, L2-normalised.

    Their attributes are guessed from the ``label_features`` (N, E) of the ``labeller``, which also reads words: that of
    ``--label-model``, or the backbone itself. ``known`` are the attributes that need no guess: the `known_attributes`,
    or the clusters that ``--attributes clusters`` asks for. For training there are also zero-shot ``class_weights``
    (C, D), and the ``context`` as which prompts start, if it is a saved one.
    """

    dataset: Dataset
    backbone: Backbone
    features: Features
    labeller: Backbone
    label_features: Features
    known: PseudoAttributes | None
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...] = ()
    class_weights: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    context: NDArray[np.float32] | None = None

    @property
    def stored(self) -> StoredFeatures:
        """The features in their files, for commands that train nothing."""
        assert isinstance(self.features, StoredFeatures)
        return self.features

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """Zero-shot logits (N, K) of the values of all suspects, one suspect after another."""
        texts, owners = self.dataset.words.attribute_texts()

        def of_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            return zero_shot_logits(self.labeller, self.label_features, texts, owners, rows=rows)

        return self._apart(of_rows)

    def are_guessed(self, config: FitConfig) -> bool:
        """Return whether some attributes are guessed, and not all taken from ``known``."""
        return self.known is None or (config.keeps_known and bool(self.dataset.attribute_names))

    def guess(self, config: FitConfig, probe: AttributeProbe | None = None) -> PseudoAttributes:
        """Return the pseudo attributes of all images. Test images don't influence those of others.

        ``probe`` is that of a finished run, if none is to be fitted.
        """
        if not self.are_guessed(config):
            assert self.known is not None
            return self.known
        method, fit_on, known = PSEUDO_METHODS[config.pseudo_method], ~self._is_test, self.known
        if known is not None and config.probe_rows is not None:
            known = drawn_known(known, fit_on, config.probe_rows, seed=config.seed)
        if method.learns and probe is None:
            assert known is not None
            way_out = "label more by hand" if config.probe_rows is None else "raise --probe-rows"
            labels, words = self.dataset.labels, self.dataset.words
            probe = method.fit(self.label_features, known, labels, fit_on, words, seed=config.seed, way_out=way_out)
        guessed = label_suspects(
            self.logits if probe is None else self._apart(partial(probe.logits, self.label_features)),
            self.dataset.labels,
            self.dataset.words,
            method="argmax" if method.learns else method.name,
            proportions="estimated" if config.proportions is None else config.proportions,
            fit_on=fit_on if fit_on.any() else None,
            min_confidence=config.min_confidence,
            seed=config.seed,
        )
        note = "" if config.label_model is None else f" by {Path(config.label_model).stem}"
        guessed = guessed if known is None else with_known(guessed, known)
        return replace(guessed, method=method.name, note=note + guessed.note, probe=probe)

    @property
    def _is_test(self) -> NDArray[np.bool_]:
        is_test: NDArray[np.bool_] = self.dataset.splits == SPLITS.index("test")
        return is_test

    def _apart(self, of_rows: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the logits (N, K) of test images and of others, which would change the rounding of each other."""
        logits = np.empty((len(self.dataset), sum(self.dataset.words.sizes)), np.float32)
        for rows in map(np.flatnonzero, (~self._is_test, self._is_test)):
            logits[rows] = of_rows(rows)
        return logits


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

    They come from the file ``--pseudo-attributes``, or with ``--guess-only-unknown`` or a probe from the data.
    """
    if config.names_none:
        return None
    if not dataset.attribute_names:
        return no_attributes(dataset)
    if config.pseudo_attributes is None:
        if not (config.learns_attributes or (dataset.attributes >= 0).any()):
            _refuse_classes(dataset)
        if not config.keeps_known:
            return None
        own = attributes_of_data(dataset)
        if not any((each.pseudo_attributes >= 0).any() for each in own.factors):
            option = f"--pseudo-method {config.pseudo_method}" if config.learns_attributes else "--guess-only-unknown"
            raise InputError(
                f"{option}: {dataset.source} has no attribute for any image; name the file that has some with "
                "--pseudo-attributes"
            )
        return own
    found = read_pseudo_attributes(Path(config.pseudo_attributes), dataset)
    return without_unsure(found, config.min_confidence)


def _refuse_classes(dataset: Dataset) -> None:
    """Refuse attributes that are the classes: CLIP would guess the class of each image once more."""
    classes = {name.casefold() for name in dataset.class_names}
    for suspect in dataset.words.suspects:
        if classes.issuperset(name.casefold() for name in suspect.values):
            option = f"--factors: {suspect.name}" if suspect.prefix else "--attributes"
            raise InputError(
                f"{option}: {in_quotes(suspect.values)} are classes, so CLIP would guess the class again; name "
                "something else in the images that a classifier might rely on, such as a background or a style"
            )


def drawn_shots(
    dataset: Dataset, known: PseudoAttributes | None, config: FitConfig
) -> tuple[Dataset, PseudoAttributes | None]:
    """Return the rows that ``--shots`` leaves, and what is ``known`` of them; without it, all."""
    if config.shots is None:
        return dataset, known
    drawn = few_shots(dataset, config.shots, val_fraction=config.val_fraction, seed=config.seed)
    assert drawn.places is not None
    return drawn, None if known is None else known.take(drawn.places)


def embedded_rows(
    dataset: Dataset,
    backbone: Backbone,
    config: FitConfig,
    known: PseudoAttributes | None,
    clusters: ClassClusters | None = None,
) -> Embedded:
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
            readable, features, rows = labelled, features.take(kept), rows[kept]
    if known is not None:
        known = known.take(rows)
    elif config.num_clusters is not None:
        clusters = clusters or find_clusters(readable, label_features, labeller or backbone, config.num_clusters)
        known = without_unsure(
            PseudoAttributes.of_clusters(clusters, label_features, readable.labels), config.min_confidence
        )
    return Embedded(
        dataset=readable,
        backbone=backbone,
        features=features,
        labeller=labeller or backbone,
        label_features=label_features,
        known=known,
        failures=failures,
    )


def embed_dataset(
    dataset: Dataset, backbone: Backbone, config: FitConfig
) -> tuple[Dataset, StoredFeatures, tuple[Failure, ...]]:
    """Return the readable rows of the data set and their features, or all rows with precomputed features."""
    if config.embeddings is not None:
        features = open_precomputed_features(
            Path(config.embeddings), dataset, backbone.embed_dim, backbone.spec["model"]
        )
        unopened = "" if config.opens_images else "; no image is opened"
        logger.info(f"features: {len(dataset)} rows of {config.embeddings}{unopened}")
        return dataset, features, ()
    folder = config.cache_dir / "features"
    found = EmbeddedFiles(backbone, dataset.root, dataset.paths, folder, max_failures=config.max_failures)
    recomputed = found.complete(batch_size=config.embed_batch_size)
    features, failures = found.features(), found.failures()
    logger.info(
        f"features in {backbone.image_precision}: {len(dataset)} images, {recomputed} embedded now, "
        f"{len(failures)} unreadable"
    )
    if not failures:
        return dataset, features, ()
    rows = np.setdiff1d(np.arange(len(dataset)), [failure.row for failure in failures])
    return dataset.take(rows), features.take(rows), failures


def left_out(dataset: Dataset, failures: Sequence[Failure]) -> tuple[str, ...]:
    """Return warnings about the unreadable images of ``dataset``: the first three, and the number of the others."""
    lines = [f"{dataset.where(each.row)}: {each.path}: {each.reason}; left out" for each in failures[:3]]
    return (*lines, *([f"further unreadable images, left out: {len(failures) - 3}"] if failures[3:] else []))


FILE = "clusters.safetensors"
ARRAYS = ("weights", "biases", "separation")


def find_clusters(dataset: Dataset, features: StoredFeatures, backbone: Backbone, number: int) -> ClassClusters:
    """Return ``number`` clusters in each class, 0 for as many as fit, of the (N, D) features of ``backbone``.

    They are fitted on all rows but those of the test split, and named by words of the catalogue.
    """
    fitted = dataset.rows_to_fit
    class_weights = zero_shot_weights(backbone, *dataset.words.class_texts())
    found = find_class_clusters(features[fitted], dataset.labels[fitted], class_weights, dataset.class_names, number)
    texts = {
        name: family.templates[0].replace("{}", wordings[0])
        for family in read_catalogue()
        for name, wordings in family.attributes.items()
    }
    return found.named(list(texts), zero_shot_weights(backbone, list(texts.values()), np.arange(len(texts))))


def write_clusters(run: Path, clusters: ClassClusters) -> None:
    """Write the clusters of a run, so that other images can be assigned to them."""
    tensors: dict[str, NDArray[Any]] = {name: getattr(clusters, name) for name in ARRAYS}
    write_tensors(run / FILE, tensors, {"names": json.dumps(clusters.names)}, version=TENSORS_SCHEMA_VERSION)


def read_clusters(run: Path, num_classes: int) -> ClassClusters:
    """Read the clusters of a run. Raises `InputError` if they are missing or were changed."""
    tensors, metadata = read_tensors(
        run / FILE, "run's clusters", version=TENSORS_SCHEMA_VERSION, way_out=WAY_OUT, needs=ARRAYS
    )
    names = typed_json(metadata, "names", list[list[str]], run / FILE, WAY_OUT)
    weights, biases, separation = (tensors[name] for name in ARRAYS)
    number = len(names[0]) if names else 0
    shapes = (weights.shape[:2], biases.shape, separation.shape, tuple({len(of_class) for of_class in names}))
    if (
        weights.ndim != 3
        or not number
        or shapes != ((num_classes, number), (num_classes, number), (num_classes,), (number,))
        or len(names) != num_classes
        or any(array.dtype != np.float32 or not np.isfinite(array).all() for array in (weights, biases))
    ):
        raise InputError(f"{run / FILE}: does not belong to this run; {WAY_OUT}")
    return ClassClusters(weights, biases, separation, tuple(map(tuple, names)))
