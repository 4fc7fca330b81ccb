"""The charts of a run: accuracy by group, and the curves of its training."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from dbpt.groups import class_and_attribute, group_name
from dbpt.report import charts
from dbpt.report.summary import Row, Summary, selecting_figure, summarize
from dbpt.report.text import count, shorten_group
from dbpt.runs.metrics import RunMetrics

MOST_CURVES = 16
"""If there are more groups, the curves show the ones with the lowest accuracy."""
History = list[dict[str, Any]]


def run_figures(metrics: RunMetrics, history: History) -> dict[str, charts.Chart | None]:
    """Return the charts of a run, by name, None if there is nothing to draw. Page and files show them."""
    summary = summarize(metrics)
    colors, chosen = row_colors(summary.rows), summary.chosen.record.name
    legend = [(color, row.title) for row, color in zip(summary.rows, colors, strict=True) if row.groups]
    of_chosen = [entry for entry in history if entry["row"] == chosen]
    return {
        "accuracy": _accuracy_chart(summary, colors, charts.BAR_LETTERS, charts.WIDTH, legend),
        "weights": _weights_chart(summary, of_chosen),
        "probability": _p_true_chart(summary, of_chosen),
        "validation": _validation_chart(summary, history, colors),
    }


def narrow_chart(summary: Summary) -> charts.Chart:
    """Return the accuracy by group as narrow pages show it."""
    return _accuracy_chart(summary, row_colors(summary.rows), charts.NARROW_LETTERS, charts.NARROW)


def row_colors(rows: Sequence[Row[Any]]) -> list[str]:
    """Return names of colours; zero-shot, ERM and the chosen row have the same ones in all reports."""
    fixed = {"zero-shot": "zero-shot", "erm": "erm"}
    colors, others = [], 0
    for row in rows:
        if row.chosen:
            colors.append("chosen")
        elif row.method in fixed:
            colors.append(fixed.pop(row.method))
        else:
            colors.append(f"other-{others % 4}")
            others += 1
    return colors


def _accuracy_chart(
    summary: Summary, colors: list[str], letters: int, width: int, legend: charts.Legend | None = None
) -> charts.Chart:
    """Draw the accuracy of every row in each group, with its interval; names have at most ``letters``."""
    groups, names, labels = [], summary.metrics.dataset.group_names, summary.short_group_names(letters)
    for g in sorted(
        sorted(summary.metrics.dataset.shown_groups, key=lambda g: chosen_accuracy(summary, g))[: charts.MOST_BARS]
    ):
        bars = [
            charts.Bar(color, row.title, entry.accuracy, entry.low, entry.high)
            for row, color in zip(summary.rows, colors, strict=True)
            for entry in row.groups[g : g + 1]
        ]
        groups.append(charts.BarGroup(names[g], labels[g], f"n = {count(summary.group_size(g))}", bars))
    what = f"Accuracy of each group in per cent, with 95 % intervals, {summary.split_line}"
    return charts.bar_chart(groups, what, width, legend=legend)


def _weights_chart(summary: Summary, history: History) -> charts.Chart | None:
    """Draw the weights relative to the first epoch, since absolute weights of rare groups would hide the changes."""
    weighted = [entry for entry in history if entry["group_weights"]]
    if not weighted:
        return None
    last = next((entry for entry in weighted if entry["best"]), weighted[-1])["group_weights"]
    prefixes = [f"{weight or 0.0:.3g} " for weight in last]
    lines = _group_lines(summary, weighted, "group_weights", prefixes)
    if not lines:
        return None
    what = "Weight of a sample of each group, relative to the first epoch; beside its name, that at the best epoch"
    return charts.line_chart(lines, what, scale="relative", best=_best_epoch(history))


def _p_true_chart(summary: Summary, history: History) -> charts.Chart | None:
    """Draw the mean probability of the true class in each group over the epochs; None if it is not known."""
    known = [entry for entry in history if entry["mean_p_true"]]
    lines = _group_lines(summary, known, "mean_p_true", [""] * (len(known[0]["mean_p_true"]) if known else 0))
    if not lines:
        return None
    what = "Mean probability of the true class over epochs"
    return charts.line_chart(lines, what, scale="fraction", best=_best_epoch(history))


def _group_lines(summary: Summary, history: History, key: str, prefixes: list[str]) -> list[charts.Line]:
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
            short = prefixes[g] + shorten_group(y, a, charts.CURVE_LETTERS - len(prefixes[g]))
            lines.append((g, charts.Line(f"hue-{label % 6}", group_name(y, a), short, curve, dash=attribute % 4)))
    if len(lines) > MOST_CURVES:
        if pairs == data.groups:
            lines.sort(key=lambda item: chosen_accuracy(summary, item[0]))
        lines = sorted(lines[:MOST_CURVES])
    return [line for _, line in lines]


def chosen_accuracy(summary: Summary, group: int) -> float:
    """Return the accuracy of the chosen row in a group, 1.0 if it has no images, so that sorting puts it last."""
    groups = summary.chosen.groups
    accuracy = groups[group].accuracy if groups else None
    return 1.0 if accuracy is None else accuracy


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def validation_title(metrics: RunMetrics) -> str:
    """Return the title of the chart of the figure that selects epochs."""
    figure, over, _ = selecting_figure(metrics)
    return f"{figure.capitalize()} on validation{over}"


def _validation_chart(summary: Summary, history: History, colors: list[str]) -> charts.Chart | None:
    """Draw the figure that selects epochs, a curve for each row. Best epochs have a ring."""
    title, (_, _, key) = validation_title(summary.metrics), selecting_figure(summary.metrics)
    lines = []
    for row, color in zip(summary.rows, colors, strict=True):
        mine = [entry for entry in history if entry["row"] == row.record.name]
        curve = [(int(entry["epoch"]), _finite(entry[key])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(charts.Line(color, row.title, row.title, curve, marked=_best_epoch(mine)))
    return charts.line_chart(lines, f"{title}, in per cent, by epoch", scale="percent") if lines else None


def _best_epoch(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["best"]), None)
