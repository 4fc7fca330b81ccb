"""The files of a run folder, its page and model card among them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.commands.callbacks import history_line
from dbpt.data import SPLITS
from dbpt.data.paths import NOT_PUBLISHED
from dbpt.data.text_array import joined
from dbpt.data.writing import csv_text, write_table
from dbpt.evaluation.repeats import with_rows
from dbpt.evaluation.results import Metrics
from dbpt.heads import HEADS
from dbpt.report.charts import write_figures
from dbpt.report.group_pictures import GuessSheets
from dbpt.report.model_card import model_card
from dbpt.report.result_charts import result_charts
from dbpt.report.results_page import (
    NextSteps,
    answers_of,
    compared_rows,
    made_by_words,
    render_results,
)
from dbpt.report.text import label_command, setting_texts
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION, write_clusters, write_coding, write_probe
from dbpt.storage.files import write_atomically, write_json
from dbpt.storage.tensors import write_tensors
from dbpt.study.stages import image_columns
from dbpt.study.study import Study

if TYPE_CHECKING:
    from dbpt.commands.trained_methods import MethodResult


def write_results(
    out: Path,
    study: Study,
    results: "list[MethodResult]",
    metrics: Metrics,
    sheets: GuessSheets,
    command: str,
) -> Metrics:
    """Write the files of the run folder; return the metrics with rows.

    Args:
        out: the folder.
        study: the data with groups, and the settings.
        results: the results of all rows; the last is the chosen one, which was trained.
        metrics: the metrics of the run but for its rows.
        sheets: the guesses, with pictures if there are images.
        command: the command that makes the run.
    """
    of_rows = [(replace(result.row, repeats=[]), [result.evaluated(study)]) for result in results]
    metrics, of_groups = with_rows(metrics, of_rows), metrics
    is_drawn = (study.dataset.root / NOT_PUBLISHED).is_file()
    weights = study.embedded.backbone.spec["weights"].get("path")
    final = results[-1]
    history = [
        history_line(result.row.method, record, best=record.epoch == result.trained.best_epoch)
        for result in results
        if result.trained and result.row.epochs  # mixtures share a training
        for record in result.trained.history
    ]
    assert final.trained is not None
    write_tensors(
        out / "classifier.safetensors",
        final.classifier.tensors,
        {"classes": json.dumps(study.dataset.class_names)},
        version=TENSORS_SCHEMA_VERSION,
    )
    if HEADS[head := study.config.head].saves_parameters:
        parameters = {name: tensor.cpu().numpy() for name, tensor in final.trained.head_state.items()}
        metadata = {} if final.row.alpha is None else {"alpha": str(final.row.alpha)}
        write_tensors(out / f"{head}.safetensors", parameters, metadata, version=TENSORS_SCHEMA_VERSION)
    if study.pseudo.provenance != "none":
        _write_pseudo_attributes(out, study)
    write_atomically(out / "groups.csv", _groups_csv(study, final))
    dataset, features = replace(study.dataset, splits=study.splits), study.features
    probabilities = final.classifier.probabilities(features)
    of_images: dict[str, Any] = {"predictions": final.predictions, "probabilities": probabilities}
    columns = image_columns(dataset, study.pseudo, study.guesses, **of_images)
    write_table(out, "predictions", columns)
    write_atomically(out / "history.jsonl", history)  # in the order of the table, with the best epochs
    write_json(out / "metrics.json", asdict(metrics))
    charts = result_charts(metrics, [json.loads(line) for line in history])
    write_figures(out, charts)
    write_atomically(out / "README.md", model_card(metrics, command, is_drawn=is_drawn, weights=weights))
    config = study.config
    answers = {i: results[i].predictions for i in compared_rows(metrics, range(len(results)))}
    page = render_results(
        metrics,
        with_rows(of_groups, of_rows, metrics.judged_factors),
        sheets,
        made_by_words(
            study, metrics, sheets, command, setting_texts(config.resolved(), (each.name for each in fields(config)))
        ),
        NextSteps(label=label_command(out)),
        charts,
        answers_of(study, answers, probabilities, out),
    )
    write_atomically(out / "report.html", page)
    return metrics


def _write_pseudo_attributes(out: Path, study: Study) -> None:
    dataset = study.dataset
    pseudo = study.pseudo
    assert pseudo.posterior is not None and pseudo.confidence is not None
    names = list(dataset.attribute_names if pseudo.names is None else pseudo.names)
    tensors: dict[str, NDArray[Any]] = {
        "pseudo_attributes": pseudo.pseudo_attributes.astype(np.int8 if len(names) < 128 else np.int32),
        "posterior": pseudo.posterior,
        "confidence": pseudo.confidence,
        "splits": study.splits.astype(np.int8),
        "paths": np.frombuffer(joined(dataset.paths, "\0"), np.uint8),
    }
    metadata = {"attributes": json.dumps(names), "paths": "UTF-8, separated by NUL"}
    write_tensors(out / "pseudo_attributes.safetensors", tensors, metadata, version=TENSORS_SCHEMA_VERSION)
    if pseudo.class_clusters is not None:
        write_clusters(out, pseudo.class_clusters)
    if pseudo.coding is not None:
        write_coding(out, pseudo.coding)
    if pseudo.probe is not None:
        write_probe(out, pseudo.probe)


def _groups_csv(study: Study, final: "MethodResult") -> str:
    """Return a line for each group of the ``group_source``."""
    assert final.trained is not None
    source = study.config.group_source
    grouping = study.grouping(source)
    weights = final.trained.history[final.trained.best_epoch - 1].group_weights
    counts = [grouping.counts(study.rows(split)) for split in SPLITS]
    table: list[Sequence[object]] = [
        ["group", "class", "attribute", "group_source", *(f"n_{split}" for split in SPLITS), "group_weight"]
    ]
    for group, (label, attribute) in enumerate(grouping.pairs):
        numbers = [int(counts_G[group]) for counts_G in counts]
        of_attributes = "class" if grouping.provenance == "none" else source
        weight = None if weights is None else weights[group]
        table.append([group, label, attribute, of_attributes, *numbers, weight])
    return csv_text(table)
