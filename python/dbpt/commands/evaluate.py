"""`evaluate`: accuracy by group of a finished run's classifier on any data."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.commands.result import Result
from dbpt.data.columns import ColumnNames
from dbpt.data.loading import DataLike
from dbpt.errors import InputError
from dbpt.evaluation.repeats import with_rows
from dbpt.evaluation.results import Metrics, Saved, read_metrics
from dbpt.evaluation.study_metrics import metrics_of_study, row_of, trained_row, with_answers
from dbpt.guesses.doubts import order_doubts
from dbpt.report.discovery_sentences import doubts_in_words
from dbpt.runs.run_folder import read_saved
from dbpt.settings.config import FitConfig
from dbpt.study.data import run_with_data
from dbpt.study.stages import doubted_guesses, judged_guesses, log_warnings
from dbpt.study.study import Study, embedded_rows

logger = logging.getLogger(__name__)


def evaluate(
    run: str | Path,
    data: "DataLike | None" = None,
    *,
    root: str | Path | None = None,
    columns: ColumnNames | None = None,
    embeddings: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = FitConfig.device,
    cache: str | Path | None = None,
    max_failures: float = FitConfig.max_failures,
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
        of_run = read_metrics(Path(run) / "metrics.json")
    except InputError as error:
        unread = [caution("unread figures", problem=str(error))]
    logger.info(dataset.describe())
    of_groups = read_saved(Path(run), config, dataset.num_classes)
    embedded = embedded_rows(dataset, classifier.backbone, config, known, of_groups)
    pseudo = embedded.guess(config, classifier.probe)
    guesses, splits = judged_guesses(embedded, pseudo), embedded.dataset.splits
    study = Study(embedded=embedded, config=config, pseudo=pseudo, splits=splits, guesses=guesses)
    doubted = doubted_guesses(study)
    warnings = (*unread, *embedded.warnings, *pseudo.warnings)
    log_warnings(logged := (*map(doubts_in_words, doubted), *warnings))
    counts = _train_counts_of_run(of_run, study)
    study = replace(study, counts_of_run=counts, doubted_guesses=doubted)
    saved = of_run.rows[of_run.chosen] if of_run else None
    same = {"method": saved.method, "alpha": saved.alpha} if saved else {}
    how = trained_row(config, config.trained_objective, config.prompts, **same)
    predictions = classifier.head.predictions(embedded.features)
    of = predictions, study.dataset.labels, study.reported.codes, study.dataset.class_names
    warnings = (*order_doubts(*of, "order of predictions", "labels"), *warnings)
    answered = with_answers(study, row_of(study, predictions, how), predictions)
    metrics = metrics_of_study(study, warnings=list(warnings), saved=Saved(method=how.method, seconds={}))
    result = Result(Path(run), with_rows(metrics, [(how, [answered])]), classifier)
    log_warnings(result.warnings, logged)
    return result


def _train_counts_of_run(metrics: Metrics | None, study: Study) -> NDArray[np.int64]:
    """Return the (G,) training rows of each group of the run, true or pseudo; all 0 if it lacks them."""
    num_groups, counts = study.reported.num_groups, list[int]()
    if metrics is not None and study.reported.kind == "pseudo":
        counts = metrics.dataset.train_counts_pseudo
    elif metrics is not None and metrics.group_kind == "true":
        counts = metrics.dataset.counts.get("train", [])
    return np.array(counts if len(counts) == num_groups else [0] * num_groups, dtype=np.int64)
