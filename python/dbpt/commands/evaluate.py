"""`evaluate`: accuracy by group of a finished run's classifier on any data."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.commands.result import Result
from dbpt.data import DATASETS, Dataset, check_precomputed_file, parse_factors
from dbpt.data.columns import ColumnNames
from dbpt.data.layouts.huggingface import materialize
from dbpt.data.loading import DataLike, is_in_memory
from dbpt.data.words import parse_vocabulary
from dbpt.errors import InputError
from dbpt.guesses import PseudoAttributes
from dbpt.guesses.base import PROBE, PSEUDO_METHODS
from dbpt.report.findings import doubts_in_words
from dbpt.runs.classifier import Classifier
from dbpt.runs.metrics import RunMetrics, RunRow, read_metrics
from dbpt.runs.run_folder import load
from dbpt.settings.config import FitConfig, make_config
from dbpt.settings.fields import NOT_WITH_AUTO, NOT_WITH_CLUSTERS
from dbpt.study.data import load_for_run, names_own_data, resolve_demo, rows_with_known
from dbpt.study.embedded import embedded_rows, read_clusters, storing_texts
from dbpt.study.guesses import doubted_guesses, judged_guesses
from dbpt.study.stages import log_warnings
from dbpt.study.study import Study, how_trained

logger = logging.getLogger(__name__)

OF_OWN_DATA = {
    "columns": None,
    "embeddings": None,
    "pseudo_attributes": None,
    "guess_only_unknown": False,
    "probe_rows": None,
    "shots": None,
}
"""The settings of a run that say nothing about other data, unset."""


def evaluate(
    run: str | Path,
    data: "DataLike | None" = None,
    *,
    root: str | Path | None = None,
    columns: ColumnNames | None = None,
    embeddings: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    cache: str | Path | None = None,
    max_failures: float = 0.01,
    average: str | None = None,
) -> Result:
    """Return the accuracy by (class, attribute) group of a run's classifier on each split of ``data``.

    Groups are over the true attributes if the data have them, otherwise over pseudo attributes.

    Args:
        run: the run folder.
        data: as for `dbpt.fit`; read with the run's classes and attributes, which a benchmark must have. None is the
            run's own data.
        weights: the present path of the backbone's local weights file, if it has moved.
        root, columns, embeddings, device, cache, max_failures: as in `dbpt.fit`. None takes the run's cache, and its
            root, columns and embeddings if ``data`` is None or the path in its ``config.toml``.
        average: as in `dbpt.fit`; None takes the run's. Shares are those of the run if ``data`` has no training rows.

    Returns:
        One row, with the metrics of each split that has images; its ``folder`` is the run's.

    Raises:
        InputError: as `dbpt.load` and `dbpt.fit` do, for a known data set of other classes, and if an adjusted average
            has no weights.
    """
    given = {"columns": columns, "embeddings": embeddings, "cache": cache, "max_failures": max_failures}
    classifier, config, dataset, known = run_with_data(
        run, data, root=root, weights=weights, device=device, given=given | {"average": average}
    )
    of_run, unread = None, list[Caution]()
    try:
        of_run = read_metrics(Path(run) / "metrics.json", RunMetrics)
    except InputError as error:
        unread = [caution("unread figures", problem=str(error))]
    logger.info(dataset.describe())
    clusters = None if config.num_clusters is None else read_clusters(Path(run), dataset.num_classes)
    embedded = embedded_rows(dataset, classifier.backbone, config, known, clusters)
    pseudo = embedded.guess(config, classifier.probe)
    guesses, splits = judged_guesses(embedded, pseudo), embedded.dataset.splits
    study = Study(embedded=embedded, config=config, pseudo=pseudo, splits=splits, guesses=guesses)
    doubted = doubted_guesses(study)
    warnings = (*unread, *embedded.warnings, *pseudo.warnings)
    log_warnings(logged := (*map(doubts_in_words, doubted), *warnings))
    counts = _train_counts_of_run(of_run, study)
    study = replace(study, guesses=None, counts_of_run=counts, doubted_guesses=doubted)
    figures = study.metrics(embedded.stored.map_blocks(classifier.head.predictions))
    row = RunRow(**how_trained(config, config.trained_objective, config.prompts), warnings=[], **figures)
    metrics = study.run_metrics([row], warnings=warnings, seconds={})
    result = Result(Path(run), metrics, classifier)
    log_warnings(result.warnings, logged)
    return result


def run_with_data(
    run: str | Path,
    data: "DataLike | None",
    *,
    root: str | Path | None,
    weights: str | Path | None,
    device: str,
    given: Mapping[str, Any],
) -> tuple[Classifier, FitConfig, Dataset, PseudoAttributes | None]:
    """Return the classifier of a run, its settings with those that are ``given``, and `rows_with_known` of ``data``.

    The run's probe guesses the run's own attributes; on other data it guesses them for all images.

    Args:
        run: a run folder, or that of a saved classifier.
        data: a name, a path or rows in memory; None for the run's own data.
        root: the folder of the images; by default the run's, for its own data.
        weights: the present path of the backbone's local weights file, if it has moved.
        device: a torch device, or ``auto``.
        given: settings by name. One that is None is the run's; columns and embeddings are the run's only for its own
            data. Attributes replace those of the run. Without any, those of the data are read.
    """
    classifier = load(run, device=device, weights=weights)
    own, overrides = classifier.config, {name: value for name, value in given.items() if value is not None}
    cache = overrides.get("cache", own.cache)
    data = own.data if data is None else data
    data = data if is_in_memory(data) else materialize(data, cache)
    if is_own := names_own_data(data, own):
        root = own.root if root is None else root
    else:
        overrides = OF_OWN_DATA | overrides
    # The data may have other attributes than the run's words: without names here, their own are read.
    settings = vars(own).copy()
    has_own_names = not overrides.keys() & {"attributes", "factors"}
    if not has_own_names:
        settings |= {"attributes": None, "factors": None}
    probe = classifier.probe if has_own_names and overrides.get("pseudo_method", PROBE) == PROBE else None
    if probe is None and own.learns_attributes:
        of_method = ("pseudo_method", *PSEUDO_METHODS[own.pseudo_method].settings)
        settings = {name: value for name, value in settings.items() if name not in of_method}
    asked = make_config({"attributes": overrides.get("attributes")})
    if asked.names_none:
        unread = NOT_WITH_AUTO if asked.asks_auto else NOT_WITH_CLUSTERS
        settings = {name: value for name, value in settings.items() if name not in unread}
    config = make_config(settings | overrides | {"features": "cached"})
    if isinstance(data, str):
        resolved = resolve_demo(replace(config, data=data, root=None if root is None else str(root)))
        data, root = resolved.data, resolved.root
    _refuse_other_classes(data, classifier)
    if config.embeddings is not None:
        check_precomputed_file(Path(config.embeddings))
    words = classifier.words
    if "attributes" in overrides and config.num_clusters is None:
        named = {} if config.asks_auto else parse_vocabulary(overrides["attributes"], "--attributes")
        words = replace(words, attributes=named, factors=())
    if "factors" in overrides:
        factors = parse_factors(overrides["factors"])
        words = replace(words, factors=factors)
    if "attribute_template" in overrides:
        words = replace(words, attribute_templates=tuple(overrides["attribute_template"]))
    classifier = replace(classifier, backbone=storing_texts(classifier.backbone, config), probe=probe)
    dataset = load_for_run(config, words, data, root)
    known = None
    if is_own or probe is None:
        dataset, known = rows_with_known(config, dataset)
    return classifier, config, dataset, known


def _train_counts_of_run(metrics: RunMetrics | None, study: Study) -> NDArray[np.int64]:
    """Return the (G,) training rows of each group of the run, true or pseudo; all 0 if it lacks them."""
    num_groups, counts = len(study.group_names(study.group_kind)), list[int]()
    if metrics is not None and study.group_kind == "pseudo":
        counts = metrics.dataset.train_counts_pseudo
    elif metrics is not None and metrics.group_kind == "true":
        counts = metrics.dataset.counts.get("train", [])
    return np.array(counts if len(counts) == num_groups else [0] * num_groups, dtype=np.int64)


def _refuse_other_classes(data: DataLike, classifier: Classifier) -> None:
    """Refuse other words for data with numeric labels, which could be mistaken for the run's classes."""
    words = classifier.words
    if isinstance(data, Dataset):
        name, own = data.name, data.words
    elif isinstance(data, str) and data in DATASETS and data != classifier.config.data:
        name, own = data, DATASETS[data].words
    else:
        return
    for kind, names, expected in (
        ("classes", own.classes, words.classes),
        ("attributes", own.attributes, words.attributes),
    ):
        if names and expected and list(names) != list(expected):
            advice = f"{classifier.config.data} or " if classifier.config.data in DATASETS else ""
            raise InputError(
                f"data {name!r}: its {kind} are {', '.join(names)}, the run's are {', '.join(expected)}; evaluate on "
                f"{advice}a table of the run's {kind}"
            )
