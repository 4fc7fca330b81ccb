"""A made-up comparison with any rows and groups, and its page."""

from dataclasses import replace
from statistics import fmean

from made_up_run import GUESSES, LONG, NASTY, names_of, worded, words_of

from dbpt.evaluation import Group
from dbpt.evaluation.results import (
    FIGURES,
    BackboneSummary,
    ComparisonMetrics,
    ComparisonRow,
    ComparisonSettings,
    DataSummary,
    Difference,
    FigureDifference,
    SeedFigure,
)
from dbpt.objectives import OBJECTIVES
from dbpt.report import sections
from dbpt.report.comparison_page import NextSteps, render_comparison
from dbpt.report.pictures import GuessSheets

STEPS = NextSteps("dbpt fit X", "dbpt label X-run", "dbpt guess X", "dbpt compare --resume --out X")


def row(title, worst, accuracies, **changes):
    """``worst`` are the worst-group accuracies by seed."""
    figures = dict.fromkeys(FIGURES, SeedFigure(mean=0.75, sd=0.01, by_seed=[0.75] * len(worst), by_draw=[]))
    mean = fmean(worst) if worst else None
    figures["worst_group_accuracy"] = SeedFigure(mean=mean, sd=0.02 if worst else None, by_seed=list(worst), by_draw=[])
    made = ComparisonRow(
        method=title.lower(),
        title=title,
        objective=title.lower() if title.lower() in OBJECTIVES else None,
        group_source="pseudo",
        head=None if title == "zero-shot" else "prompt",
        apply=None,
        seeds=list(range(len(worst))),
        draws=[],
        best_epochs=[1] * len(worst),
        epochs=9,
        seconds=[1.0] * len(worst),
        warnings=[[]] * len(worst),
        figures=figures,
        groups=[group(g, accuracy) for g, accuracy in enumerate(accuracies)],
        deviations=[0.0] * len(accuracies),
        groups_differ=False,
        difference=None,
        over_images=(max(0.0, mean - 0.1), min(1.0, mean + 0.1)) if worst else None,
    )
    return replace(made, **changes)


def group(index, accuracy, n=40):
    low, high, counts = max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1), {"n": n, "correct": round(n * accuracy)}
    return Group(index=index, class_name="", attribute="", accuracy=accuracy, low=low, high=high, **counts)


def difference(change, over_images, over_seeds=None, seeds=(0, 1)):
    figures = dict.fromkeys(FIGURES, FigureDifference())
    figures["worst_group_accuracy"] = FigureDifference(mean=change, over_seeds=over_seeds)
    return Difference(head="prompt", seeds=list(seeds), figures=figures, over_images=over_images)


ROWS = (
    row("zero-shot", (0.48, 0.48), (0.98, 0.55, 0.48, 0.96), difference=difference(-0.02, (-0.07, 0.03))),
    row("ERM", (0.49, 0.51), (0.97, 0.6, 0.5, 0.99)),
    row("dbpt", (0.8, 0.82), (0.85, 0.86, 0.81, 0.87), difference=difference(0.31, (0.2, 0.4), (0.28, 0.34))),
    row("JTT", (0.83, 0.83), (0.9, 0.84, 0.83, 0.9), difference=difference(0.33, (0.22, 0.42))),
)


def comparison(rows=ROWS, classes=("landbird", "waterbird"), attributes=("land", "water"), **changes):
    per_group = [40] * (len(classes) * len(attributes))
    values = {
        "schema_version": 6,
        "dbpt_version": "0.1.0",
        "dataset": DataSummary(
            name="birds",
            root="/birds",
            classes=list(classes),
            attributes=list(attributes),
            factors=[],
            counts=dict.fromkeys(("train", "val", "test"), per_group),
            train_counts_pseudo=per_group,
            notes=[],
        ),
        "backbone": BackboneSummary(model="ViT-B-32", pretrained="openai", embed_dim=512, image_precision="bf16"),
        "group_kind": "true",
        "average": "plain",
        "pseudo_method": "proportional",
        "pseudo_shares": [1 / len(attributes)] * len(attributes),
        "pseudo_doubts": [],
        "pseudo_quality": None,
        "cross_validated": [],
        "split": "test",
        "n": sum(per_group),
        "seeds": [0, 1],
        "draws": [],
        "heads": ["prompt"],
        "model_selection": "pseudo-wga",
        "settings": ComparisonSettings(
            epochs=9,
            batch_size=0,
            optimizer="adamw",
            sgd_momentum=0.9,
            weight_decay=0.0,
            warmup_epochs=1,
            features="cached",
            lr={"prompt": 0.01},
        ),
        "rows": list(rows),
        "left_out": [],
        "failed": [],
    }
    found = ComparisonMetrics(**values | changes | {"warnings": worded(*changes.get("warnings", ()))})
    return replace(found, rows=[replace(row, groups=names_of(row.groups, found.dataset)) for row in found.rows])


def many_rows(num_rows=20, num_classes=7):
    """A comparison of many rows with four attributes."""
    classes, attributes = [NASTY, LONG, *(f"c{i}" for i in range(2, num_classes))], ["photo", LONG, "c", "d"]
    accuracies = [(7 * g % 40) / 40 for g in range(4 * num_classes)]
    rows = [row("zero-shot", (0.1, 0.1), accuracies), row("ERM", (0.2, 0.3), accuracies)]
    rows += [row(f"{LONG} {n}", (0.2, 0.8), accuracies, head="linear") for n in range(num_rows - 3)]
    rows.append(row("dbpt", (0.3, 0.4), accuracies, difference=difference(0.1, (0.05, 0.15))))
    heads = ["prompt", "linear"]
    warnings = [f"{LONG} {n}" for n in range(9)]
    return comparison(rows, classes, attributes, heads=heads, warnings=warnings, left_out=[LONG])


def page_of(
    metrics,
    sheets=None,
    *,
    judged=None,
    guesses=GUESSES,
    command="dbpt compare X",
    words=(),
    settings=None,
    steps=STEPS,
    answers=None,
):
    shown = GuessSheets(guesses, words_of(metrics.dataset), sheets)
    made_by = sections.made_by("compare", command, words, ([], []), settings or {}, metrics=metrics)
    return render_comparison(metrics, judged or metrics, shown, made_by, steps, answers)
