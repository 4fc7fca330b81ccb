"""A made-up ``metrics.json`` of a run with the history of its training, and its table and report."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from made_up_guesses import guesses_of

import dbpt.report.page
import dbpt.report.summary
import dbpt.report.tables
from dbpt.cautions import Caution
from dbpt.data import SPLITS
from dbpt.evaluation import group_metrics, pseudo_attribute_quality
from dbpt.evaluation.results import RunMetrics
from dbpt.report.pictures import GroupExamples, GuessSheets, Mistake
from dbpt.report.sections import run_figures
from dbpt.storage.typed_json import typed

LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3
NASTY = """<script>alert("1")</script> & 'co'"""
RIGHT = {"zero-shot": [90, 50, 20, 45], "erm": [99, 60, 10, 48], "dbpt": [88, 84, 40, 43]}


def as_json(value):
    return json.loads(json.dumps(asdict(value)))


def evaluated(right, counts=(100, 100, 50, 50), classes=2, names=None):
    groups = np.repeat(np.arange(len(counts)), counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    attributes = len(counts) // classes
    labels = groups // attributes
    predictions = np.where(rank < np.asarray(right)[groups], labels, (labels + 1) % classes)
    sizes = {
        "num_classes": classes,
        "num_attributes": attributes,
        "train_counts": [3498, 184, 56, 1057, *counts[4:]][: len(counts)],
    }
    return as_json(group_metrics(predictions, labels, groups % attributes, group_names=names, **sizes))


def row(name, test, val=None, source="pseudo"):
    trained = name != "zero-shot"
    source = source if name not in ("zero-shot", "erm") else None
    epochs = {"best_epoch": 7 if trained else None, "epochs": 10 if trained else 0, "seconds": 1.25}
    choices = {"name": name, "group_source": source, "head": None, "apply": None, "warnings": []}
    return {**choices, **epochs, "train": None, "val": val, "test": test}


def run(right=RIGHT, *, warnings=(), **changes):
    """A metrics.json dict of 2 x 2 groups."""
    counts = {"train": [3498, 184, 56, 1057], "val": [10, 10, 5, 5], "test": [100, 100, 50, 50]}
    names = {"classes": ["landbird", "waterbird"], "attributes": ["land", "water"], "factors": []}
    dataset = {"name": "birds", "root": "birds", **names, "notes": [], "clusters": None, "shots": None}
    labels, true = np.repeat([0, 0, 1, 1], counts["train"]), np.repeat([0, 1, 0, 1], counts["train"])
    pseudo = np.where(np.arange(true.size) % 20 == 0, 1 - true, true)
    quality = pseudo_attribute_quality(pseudo, true, labels, num_classes=2, num_attributes=2)
    return {
        **{"schema_version": 6, "dbpt_version": "0.1.0", "seed": 3, "failed_images": 0},
        "warnings": [asdict(each) for each in worded(*warnings)],
        **{"group_kind": "true", "average": "plain", "model_selection": "pseudo-wga", "chosen": "dbpt"},
        "dataset": {**dataset, "counts": counts, "train_counts_pseudo": [3332, 350, 106, 1007]},
        "backbone": {"model": "ViT-B-32", "pretrained": "openai", "embed_dim": 512, "image_precision": "bf16"},
        "rows": [row(name, evaluated(values)) for name, values in right.items()],
        **{"pseudo_method": "proportional", "pseudo_shares": [0.625, 0.375]},
        **{"pseudo_doubts": [], "doubted_guesses": []},
        "pseudo_quality": as_json(quality) | {"split": "training"},
        "cross_validated": [],
        "seconds": {"embed": 1.0, "total": 2.5},
        **changes,
    }


def worded(*sentences, of=""):
    """Return cautions of no kind with these sentences."""
    return [Caution("text", {"text": sentence}, of) for sentence in sentences]


def over_groups(metrics, classes, attributes=("land", "water")):
    """Give a metrics.json dict other classes and attributes, with ten images of each group in each split."""
    per_group = [10] * len(classes) * max(len(attributes), 1)
    counts = dict.fromkeys(("train", "val", "test"), per_group)
    names = {"classes": [*classes], "attributes": [*attributes]}
    metrics["dataset"] |= {**names, "counts": counts, "train_counts_pseudo": per_group}
    return metrics


def table_of(metrics, **options):
    return dbpt.report.tables.run_table(typed_metrics(metrics), **options)


def render_report(metrics, history, gallery, sheets=None, guesses=None, **changes):
    """The page of a run whose first and last rows take one image of each class for the next one."""
    metrics = typed_metrics(metrics)
    one_image = np.eye(len(metrics.dataset.classes), dtype=int)
    values = {
        "metrics": metrics,
        "judged": metrics,
        "charts": run_figures(metrics, history),
        "mistakes": gallery,
        "sheets": GuessSheets(guesses or GUESSES, words_of(metrics.dataset), sheets),
        "examples": [GroupExamples(*names, 9, (5, 6), 2, 1, ()) for names in metrics.dataset.groups],
        "confusions": [9 * one_image + np.roll(one_image, 1, 1)] * 2,
        "words": [("land", ["land", "forest"])],
        "templates": (["a photo of a {}"], []),
        "settings": {"eta": "1.0", "cache": "None"},
        "command": "dbpt fit birds.csv --out runs/birds",
        "label_command": "dbpt label RUN --out RUN-labels",
        "difference": (0.2, 0.5),
    }
    return dbpt.report.page.render_report(**values | changes)


def words_of(dataset):
    """Words for the attributes, or for the values of the factors."""
    values = [f"{factor.name}: {value}" for factor in dataset.factors for value in factor.values]
    return {name: [name] for name in values or dataset.attributes}


def summarize(metrics):
    return dbpt.report.summary.summarize(typed_metrics(metrics))


def typed_metrics(metrics):
    found = typed(metrics, RunMetrics, Path("metrics.json"), "fit anew")
    rows = [
        replace(each, **{name: named(getattr(each, name), found.dataset) for name in SPLITS}) for each in found.rows
    ]
    return replace(found, rows=rows)


def named(metrics, dataset):
    """Give the groups of made-up metrics the names of the data set."""
    return metrics and replace(metrics, groups=tuple(names_of(metrics.groups, dataset)))


def names_of(groups, dataset):
    return [replace(g, class_name=y, attribute=a) for g, (y, a) in zip(groups, dataset.groups, strict=False)]


def history(metrics, epochs=10):
    counts = np.array(metrics["dataset"]["train_counts_pseudo"], dtype=float)
    weights = counts.sum() / 4 / counts
    every = {"lr": 0.002, "loss": 0.5, "mean_p_true": [0.5, None, 0.6, 0.7], "val_average": 0.8}
    return [
        {
            "row": name,
            "epoch": epoch,
            **every,
            "val_wga": 0.3 + 0.01 * epoch,
            "val_wgp": 0.4 + 0.01 * epoch,
            "best": epoch == 7,
        }
        | {"group_weights": None if name == "erm" else weights.tolist()}
        for name in ("erm", "dbpt")
        for epoch in range(1, epochs + 1)
    ]


GUESSES = guesses_of(shares=[0.25] * 4, doubts=worded(NASTY))
TRUSTED = guesses_of(shares=[0.25] * 4)
MISTAKE = Mistake("a/b.jpg", b"\xff\xd8\xff", "waterbird", "land", "landbird", 0.125)
