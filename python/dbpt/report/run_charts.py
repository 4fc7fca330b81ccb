"""The accuracy by group of the rows of a run or comparison as a chart, and the curves of a run's training."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from dbpt.groups import class_and_attribute, group_name
from dbpt.guesses.ppa import NAMES as PPA_NAMES
from dbpt.report import charts
from dbpt.report.summary import ShownRow, Summary, group_size, selecting_figure, shown_rows, summarize
from dbpt.report.text import shorten_group
from dbpt.runs.metrics import RunMetrics

MOST_CURVES = 16
"""If there are more groups, the curves show the ones with the lowest accuracy."""
MOST_CHARTED = 5
"""The rows in the chart of the groups; more would make it long and repeat colours."""
MOST_BARS_BY_GROUP = 120
History = list[dict[str, Any]]


def run_figures(metrics: RunMetrics, history: History) -> dict[str, charts.Chart | None]:
    """Return the charts of a run, by name, None if there is nothing to draw. Page and files show them."""
    summary = summarize(metrics)
    rows, chosen = shown_rows(summary.rows), summary.chosen
    of_chosen = [entry for entry in history if entry["row"] == chosen.record.name]
    return {
        "accuracy": accuracy_chart(rows, summary.split_line),
        "weights": _weights_chart(summary, of_chosen),
        "probability": _p_true_chart(summary, of_chosen),
        "validation": _validation_chart(summary, history, rows),
    }


def charted_rows(rows: Sequence[ShownRow]) -> list[ShownRow]:
    """Return the rows of the chart of groups: zero-shot, ERM and the chosen one, and those with the best worst group.

    They keep the order of the table.
    """
    known, fixed = [shown for shown in rows if shown.row.groups], ("zero-shot", "erm", "chosen")
    order = sorted(known, key=lambda shown: (shown.color not in fixed, -(shown.row.worst_group_accuracy or 0.0)))
    return [shown for shown in known if shown in order[:MOST_CHARTED]]


def most_groups(rows: Sequence[ShownRow]) -> int:
    """Return how many groups the chart of groups shows at most."""
    return max(1, min(charts.MOST_BARS, MOST_BARS_BY_GROUP // max(1, len(charted_rows(rows)))))


def accuracy_chart(rows: Sequence[ShownRow], where: str) -> charts.Chart | None:
    """Draw the accuracy of the `charted_rows` in the groups where the chosen one has the lowest, with intervals."""
    chosen, number = next(shown.row for shown in rows if shown.row.chosen), most_groups(rows)
    rows, blocks = charted_rows(rows), []
    for g in sorted(chosen.worst_first[:number]) if rows else ():
        entries = [(shown, shown.row.groups[g]) for shown in rows]
        bars = [charts.Bar(shown.color, shown.name, each.accuracy, each.low, each.high) for shown, each in entries]
        pair = chosen.metrics.dataset.groups[g]
        blocks.append(charts.BarGroup(pair, f"n = {group_size([shown.row for shown in rows], g)}", bars))
    what = f"Accuracy of each group in per cent, with 95 % intervals, {where}"
    return charts.bar_chart(blocks, what, [(shown.color, shown.name) for shown in rows])


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
    if summary.chosen.record.group_source == "ppa":
        pairs = [(label, name) for label in data.classes for name in PPA_NAMES]
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
            order = {g: place for place, g in enumerate(summary.chosen.worst_first)}
            lines.sort(key=lambda item: order.get(item[0], len(order)))
        lines = sorted(lines[:MOST_CURVES])
    return [line for _, line in lines]


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def validation_title(metrics: RunMetrics) -> str:
    """Return the title of the chart of the figure that selects epochs."""
    figure, over, _ = selecting_figure(metrics)
    return f"{figure.capitalize()} on validation{over}"


def _validation_chart(summary: Summary, history: History, rows: Sequence[ShownRow]) -> charts.Chart | None:
    """Draw the figure that selects epochs, a curve for each row. Best epochs have a ring."""
    title, (_, _, key) = validation_title(summary.metrics), selecting_figure(summary.metrics)
    lines = []
    for shown in rows:
        mine = [entry for entry in history if entry["row"] == shown.row.method]
        curve = [(int(entry["epoch"]), _finite(entry[key])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(charts.Line(shown.color, shown.name, shown.name, curve, marked=_best_epoch(mine)))
    return charts.line_chart(lines, f"{title}, in per cent, by epoch", scale="percent") if lines else None


def _best_epoch(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["best"]), None)
