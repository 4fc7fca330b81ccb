"""The charts of a run or a comparison: accuracy by group, worst groups of the rows, and the curves of a training."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

from dbpt.evaluation.results import Metrics
from dbpt.groups import class_and_attribute, group_name
from dbpt.guesses.linear_probe import PPA_NAMES
from dbpt.report import charts
from dbpt.report.bar_chart import Bar, BarGroup, bar_chart
from dbpt.report.result_rows import SPLIT_NAMES, Row, Summary, group_size
from dbpt.report.table_notes import selecting_figure, split_line
from dbpt.report.text import count_of, shorten_group

MOST_CURVES = 16
"""If there are more groups, the curves show the ones with the lowest accuracy."""
MOST_CHARTED = 5
"""The rows in the chart of the groups; more would make it long and repeat colours."""
MOST_BARS_BY_GROUP = 120
History = Sequence[dict[str, Any]]


def result_charts(metrics: Metrics, history: History = ()) -> dict[str, charts.Chart | None]:
    """Return the charts of a run or a comparison, by name, None if there is nothing to draw. Page and files show them.

    A run has the curves of its training, from its ``history``; a comparison has the worst-group accuracy of each row.
    """
    summary = Summary(metrics)
    rows, chosen = summary.rows, summary.chosen
    if metrics.saved is None:
        where = f"{SPLIT_NAMES[metrics.split]} split"
        return {"worst_group_accuracy": _row_chart(rows), "accuracy": accuracy_chart(rows, where)}
    # Group prompts that are mixed with untrained ones have the training of the others.
    alike = [row for row in metrics.rows if row.epochs and row.prompts == chosen.record.prompts]
    trained = chosen.method if chosen.record.alpha is None or not alike else alike[-1].method
    of_chosen = [entry for entry in history if entry["row"] == trained]
    return {
        "accuracy": accuracy_chart(rows, split_line(summary)),
        "weights": _curves_chart(summary, of_chosen, "group_weights"),
        "probability": _curves_chart(summary, of_chosen, "mean_p_true"),
        "validation": _validation_chart(summary, history, rows),
    }


def charted_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the chart of groups: zero-shot, ERM, the chosen one, its reference, and the best ones.

    They keep the order of the table.
    """
    known, fixed = [row for row in rows if row.groups], ("zero-shot", "erm", "chosen")
    against = [row.metrics.reference(row.record) for row in known if row.chosen]
    order = sorted(
        known,
        key=lambda row: (row.color not in fixed and row.record not in against, -(row.worst_group_accuracy or 0.0)),
    )
    return [row for row in known if row in order[:MOST_CHARTED]]


def most_groups(rows: Sequence[Row]) -> int:
    """Return how many groups the chart of groups shows at most."""
    return max(1, min(charts.MOST_BARS, MOST_BARS_BY_GROUP // max(1, len(charted_rows(rows)))))


def accuracy_chart(rows: Sequence[Row], where: str) -> charts.Chart | None:
    """Draw the accuracy of the `charted_rows` in the groups where the chosen one has the lowest, with intervals."""
    chosen, number = next(row for row in rows if row.chosen), most_groups(rows)
    rows, blocks = charted_rows(rows), []
    for g in sorted(chosen.worst_first[:number]) if rows else ():
        groups = [(row, row.groups[g]) for row in rows]
        bars = [Bar(row.color, row.name, group.accuracy, group.low, group.high) for row, group in groups]
        pair = chosen.metrics.dataset.groups[g]
        blocks.append(BarGroup(pair, f"n = {group_size(rows, g)}", bars))
    what = f"Accuracy of each group in per cent, with 95 % intervals, {where}"
    return bar_chart(blocks, what, [(row.color, row.name) for row in rows])


CURVES: dict[str, tuple[str, Literal["relative", "fraction"]]] = {
    "group_weights": (
        "Weight of a sample of each group, relative to the first epoch; beside its name, that at the best epoch",
        "relative",
    ),
    "mean_p_true": ("Mean probability of the true class over epochs", "fraction"),
}
"""The figures of the history that have curves by group, each with the caption and the scale of its chart."""


def _curves_chart(summary: Summary, history: History, key: str) -> charts.Chart | None:
    """Draw a figure of each group over the epochs; None if it is not known."""
    lines = _group_lines(summary, [entry for entry in history if entry[key]], key)
    what, scale = CURVES[key]
    return charts.line_chart(lines, what, scale=scale, best=_best_epoch(history)) if lines else None


def _group_lines(summary: Summary, history: History, key: str) -> list[charts.Line]:
    """Return a curve for each group with a value: hue by class, dashes by attribute.

    Weights begin at 1, since absolute weights of rare groups would hide the changes.
    """
    lines, data = [], summary.metrics.dataset
    pairs = data.groups if summary.chosen.record.group_source == "true" else data.pseudo_groups
    if summary.chosen.record.group_source == "ppa":
        pairs = [(label, name) for label in data.classes for name in PPA_NAMES]
    if not history or len(history[0][key]) != len(pairs):  # true groups, where the figures are over clusters
        return []
    at_best = next((entry for entry in history if entry["best"]), history[-1])[key]
    for g, (y, a) in enumerate(pairs):
        prefix = f"{at_best[g] or 0.0:.3g} " if key == "group_weights" else ""
        label, attribute = class_and_attribute(g, len(pairs) // len(data.classes))
        curve = [(int(entry["epoch"]), _finite(entry[key][g])) for entry in history]
        if key == "group_weights":
            first = next((value for _, value in curve if value), None)
            curve = [(epoch, value / first if value and first else None) for epoch, value in curve]
        if any(value is not None for _, value in curve):
            short = prefix + shorten_group(y, a, charts.CURVE_LETTERS - len(prefix))
            # COLORS has six hues, and `charts.DASHES` four kinds of lines.
            lines.append((g, charts.Line(f"hue-{label % 6}", group_name(y, a), short, curve, dash=attribute % 4)))
    if len(lines) > MOST_CURVES:
        if pairs == data.groups:
            order = {g: rank for rank, g in enumerate(summary.chosen.worst_first)}
            lines.sort(key=lambda item: order.get(item[0], len(order)))
        lines = sorted(lines[:MOST_CURVES])
    return [line for _, line in lines]


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def validation_title(metrics: Metrics) -> str:
    """Return the title of the chart of the figure that selects epochs."""
    figure, over, _ = selecting_figure(metrics)
    return f"{figure.capitalize()} on validation{over}"


def _validation_chart(summary: Summary, history: History, rows: Sequence[Row]) -> charts.Chart | None:
    """Draw the figure that selects epochs, a curve for each row. Best epochs have a ring."""
    title, (_, _, key) = validation_title(summary.metrics), selecting_figure(summary.metrics)
    lines = []
    for row in rows:
        mine = [entry for entry in history if entry["row"] == row.method]
        curve = [(int(entry["epoch"]), _finite(entry[key])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(charts.Line(row.color, row.name, row.name, curve, marked=_best_epoch(mine)))
    return charts.line_chart(lines, f"{title}, in per cent, by epoch", scale="percent") if lines else None


def _best_epoch(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["best"]), None)


def _row_chart(rows: Sequence[Row]) -> charts.Chart | None:
    """Draw the worst-group accuracy of each row, with the interval over images and a dot for each of several seeds."""
    bars = []
    for row in [row for row in rows if row.worst_group_accuracy is not None][: charts.MOST_BARS]:
        by_seed = [repeat.figures["worst_group_accuracy"] for repeat in row.record.seed_repeats]
        low, high = row.interval or (None, None)
        dots = [value for value in by_seed if value is not None] if len(by_seed) > 1 else []
        bar = Bar(row.color, "worst-group accuracy", row.worst_group_accuracy, low, high, dots)
        note = "not trained" if row.head is None else count_of(len(by_seed), "seed")
        note += f", {count_of(len(draws), 'draw')}" if (draws := row.record.draw_repeats) else ""
        bars.append(BarGroup((row.name, ""), note, [bar]))
    return bar_chart(bars, "Worst-group accuracy of each row in per cent, with its 95 % interval over images")
