"""The charts of a run's report: bars and curves, and their colours, from metrics and history."""

from math import isfinite
from typing import Any

from markupsafe import Markup

from dbpt.report.charts import BAR_LETTERS, CURVE_LETTERS, Bar, BarGroup, Line, bar_chart, line_chart, linear_ticks
from dbpt.report.summary import Row, Summary, count, shorten_group

MOST_CURVES = 16
"""With more groups than this, the curves show those that ended worst."""
PER_CENT = [(tick / 100, f"{tick}") for tick in (0, 25, 50, 75, 100)]
UNIT = [(tick, f"{tick:g}") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
History = list[dict[str, Any]]
JUDGED_BY = {
    "pseudo-wga": ("Worst-group accuracy on validation, over pseudo groups", "val_wga"),
    "true-wga": ("Worst-group accuracy on validation, over true groups", "val_wga"),
}
"""Title and history key of the validation curve: ``val_wga`` is over the groups that choose the epoch."""


def row_styles(summary: Summary) -> list[str]:
    """Colour classes: one each for zero-shot, ERM and the chosen row, so that colours mean the same in all reports."""
    fixed = {"zero-shot": "row-zero-shot", "erm": "row-erm"}
    styles, others = [], 0
    for row in summary.rows:
        if row.chosen:
            styles.append("row-chosen")
        elif row.record["name"] in fixed:
            styles.append(fixed.pop(row.record["name"]))
        else:
            styles.append(f"row-other-{others % 4}")
            others += 1
    return styles


def accuracy_chart(summary: Summary, styles: list[str]) -> Markup:
    """Bars of every group and row with Wilson intervals."""
    groups = []
    for g, (name, label) in enumerate(zip(summary.group_names, summary.short_group_names(BAR_LETTERS), strict=True)):
        accuracies = [_bar(row, style, g) for row, style in zip(summary.rows, styles, strict=True) if row.metrics]
        groups.append(BarGroup(name, label, f"n = {count(summary.group_size(g))}", accuracies))
    return bar_chart(groups, f"Accuracy of each group with 95 % intervals, {summary.split_line}")


def _bar(row: Row, style: str, group: int) -> Bar:
    entry = row.group(group)
    assert entry is not None
    return Bar(style, row.title, entry["accuracy"], entry["low"], entry["high"])


def weights_chart(summary: Summary, history: History) -> Markup | None:
    """Curves of the weights by group, relative to those of the first epoch, or None if the row has none.

    A rare group weighs a hundred times what a common one does, which would hide how the weights *move*.
    """
    weighted = [entry for entry in history if entry["group_weights"]]
    if not weighted:
        return None
    last = next((entry for entry in weighted if entry["selected"]), weighted[-1])["group_weights"]
    prefixes = [f"{weight or 0.0:.3g} " for weight in last]
    lines = _group_lines(summary, weighted, "group_weights", prefixes)
    if not lines:
        return None
    ticks = linear_ticks([0.8, 1.2, *(value for line in lines for _, value in line.points if value is not None)])
    what = "Weight of a sample of each group over epochs, relative to the first"
    return line_chart(lines, what, ticks=ticks, best=_best_epoch(history))


def p_true_chart(summary: Summary, history: History) -> Markup | None:
    """Curves of mean_p_true of the chosen row by group, or None if it has none."""
    known = [entry for entry in history if entry["mean_p_true"]]
    lines = _group_lines(summary, known, "mean_p_true", [""] * len(summary.group_names))
    if not lines:
        return None
    return line_chart(lines, "Mean probability of the true class over epochs", ticks=UNIT, best=_best_epoch(history))


def _group_lines(summary: Summary, history: History, key: str, prefixes: list[str]) -> list[Line]:
    """One curve for each group that has a value: hue by class, dashes by attribute. Weights begin at 1."""
    lines = []
    for g, (y, a) in enumerate(summary.group_pairs):
        label, attribute = divmod(g, len(summary.metrics["dataset"]["attributes"]))
        curve = [(int(entry["epoch"]), _finite(entry[key][g])) for entry in history]
        if key == "group_weights":
            first = next((value for _, value in curve if value), None)
            curve = [(epoch, value / first if value and first else None) for epoch, value in curve]
        if any(value is not None for _, value in curve):
            short = prefixes[g] + shorten_group(y, a, CURVE_LETTERS - len(prefixes[g]))
            lines.append((g, Line(f"hue-{label % 6} dash-{attribute % 4}", f"{y} · {a}", short, curve)))
    if len(lines) > MOST_CURVES:
        lines = sorted(sorted(lines, key=lambda item: _chosen_accuracy(summary, item[0]))[:MOST_CURVES])
    return [line for _, line in lines]


def _chosen_accuracy(summary: Summary, group: int) -> float:
    entry = summary.chosen.group(group)
    return 1.0 if entry is None or entry["accuracy"] is None else float(entry["accuracy"])


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def validation_chart(summary: Summary, history: History, styles: list[str]) -> tuple[str, Markup] | None:
    """Return title and curves by row of the figure that chose the epochs, or the average; best epochs have a ring."""
    title, key = JUDGED_BY.get(summary.metrics["selection"], ("Average accuracy on validation", "val_average"))
    lines = []
    for row, style in zip(summary.rows, styles, strict=True):
        mine = [entry for entry in history if entry["row"] == row.record["name"]]
        curve = [(int(entry["epoch"]), _finite(entry[key])) for entry in mine]
        if any(value is not None for _, value in curve):
            lines.append(Line(style, row.title, row.title, curve, marked=_best_epoch(mine)))
    if not lines:
        return None
    return title, line_chart(lines, f"{title}, by epoch", ticks=PER_CENT)


def _best_epoch(history: History) -> int | None:
    return next((int(entry["epoch"]) for entry in history if entry["selected"]), None)
