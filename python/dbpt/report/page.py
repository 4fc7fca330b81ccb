"""The HTML report: the content and charts for the template, which does the layout; the style sheet has the colours.

One file without scripts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import class_and_attribute, group_name
from dbpt.report.charts import (
    BAR_LETTERS,
    CURVE_LETTERS,
    MOST_BARS,
    NARROW,
    NARROW_LETTERS,
    WIDTH,
    Bar,
    BarGroup,
    Line,
    bar_chart,
    captioned,
    line_chart,
    linear_ticks,
)
from dbpt.report.confusion import confusions
from dbpt.report.drawing import Drawing
from dbpt.report.examples import GroupExamples, worst_first
from dbpt.report.factors import doubted_factors
from dbpt.report.gallery import Mistake
from dbpt.report.guesses import GuessSheets
from dbpt.report.headline import headline, verdict, without_doubts, zero_shot_line
from dbpt.report.made_by import Entries
from dbpt.report.summary import (
    SPLIT_NAMES,
    Row,
    Summary,
    average_note,
    cluster_note,
    groups_line,
    noise_notes,
    pseudo_text,
    selected_by,
    summarize,
)
from dbpt.report.templates import render
from dbpt.report.text import count, shorten_group
from dbpt.runs.metrics import RunMetrics

MOST_CURVES = 16
"""If there are more groups, the curves show the ones with the lowest accuracy."""
MOST_ROWS = 200
"""If there are more groups, the tables show the ones with the lowest accuracy."""
PER_CENT = [(tick / 100, f"{tick}") for tick in (0, 25, 50, 75, 100)]
UNIT = [(tick, f"{tick:g}") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
History = list[dict[str, Any]]
TRAINED = {
    "prompt": "the prompt, which are the words around the class names",
    "linear": "a linear layer on CLIP's features",
    "adapter": "an adapter on CLIP's features",
}
SELECTED_BY = {
    "pseudo-wga": "the one with the best worst-group accuracy on the validation images, over pseudo groups",
    "true-wga": "the one with the best worst-group accuracy on the validation images, over true groups",
    "average": "the one with the best average accuracy on the validation images",
    "last": "the last one",
}
JUDGED_BY = {
    "pseudo-wga": ("Worst-group accuracy on validation, over pseudo groups", "val_wga"),
    "true-wga": ("Worst-group accuracy on validation, over true groups", "val_wga"),
}
"""Title and history key of the validation curve. ``val_wga`` is over the groups of model selection."""


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """The content of the page of a run: its metrics, the rows of its history.jsonl, and the findings in its images.

    ``judged`` are the metrics over the `judged_factors`, for verdict and headline. ``mistakes`` of the chosen row in
    its worst group are None without images. ``examples`` of each group have the predictions of the first and of the
    chosen row, and ``confusions`` are their confusion counts (C, C). ``command`` made the run, ``label_command`` is the
    next step. ``difference`` is the 95 % interval of the chosen row's worst-group accuracy minus that of the strongest
    other one in ``judged``, on the same images.
    """

    metrics: RunMetrics
    judged: RunMetrics
    history: History
    mistakes: list[Mistake] | None
    sheets: GuessSheets
    examples: list[GroupExamples]
    confusions: list[NDArray[np.int64]]
    words: Entries
    settings: Entries
    command: str
    label_command: str
    difference: tuple[float, float] | None


def render_report(page: RunPage) -> str:
    """Return the HTML page of a run."""
    metrics, history = page.metrics, page.history
    summary, judged, guesses = summarize(metrics), summarize(page.judged), page.sheets.guesses
    styles, quality, classes = row_styles(summary.rows), metrics.pseudo_quality, metrics.dataset.classes
    chosen_history = [entry for entry in history if entry["row"] == summary.chosen.record.name]
    accuracies = [_chosen_accuracy(summary, g) for g in range(len(metrics.dataset.groups))]
    shown = metrics.dataset.shown_groups
    context = {
        "summary": summary,
        "split_name": SPLIT_NAMES[summary.split],
        "metrics": metrics,
        "verdict": verdict(judged, guesses, page.difference),
        "doubts": guesses.doubts,
        "warnings": without_doubts(summary.warnings, guesses),
        "headline": headline(judged, page.difference),
        "groups_line": groups_line(metrics),
        "average_note": average_note(metrics.average),
        "zero_shot_line": zero_shot_line(judged),
        "titled": [(row.title, row) for row in summary.rows],
        "doubted_factors": doubted_factors(guesses, metrics),
        "rows": list(zip(summary.rows, styles, strict=True)),
        "tabled": sorted([g for g in worst_first(accuracies) if g in shown][:MOST_ROWS]),
        "num_groups": len(shown),
        "bars": _accuracy_chart(summary, styles, BAR_LETTERS, WIDTH),
        "narrow_bars": _accuracy_chart(summary, styles, NARROW_LETTERS, NARROW),
        "examples": page.examples,
        "shows_images": page.mistakes is not None,
        "confusions": [
            (confusions(counts, classes), row)
            for counts, row in zip(page.confusions, (summary.rows[0], summary.chosen), strict=True)
        ],
        "weights": _weights_chart(summary, chosen_history),
        "p_true": _p_true_chart(summary, chosen_history),
        "validation": _validation_chart(summary, history, styles),
        "quality": quality if quality and quality.smallest_group is not None else None,
        "gallery": page.mistakes,
        "sheets": page.sheets,
        "label_command": page.label_command,
        "true_uses": _true_uses(summary),
        "noise_notes": noise_notes(metrics, summary.corrected_rows, caveat=False),
        "selected_by": selected_by(metrics),
        "has_attributes": metrics.dataset.has_attributes,
        "cluster_note": cluster_note(metrics),
        "how_trained": _how_trained(summary),
        "command": page.command,
        "entries": [*_settings(summary), *page.words],
        "settings": page.settings,
        "most_bars": MOST_BARS if len(shown) > MOST_BARS else None,
        "most_curves": MOST_CURVES if len(shown) > MOST_CURVES else None,
    }
    return render("report/template.html.j2", **context)


def _how_trained(summary: Summary) -> str:
    """Return sentences about the training of the chosen row and the choice of its epoch."""
    record, title = summary.chosen.record, summary.chosen.title
    groups = {
        "pseudo": "pseudo attributes",
        "true": "true attributes (an oracle)",
        "soft": "probabilities of the pseudo attributes",
    }
    told = f"Training ({title}) tunes {TRAINED.get(str(record.head), f'the head {record.head}')}"
    if record.group_source in groups:
        told += f", and weighs the images by class · attribute group, by the {groups[record.group_source]}"
    if any(row.record.name == "erm" for row in summary.others):
        told += "; ERM is plain training, without such weights"
    if record.epochs < 2:
        return told
    selection = SELECTED_BY.get(summary.metrics.model_selection, f"the one by {summary.metrics.model_selection}")
    if not summary.metrics.dataset.has_attributes:
        selection = selection.replace("worst-group accuracy", "accuracy of the worst class").split(", over")[0]
    return f"{told}. Of all epochs, the one kept is {selection}"


def run_figures(metrics: RunMetrics, history: History) -> dict[str, Drawing | None]:
    """Return the charts of the page, by name, as files need them."""
    summary = summarize(metrics)
    styles, chosen = row_styles(summary.rows), summary.chosen.record.name
    validation = _validation_chart(summary, history, styles)
    legend = [(style, row.title) for row, style in zip(summary.rows, styles, strict=True) if row.groups]
    charts = {
        "weights": _weights_chart(summary, [entry for entry in history if entry["row"] == chosen]),
        "probability": _p_true_chart(summary, [entry for entry in history if entry["row"] == chosen]),
        "validation": validation[1] if validation else None,
    }
    figures = {name: captioned(chart) if chart else None for name, chart in charts.items()}
    return {"accuracy": captioned(_accuracy_chart(summary, styles, BAR_LETTERS, WIDTH), legend), **figures}


def _true_uses(summary: Summary) -> str:
    """Return the uses of true attributes. A run without an oracle setting only measures with them."""
    uses = ["this table", "the metrics"] if summary.metrics.group_kind == "true" else ["this table"]
    if summary.metrics.model_selection == "true-wga":
        uses.append("model selection (as requested)")
    oracles = [row.title for row in summary.rows if row.record.group_source == "true"]
    if oracles:
        uses.append(f"the training of {' and '.join(oracles)} (as requested)")
    return ", ".join(uses)


def _settings(summary: Summary) -> list[tuple[str, str]]:
    metrics, record = summary.metrics, summary.chosen.record
    sources = {
        None: "none",
        "pseudo": "pseudo attributes",
        "true": "true attributes (an oracle)",
        "soft": "pseudo attributes, by their posterior",
    }
    applications = {None: "none", "loss": "in the loss", "sampling": "by sampling"}
    return [
        ("Data", metrics.dataset.root),
        ("Backbone", metrics.backbone.model),
        ("Weights", str(metrics.backbone.pretrained)),
        ("Width of the features", str(metrics.backbone.embed_dim)),
        ("Image tower", metrics.backbone.image_tower),
        ("Head", str(record.head)),
        ("Objective", summary.chosen.title),
        ("Weights applied", applications.get(record.apply, str(record.apply))),
        ("Groups trained on", sources.get(record.group_source, str(record.group_source))),
        ("Pseudo attributes by", pseudo_text(metrics)),
        ("Best epoch by", selected_by(metrics)),
        ("Seed", str(metrics.seed)),
        ("Images that could not be read", str(metrics.failed_images)),
        ("Time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in metrics.seconds.items())),
    ]


def row_styles(rows: Sequence[Row[Any]]) -> list[str]:
    """Return colour classes; zero-shot, ERM and the chosen row have the same colours in all reports."""
    fixed = {"zero-shot": "row-zero-shot", "erm": "row-erm"}
    styles, others = [], 0
    for row in rows:
        if row.chosen:
            styles.append("row-chosen")
        elif row.method in fixed:
            styles.append(fixed.pop(row.method))
        else:
            styles.append(f"row-other-{others % 4}")
            others += 1
    return styles


def _accuracy_chart(summary: Summary, styles: list[str], letters: int, width: int) -> Drawing:
    groups, names, labels = [], summary.metrics.dataset.group_names, summary.short_group_names(letters)
    for g in sorted(
        sorted(summary.metrics.dataset.shown_groups, key=lambda g: _chosen_accuracy(summary, g))[:MOST_BARS]
    ):
        bars = [
            Bar(style, row.title, entry.accuracy, entry.low, entry.high)
            for row, style in zip(summary.rows, styles, strict=True)
            for entry in row.groups[g : g + 1]
        ]
        groups.append(BarGroup(names[g], labels[g], f"n = {count(summary.group_size(g))}", bars))
    return bar_chart(groups, f"Accuracy of each group in per cent, with 95 % intervals, {summary.split_line}", width)


def _weights_chart(summary: Summary, history: History) -> Drawing | None:
    """Draw the weights relative to the first epoch, since absolute weights of rare groups would hide the changes."""
    weighted = [entry for entry in history if entry["group_weights"]]
    if not weighted:
        return None
    last = next((entry for entry in weighted if entry["best"]), weighted[-1])["group_weights"]
    prefixes = [f"{weight or 0.0:.3g} " for weight in last]
    lines = _group_lines(summary, weighted, "group_weights", prefixes)
    if not lines:
        return None
    ticks = linear_ticks([0.8, 1.2, *(value for line in lines for _, value in line.points if value is not None)])
    what = "Weight of a sample of each group, relative to the first epoch; beside its name, that at the best epoch"
    return line_chart(lines, what, ticks=ticks, best=_best_epoch(history))


def _p_true_chart(summary: Summary, history: History) -> Drawing | None:
    known = [entry for entry in history if entry["mean_p_true"]]
    lines = _group_lines(summary, known, "mean_p_true", [""] * (len(known[0]["mean_p_true"]) if known else 0))
    if not lines:
        return None
    return line_chart(lines, "Mean probability of the true class over epochs", ticks=UNIT, best=_best_epoch(history))


def _group_lines(summary: Summary, history: History, key: str, prefixes: list[str]) -> list[Line]:
    """Return a curve for each group with a value: hue by class, dashes by attribute. Weights begin at 1."""
    lines, data = [], summary.metrics.dataset
    pairs = data.groups if summary.chosen.record.group_source == "true" else data.pseudo_groups
    if not history or len(history[0][key]) != len(pairs):  # true groups, where the figures are over clusters
        return []
    for g, (y, a) in enumerate(pairs):
        label, attribute = class_and_attribute(g, len(pairs) // len(data.classes))
        curve = [(int(entry["epoch"]), _finite(entry[key][g])) for entry in history]
        if key == "group_weights":
            first = next((value for _, value in curve if value), None)
            curve = [(epoch, value / first if value and first else None) for epoch, value in curve]
        if any(value is not None for _, value in curve):
            short = prefixes[g] + shorten_group(y, a, CURVE_LETTERS - len(prefixes[g]))
            lines.append((g, Line(f"hue-{label % 6} dash-{attribute % 4}", group_name(y, a), short, curve)))
    if len(lines) > MOST_CURVES:
        if pairs == data.groups:
            lines.sort(key=lambda item: _chosen_accuracy(summary, item[0]))
        lines = sorted(lines[:MOST_CURVES])
    return [line for _, line in lines]


def _chosen_accuracy(summary: Summary, group: int) -> float:
    groups = summary.chosen.groups
    accuracy = groups[group].accuracy if groups else None
    return 1.0 if accuracy is None else accuracy


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def _validation_chart(summary: Summary, history: History, styles: list[str]) -> tuple[str, Drawing] | None:
    """Return the title and the curves of the figure that selects epochs, one per row. Best epochs have a ring."""
    title, key = JUDGED_BY.get(summary.metrics.model_selection, ("Average accuracy on validation", "val_average"))
    if key == "val_wga" and not summary.metrics.dataset.has_attributes:
        title = "Accuracy of the worst class on validation"
    lines = []
    for row, style in zip(summary.rows, styles, strict=True):
        mine = [entry for entry in history if entry["row"] == row.record.name]
        curve = [(int(entry["epoch"]), _finite(entry[key])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(Line(style, row.title, row.title, curve, marked=_best_epoch(mine)))
    if not lines:
        return None
    return title, line_chart(lines, f"{title}, in per cent, by epoch", ticks=PER_CENT)


def _best_epoch(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["best"]), None)
