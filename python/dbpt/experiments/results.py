"""Write the results of a run: metrics.json, history.jsonl, groups.csv, the tensors and the report with its gallery."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dbpt.data import SPLITS
from dbpt.experiments.methods import MethodRow
from dbpt.experiments.stages import Experiment
from dbpt.features import UnreadableImage
from dbpt.files.csv import csv_text
from dbpt.files.disk import write_atomically, write_json
from dbpt.files.tensors import write_tensors
from dbpt.report import Mistake, render_report
from dbpt.report.thumbnails import thumbnail
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION

GALLERY_SIZE = 24
THUMBNAIL_PIXELS = 112


def write_results(out: Path, experiment: Experiment, rows: list[MethodRow], metrics: dict[str, Any]) -> None:
    """Write the results into the run folder; the last of ``rows`` is the chosen one."""
    chosen, pseudo = rows[-1], experiment.pseudo
    history = [
        {"row": row.name, **asdict(record), "selected": record.epoch == row.trained.selected_epoch}
        for row in rows
        if row.trained
        for record in row.trained.history
    ]
    assert chosen.trained is not None and pseudo.posterior is not None and pseudo.confidence is not None
    write_tensors(
        out / "classifier.safetensors",
        chosen.classifier.tensors,
        {"classes": json.dumps(experiment.dataset.class_names)},
        version=TENSORS_SCHEMA_VERSION,
    )
    if experiment.config.head == "prompt":
        prompt = {name: tensor.cpu().numpy() for name, tensor in chosen.trained.head_state.items()}
        write_tensors(out / "prompt.safetensors", prompt, version=TENSORS_SCHEMA_VERSION)
    write_tensors(
        out / "pseudo_attributes.safetensors",
        {
            "pseudo_attributes": pseudo.pseudo_attributes,
            "posterior": pseudo.posterior,
            "confidence": pseudo.confidence,
            "splits": experiment.splits,
            "paths": np.frombuffer("\0".join(experiment.dataset.paths).encode("utf-8", "surrogateescape"), np.uint8),
        },
        {"attributes": json.dumps(experiment.dataset.attribute_names), "paths": "UTF-8, separated by NUL"},
        version=TENSORS_SCHEMA_VERSION,
    )
    write_atomically(out / "groups.csv", _groups_csv(experiment, chosen))
    write_atomically(out / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in history))
    write_json(out / "metrics.json", metrics)
    write_atomically(out / "report.html", render_report(metrics, history, worst_group_mistakes(experiment, chosen)))


def _groups_csv(experiment: Experiment, chosen: MethodRow) -> str:
    """Return one line for each group of the ``group_source``: its rows per split and its weight in the best epoch.

    Under soft membership the rows are those that are likeliest in the group.
    """
    assert chosen.trained is not None
    dataset, groups = experiment.dataset, experiment.groups_trained_on
    weights = chosen.trained.history[chosen.trained.selected_epoch - 1].group_weights
    counts = [experiment.counts(groups, split) for split in SPLITS]
    table: list[Sequence[object]] = [
        ["group", "class", "attribute", "group_source", *(f"n_{split}" for split in SPLITS), "group_weight"]
    ]
    for group in range(dataset.num_groups):
        label, attribute = divmod(group, dataset.num_attributes)
        names = (dataset.class_names[label], dataset.attribute_names[attribute], experiment.config.group_source)
        numbers = [int(counts_G[group]) for counts_G in counts]
        table.append([group, *names, *numbers, None if weights is None else weights[group]])
    return csv_text(table)


def worst_group_mistakes(experiment: Experiment, row: MethodRow) -> list[Mistake] | None:
    """Return at most 24 mistakes in the worst group of test (validation if there is no test split), surest first.

    None if the run was given features instead of images.
    """
    if experiment.config.embeddings is not None:
        return None
    split = "test" if row.metrics["test"] else "val"
    metrics = row.metrics[split]
    if metrics is None or metrics.worst_group is None:
        return []
    dataset, members = experiment.dataset, experiment.rows(split)
    members = members[experiment.evaluation_groups[members] == metrics.worst_group]
    logits = row.classifier.logits(experiment.features[members])
    label, attribute = divmod(metrics.worst_group, dataset.num_attributes)
    p_true = np.exp(logits[:, label] - np.logaddexp.reduce(logits, axis=1))
    predictions = logits.argmax(axis=1)
    wrong = np.flatnonzero(predictions != label)
    mistakes = []
    for i in wrong[np.argsort(p_true[wrong], kind="stable")][:GALLERY_SIZE]:
        path = dataset.paths[members[i]]
        try:
            image = thumbnail(dataset.root / path, THUMBNAIL_PIXELS)
        except UnreadableImage:  # since it was embedded
            continue
        mistakes.append(
            Mistake(
                path=path,
                image=image,
                label=dataset.class_names[label],
                attribute=dataset.attribute_names[attribute],
                prediction=dataset.class_names[int(predictions[i])],
                p_true=float(p_true[i]),
            )
        )
    return mistakes
