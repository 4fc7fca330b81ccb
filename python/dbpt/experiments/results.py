"""What a run found, as files: metrics.json, history.jsonl, groups.csv, the tensors and the report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt._core import __version__
from dbpt.clip import Backbone
from dbpt.data import SPLITS, Dataset
from dbpt.experiments.gallery import worst_group_mistakes
from dbpt.experiments.methods import MethodRow
from dbpt.experiments.splits import knows_true_groups, shown_average, training_counts
from dbpt.experiments.stages import Experiment
from dbpt.files.csv import csv_text
from dbpt.files.disk import write_atomically, write_json
from dbpt.files.tensors import write_tensors
from dbpt.groups import group_counts, pseudo_attribute_quality
from dbpt.pseudo_attributes import PseudoAttributes
from dbpt.report import render_report
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION

METRICS_SCHEMA_VERSION = 1


def describe_run(experiment: Experiment, rows: list[MethodRow], seconds: dict[str, float]) -> dict[str, Any]:
    """What ``metrics.json`` holds."""
    config, dataset = experiment.config, experiment.dataset
    return {
        **describe_data(
            dataset,
            experiment.splits,
            pseudo=experiment.pseudo,
            backbone=experiment.backbone,
            average=config.average,
        ),
        "selection": config.select,
        "seed": config.seed,
        "chosen": config.objective,
        "rows": [_row_json(row) for row in rows],
        "warnings": list(experiment.warnings),
        "failed_images": len(experiment.failures),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def describe_data(
    dataset: Dataset,
    splits: NDArray[np.int64],
    *,
    pseudo: PseudoAttributes,
    backbone: Backbone,
    average: str | None,
    train_counts: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """The part of ``metrics.json`` that does not depend on any training.

    ``average`` is the one asked for; ``train_counts`` (G,) are the training rows of each group, by default the data's.
    """
    true = knows_true_groups(dataset, splits)
    attributes = dataset.attributes if true else pseudo.pseudo_attributes
    evaluation_groups = dataset.groups(attributes)
    if train_counts is None:
        train_counts = training_counts(dataset, splits, attributes)
    return {
        "schema_version": METRICS_SCHEMA_VERSION,
        "dbpt_version": __version__,
        "dataset": {
            "name": dataset.name,
            "root": str(dataset.root),
            "classes": list(dataset.class_names),
            "attributes": list(dataset.attribute_names),
            "counts": {
                split: group_counts(evaluation_groups[splits == number], dataset.num_groups).tolist()
                for number, split in enumerate(SPLITS)
            },
            "train_counts_pseudo": training_counts(dataset, splits, pseudo.pseudo_attributes).tolist(),
            "notes": list(dataset.notes),
        },
        "backbone": {
            "model": backbone.spec["model"],
            "pretrained": backbone.spec["pretrained"],
            "embed_dim": backbone.embed_dim,
        },
        "group_kind": "true" if true else "pseudo",
        "average": shown_average(average, dataset, train_counts),
        "pseudo_method": pseudo.method,
        "pseudo_shares": _pseudo_shares(dataset, pseudo),
        "pseudo_quality": _pseudo_quality(dataset, splits, pseudo.pseudo_attributes),
    }


def _pseudo_shares(dataset: Dataset, pseudo: PseudoAttributes) -> list[float]:
    """(A,) shares that the method was given or estimated, else those of its labels in the rows it was fitted on."""
    if pseudo.shares is not None:
        return [float(share) for share in pseudo.shares]
    is_test = dataset.splits == SPLITS.index("test")
    labels = pseudo.pseudo_attributes if is_test.all() else pseudo.pseudo_attributes[~is_test]
    counts = np.bincount(labels[labels >= 0], minlength=dataset.num_attributes)
    return [float(count / max(1, counts.sum())) for count in counts]


def _pseudo_quality(
    dataset: Dataset, splits: NDArray[np.int64], pseudo_attributes: NDArray[np.int64]
) -> dict[str, Any] | None:
    """Quality over the training rows, which the group weights come from (over all rows if there are none)."""
    training = splits == SPLITS.index("train")
    judged = training if training.any() else np.ones_like(training)
    if not (dataset.attributes[judged] >= 0).any():
        return None
    quality = pseudo_attribute_quality(
        pseudo_attributes[judged],
        dataset.attributes[judged],
        dataset.labels[judged],
        num_classes=dataset.num_classes,
        num_attributes=dataset.num_attributes,
    )
    return {"split": "training" if training.any() else "all", **quality}


def _row_json(row: MethodRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "group_source": row.group_source,
        "head": row.head,
        "apply": row.apply,
        "selected_epoch": row.trained.selected_epoch if row.trained else None,
        "epochs": len(row.trained.history) if row.trained else 0,
        "seconds": round(row.seconds, 3),
        "warnings": list(row.warnings),
        **{split: metrics.to_json() if metrics else None for split, metrics in row.metrics.items()},
    }


def history_of(rows: list[MethodRow]) -> list[dict[str, Any]]:
    """What ``history.jsonl`` holds: one entry an epoch and trained row."""
    return [
        {
            "row": row.name,
            "epoch": record.epoch,
            "lr": record.lr,
            "loss": record.loss,
            "group_weights": record.group_weights,
            "mean_p_true": record.mean_p_true,
            "draws": record.draws,
            "val_wga": record.val_wga,
            "val_average": record.val_average,
            "selected": record.epoch == row.trained.selected_epoch,
        }
        for row in rows
        if row.trained
        for record in row.trained.history
    ]


def write_results(out: Path, experiment: Experiment, rows: list[MethodRow], metrics: dict[str, Any]) -> None:
    """Write the results into the run folder."""
    chosen, history = rows[-1], history_of(rows)
    pseudo = experiment.pseudo
    assert chosen.trained is not None and pseudo.posterior is not None and pseudo.confidence is not None
    write_tensors(
        out / "classifier.safetensors",
        chosen.classifier.tensors(),
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
    """One line a group of the ``group_source``: its rows per split and its weight in the kept epoch.

    Under soft membership the rows are those that are likeliest in the group.
    """
    assert chosen.trained is not None
    dataset, groups, source = experiment.dataset, experiment.groups_trained_on, experiment.config.group_source
    weights = chosen.trained.history[chosen.trained.selected_epoch - 1].group_weights
    counts = {split: group_counts(groups[experiment.rows(split)], dataset.num_groups) for split in SPLITS}
    table: list[Sequence[object]] = [
        ["group", "class", "attribute", "group_source", *(f"n_{split}" for split in SPLITS), "group_weight"]
    ]
    for group in range(dataset.num_groups):
        label, attribute = divmod(group, dataset.num_attributes)
        names = (dataset.class_names[label], dataset.attribute_names[attribute])
        numbers = [int(counts[split][group]) for split in SPLITS]
        table.append([group, *names, source, *numbers, None if weights is None else weights[group]])
    return csv_text(table)
