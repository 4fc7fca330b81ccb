"""Made-up results of a run and of a comparison, with any rows and groups, and their tables and pages."""

from dataclasses import replace
from statistics import fmean

import numpy as np
from by_position import group_metrics
from made_up_guesses import doubted, factor_guesses, guesses_of

from dbpt.cautions import Caution
from dbpt.data import SPLITS
from dbpt.evaluation import Group, GroupMetrics, pseudo_attribute_quality
from dbpt.evaluation.results import (
    FIGURES,
    BackboneSummary,
    DataSummary,
    Metrics,
    QualityOfSplit,
    Repeat,
    Row,
    Saved,
    SharedSettings,
)
from dbpt.evaluation.row_differences import Difference, FigureDifference
from dbpt.evaluation.study_metrics import titled
from dbpt.objectives import OBJECTIVES
from dbpt.report.group_pictures import GroupExamples, GuessSheets
from dbpt.report.result_charts import result_charts
from dbpt.report.results_page import Answers, MadeBy, NextSteps, render_results

LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3
NASTY = """<script>alert("1")</script> & 'co'"""
SETTINGS = SharedSettings(
    epochs=9,
    batch_size=0,
    optimizer="adamw",
    sgd_momentum=0.9,
    weight_decay=0.0,
    warmup_epochs=1,
    features="cached",
    lr={"prompt": 0.01},
)
TRAINING = [3498, 184, 56, 1057]
BIRDS = DataSummary(
    name="birds",
    root="birds",
    classes=["landbird", "waterbird"],
    attributes=["land", "water"],
    factors=[],
    counts={"train": TRAINING, "val": [10, 10, 5, 5], "test": [100, 100, 50, 50]},
    train_counts_pseudo=[3332, 350, 106, 1007],
    notes=[],
)
RIGHT = {"zero-shot": [90, 50, 20, 45], "erm": [99, 60, 10, 48], "dbpt": [88, 84, 40, 43]}


def evaluated(right, counts=(100, 100, 50, 50), classes=2, names=None):
    groups = np.repeat(np.arange(len(counts)), counts)
    rank = np.concatenate([np.arange(n) for n in counts])
    attributes = len(counts) // classes
    labels = groups // attributes
    predictions = np.where(rank < np.asarray(right)[groups], labels, (labels + 1) % classes)
    sizes = {
        "num_classes": classes,
        "num_attributes": attributes,
        "train_counts": [*TRAINING, *counts[4:]][: len(counts)],
    }
    return group_metrics(predictions, labels, groups % attributes, group_names=names, **sizes)


def row(method, test, val=None, source="pseudo", **changes):
    trained = method != "zero-shot"
    epochs = {"best_epoch": 7, "epochs": 10} if trained else {}
    how = Row(
        method=method,
        title="",
        objective=method if trained else None,
        group_source=None if method in ("zero-shot", "erm") else source,
        repeats=[Repeat(seed=3, seconds=1.25, **epochs)],
    )
    return replace(titled(replace(how, **changes)), val=val, test=test)


def run(right=RIGHT, *, warnings=(), rows=None, chosen="dbpt", dataset=None, **changes):
    """Metrics of a run with 2 x 2 groups, unless the data set's own entries say otherwise."""
    rows = rows or [row(name, evaluated(values)) for name, values in right.items()]
    labels, true = np.repeat([0, 0, 1, 1], TRAINING), np.repeat([0, 1, 0, 1], TRAINING)
    pseudo = np.where(np.arange(true.size) % 20 == 0, 1 - true, true)
    quality = pseudo_attribute_quality(pseudo, true, labels, num_classes=2, num_attributes=2)
    data = replace(BIRDS, **dataset or {})
    found = Metrics(
        schema_version=8,
        dbpt_version="0.1.0",
        dataset=data,
        backbone=BackboneSummary(model="ViT-B-32", pretrained="openai", embed_dim=512, image_precision="bf16"),
        group_kind="true",
        average="plain",
        guesses=guesses_over(data),
        pseudo_quality=QualityOfSplit(split="training", **vars(quality)),
        split=next((split for split in ("test", "val") if any(getattr(each, split) for each in rows)), "train"),
        seeds=[3],
        heads=["prompt"],
        model_selection="pseudo-wga",
        settings=SETTINGS,
        rows=[replace(each, **{name: named(getattr(each, name), data) for name in SPLITS}) for each in rows],
        saved=Saved(method=chosen, seconds={"embed": 1.0, "total": 2.5}),
        warnings=worded(*warnings),
    )
    return replace(found, **changes)


def guesses_over(data):
    """Trusted guesses of the attribute or of the factors of the data set, by words; none without an attribute."""
    if data.factors:
        return guesses_of(*(factor_guesses(name=factor.name, values=factor.values) for factor in data.factors))
    shares = [0.625, 0.375] if len(data.attributes) == 2 else [1 / max(1, len(data.attributes))] * len(data.attributes)
    provenance = "clusters" if data.clusters else "words" if data.attributes else "none"
    return guesses_of(values=data.attributes, shares=shares, provenance=provenance)


def worded(*sentences, of=""):
    """Return cautions of no kind with these sentences."""
    return [Caution("text", {"text": sentence}, of) for sentence in sentences]


def over(classes, attributes=("land", "water")):
    """Entries of a data set with other classes and attributes, and ten images of each group in each split."""
    per_group = [10] * len(classes) * max(len(attributes), 1)
    counts = dict.fromkeys(SPLITS, per_group)
    return {"classes": [*classes], "attributes": [*attributes], "counts": counts, "train_counts_pseudo": per_group}


def with_difference(metrics, over_images):
    """Give the chosen row an interval of the difference to another row."""
    rows, chosen = list(metrics.rows), metrics.rows[metrics.chosen]
    if (other := metrics.reference(chosen)) is not None:
        of_other = Difference(method=other.method, head=other.head, seeds=[3], figures={}, over_images=over_images)
        rows[metrics.chosen] = replace(chosen, difference=of_other)
    return replace(metrics, rows=rows)


MADE_BY = MadeBy(
    "dbpt fit birds.csv --out runs/birds",
    [("land", ["land", "forest"])],
    (["a photo of a {}"], []),
    {"eta": "1.0", "cache": "None"},
)


def page_of(
    metrics,
    history=(),
    sheets=None,
    *,
    guesses=None,
    judged=None,
    examples=(),
    has_images=True,
    answers=None,
    made_by=MADE_BY,
    steps=None,
):
    """The page. The first and the chosen row of a run take one image of each class for the next one."""
    data, guesses = metrics.dataset, guesses or doubted(metrics.guesses, *worded(NASTY))
    metrics, judged = (each and replace(each, guesses=guesses) for each in (metrics, judged))
    if metrics.saved:
        metrics, one_image = with_difference(metrics, (0.2, 0.5)), np.eye(len(data.classes), dtype=int)
        answers = Answers(
            rows=[0, metrics.chosen],
            seed=3,
            examples=[
                *examples,
                *(GroupExamples(*names, 9, (5, 6), 2, 1, ()) for names in data.groups[len(examples) :]),
            ],
            confusions=[9 * one_image + np.roll(one_image, 1, 1)] * 2,
            has_images=has_images,
        )
    steps = steps or (NextSteps(label="dbpt label RUN --out RUN-labels") if metrics.saved else STEPS)
    shown, drawn = GuessSheets(guesses, words_of(data), sheets), result_charts(metrics, history)
    return render_results(metrics, judged or metrics, shown, made_by, steps, drawn, answers)


def words_of(dataset):
    """Words for the attributes, or for the values of the factors."""
    values = [f"{factor.name}: {value}" for factor in dataset.factors for value in factor.values]
    return {name: [name] for name in values or dataset.attributes}


def named(metrics, dataset):
    """Give the groups of made-up metrics the names of the data set."""
    return metrics and replace(metrics, groups=tuple(names_of(metrics.groups, dataset)))


def names_of(groups, dataset):
    return [replace(g, class_name=y, attribute=a) for g, (y, a) in zip(groups, dataset.groups, strict=False)]


def history(metrics, epochs=10):
    counts = np.array(metrics.dataset.train_counts_pseudo, dtype=float)
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


TRUSTED = guesses_over(BIRDS)
GUESSES = doubted(TRUSTED, *worded(NASTY))


# --- a comparison


STEPS = NextSteps(
    fit="dbpt fit X", label="dbpt label X-run", guess="dbpt guess X", resume="dbpt compare --resume --out X"
)


def compared(title, worst, accuracies, **changes):
    """A row of a comparison; ``worst`` are the worst-group accuracies by seed."""
    figures, mean = dict.fromkeys(FIGURES, 0.75), fmean(worst) if worst else None
    repeats = [
        Repeat(seed=seed, best_epoch=1, epochs=9, seconds=1.0, figures=figures | {"worst_group_accuracy": value})
        for seed, value in enumerate(worst)
    ]
    groups = tuple(group(g, accuracy) for g, accuracy in enumerate(accuracies))
    made = Row(
        method=title.lower(),
        title=title,
        objective=title.lower() if title.lower() in OBJECTIVES else None,
        group_source="pseudo",
        head=None if title == "zero-shot" else "prompt",
        repeats=repeats,
        test=of_figures(groups, worst_group_accuracy=mean) if worst else None,
        deviations=dict.fromkeys(FIGURES, 0.01 if worst else None) | {"worst_group_accuracy": 0.02 if worst else None},
    )
    return replace(made, **changes)


def of_figures(groups, n=160, **figures):
    """Metrics with some figures, of which the others are 75 %."""
    figures = dict.fromkeys(FIGURES, 0.75) | figures
    worst = figures["worst_group_accuracy"]
    bounds = (None, None) if worst is None else (max(0.0, worst - 0.1), min(1.0, worst + 0.1))
    named = dict(zip(("worst_group_low", "worst_group_high"), bounds, strict=True))
    return GroupMetrics(n=n, worst_group=None, groups=groups, warnings=(), **figures | named)


def group(index, accuracy, n=40):
    low, high, counts = max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1), {"n": n, "correct": round(n * accuracy)}
    return Group(index=index, class_name="", attribute="", accuracy=accuracy, low=low, high=high, **counts)


def difference(change, over_images, over_seeds=None, seeds=(0, 1)):
    figures = dict.fromkeys(FIGURES, FigureDifference())
    figures["worst_group_accuracy"] = FigureDifference(mean=change, over_seeds=over_seeds)
    return Difference(method="erm", head="prompt", seeds=list(seeds), figures=figures, over_images=over_images)


ROWS = (
    compared("zero-shot", (0.48, 0.48), (0.98, 0.55, 0.48, 0.96), difference=difference(-0.02, (-0.07, 0.03))),
    compared("ERM", (0.49, 0.51), (0.97, 0.6, 0.5, 0.99)),
    compared("dbpt", (0.8, 0.82), (0.85, 0.86, 0.81, 0.87), difference=difference(0.31, (0.2, 0.4), (0.28, 0.34))),
    compared("JTT", (0.83, 0.83), (0.9, 0.84, 0.83, 0.9), difference=difference(0.33, (0.22, 0.42))),
)


def comparison(rows=ROWS, classes=("landbird", "waterbird"), attributes=("land", "water"), **changes):
    """Metrics of a comparison, with 40 images of each group in each split."""
    per_group = [40] * (len(classes) * len(attributes))
    data = {"root": "/birds", "classes": list(classes), "attributes": list(attributes)}
    data |= {"counts": dict.fromkeys(SPLITS, per_group), "train_counts_pseudo": per_group}
    own = {"pseudo_quality": None, "seeds": [0, 1], "saved": None, "split": "test"}
    return run(rows=rows, dataset=data, **own | changes)


def many_rows(num_rows=20, num_classes=7):
    """A comparison of many rows with four attributes."""
    classes, attributes = [NASTY, LONG, *(f"c{i}" for i in range(2, num_classes))], ["photo", LONG, "c", "d"]
    accuracies = [(7 * g % 40) / 40 for g in range(4 * num_classes)]
    rows = [compared("zero-shot", (0.1, 0.1), accuracies), compared("ERM", (0.2, 0.3), accuracies)]
    rows += [compared(f"{LONG} {n}", (0.2, 0.8), accuracies, head="linear") for n in range(num_rows - 3)]
    rows.append(compared("dbpt", (0.3, 0.4), accuracies, difference=difference(0.1, (0.05, 0.15))))
    heads = ["prompt", "linear"]
    warnings = [f"{LONG} {n}" for n in range(9)]
    return comparison(rows, classes, attributes, heads=heads, warnings=warnings, left_out=[LONG])
