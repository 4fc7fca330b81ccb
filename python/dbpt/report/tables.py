"""Tables as text and CSV: results and confusions; `Shown`, the base of what commands return."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from dbpt.data.writing import csv_text
from dbpt.evaluation.accuracy_by_group import Group
from dbpt.evaluation.results import FIGURES, Metrics
from dbpt.evaluation.row_differences import FigureDifference
from dbpt.evaluation.short_repr import Brief
from dbpt.report import text
from dbpt.report.result_rows import AVERAGES, Row, Summary, group_size
from dbpt.report.table_notes import heading, is_varied, notes

WIDEST = 110


def results_table(metrics: Metrics, width: int = WIDEST, *, warnings: bool = True) -> str:
    """Return the table of a run or a comparison, as text without a final newline.

    That of a run has the accuracies of all groups, and has at most 80 columns: if they don't fit, each gets a line
    below. ``*`` marks the worst group of a row. That of a comparison has the differences, below the figures if it would
    be wider than ``width``.
    """
    summary = Summary(metrics)
    names, figures = _name_columns(summary.rows), _figure_columns(summary)
    if metrics.saved is not None:
        width, body = text.WIDTH, _groups_beside(summary, names + figures)
        below = [*_group_lines(summary), *_factor_lines(summary)]
    else:
        compared = [row for row in summary.rows if row.record.difference is not None]
        body = text.render_columns(names + figures + _difference_columns(summary.rows))
        below = text.render_columns(_name_columns(compared) + _difference_columns(compared)) if compared else []
    # With factors many combinations don't occur, and a column for each would be wide and empty.
    if below and (max(map(text.text_width, body)) > width or (metrics.saved and metrics.dataset.factors)):
        body = [*text.render_columns(names + figures), "", *below]
    lines = text.wrapped(heading(summary), width), text.wrapped(notes(summary, warnings=warnings), width)
    return "\n".join([*lines[0], "", *body, "", *lines[1]])


def _name_columns(rows: Sequence[Row]) -> list[list[str]]:
    """Return the titles, with a mark of the one that is saved, and the heads if there are several."""
    saves = len(rows) > 1 and rows[0].metrics.saved is not None
    columns = [["", "", "", *(f"{row.title}{' ◂' if row.chosen and saves else ''}" for row in rows)]]
    if rows and len(rows[0].metrics.heads) > 1:
        # flush left like the titles: render_columns sets all but the first column flush right
        heads = [row.head or text.MISSING for row in rows]
        longest = max(map(len, ["head", *heads]))
        columns.append([cell.ljust(longest) for cell in ("", "", "head", *heads)])
    return columns


def _figure_columns(summary: Summary) -> list[list[str]]:
    """Return columns of cells: three header cells, then one for each row, such as ``83.5 ± 1.2``."""
    rows, metrics = summary.rows, summary.metrics
    average, gap = AVERAGES[metrics.average]

    def column(title: tuple[str, str, str], name: str) -> list[str]:
        records = [row.record for row in rows]
        figures = [record.validation_score if name == "validation_score" else record.figure(name) for record in records]
        deviations = [text.percent(sd) if (sd := row.record.deviations.get(name)) is not None else "" for row in rows]
        longest = max(map(len, deviations), default=0)
        signs = [f" ± {each:>{longest}}" if each else " " * (longest + 3 if longest else 0) for each in deviations]
        return [*title, *(text.points(figure) + sign for figure, sign in zip(figures, signs, strict=True))]

    columns = [column(("", "", "validation"), "validation_score")] if is_varied(metrics) else []
    columns.append(column(("", "worst", "group"), "worst_group_accuracy"))
    if metrics.saved is not None:
        intervals = (text.interval_text(*(row.interval or (None, None))) for row in rows)
        columns.append(["", "95 %", "interval", *intervals])
    return [*columns, column(("", metrics.average, "average"), average), column(("", "", "gap"), gap)]


def _difference_columns(rows: Sequence[Row]) -> list[list[str]]:
    """Return columns of the difference in worst-group accuracy and both intervals; none if no row has any."""
    differences = [row.record.difference for row in rows]
    if not any(differences):
        return []
    worst = [(each.figures["worst_group_accuracy"] if each else FigureDifference()) for each in differences]
    images = [each.over_images if each else None for each in differences]
    repeats = f"{rows[0].metrics.repeat}s"
    return [
        ["worst gr.", "against", rows[0].metrics.against_title, *(text.signed_points(figure.mean) for figure in worst)],
        ["95 %", "over", repeats, *(text.signed_interval(figure.over_repeats) for figure in worst)],
        ["95 %", "over", "images", *map(text.signed_interval, images)],
    ]


def _groups_beside(summary: Summary, main: list[list[str]]) -> list[str]:
    """Return the table with all groups, and each class name above the columns of its groups."""
    header = ""
    groups = [
        ["", a, f"n={group_size(summary.rows, g)}", *(_group_cell(row, g) for row in summary.rows)]
        for g, (_, a) in enumerate(summary.metrics.dataset.groups)
    ]
    classes = summary.metrics.dataset.classes
    num_attributes = len(groups) // len(classes)
    for y, name in enumerate(classes):
        columns = groups[y * num_attributes : (y + 1) * num_attributes]
        if (missing := text.text_width(name) - _total_width(columns)) > 0:  # widen its first column
            columns[0][1] = " " * (_total_width(columns[:1]) + missing - text.text_width(columns[0][1])) + columns[0][1]
        space = _total_width(columns) - text.text_width(name)
        header += "  " + " " * (space - space // 2) + name + " " * (space // 2)
    return [(" " * _total_width(main) + header).rstrip(), *text.render_columns(main + groups)]


def _total_width(columns: list[list[str]]) -> int:
    return sum(max(map(text.text_width, column)) for column in columns) + 2 * (len(columns) - 1)


def _group_cell(row: Row, group: int) -> str:
    if row.record.shown is None:
        return f"{text.MISSING} "
    return starred(row.groups[group], row.worst)


def starred(group: Group, worst: Group | None) -> str:
    """Return the accuracy of a group and a star if none is lower, else a space, so that digits align."""
    return text.percent(group.accuracy) + ("*" if worst and group.accuracy == worst.accuracy else " ")


def _group_lines(summary: Summary) -> list[str]:
    """Return a table with a line for each group and a column for each row of the run."""
    shown, pairs = summary.metrics.dataset.shown_groups, summary.metrics.dataset.groups
    names = [text.shorten_group(*pairs[g], text.LONGEST_GROUP_NAME) for g in shown]
    sizes = [f"n={group_size(summary.rows, g)}" for g in shown]
    columns = [["", "", "group", *names], ["", "", "images", *sizes]]
    columns += [["", "", row.title + " ", *(_group_cell(row, g) for g in shown)] for row in summary.rows]
    return text.render_columns(columns)


def _factor_lines(summary: Summary) -> list[str]:
    """Return a table for each factor: the accuracy of each class and value, whatever the other factors."""
    lines: list[str] = []
    evaluated = [row for row in summary.rows if row.factors]
    for i, factor in enumerate(evaluated[0].factors if evaluated else ()):
        names = [text.shorten_group(each.class_name, each.attribute, text.LONGEST_GROUP_NAME) for each in factor.groups]
        columns = [
            ["", "", f"by {factor.name} alone", *names],
            ["", "", "images", *(f"n={text.count(group.n)}" for group in factor.groups)],
        ]
        for row in evaluated:
            figures = row.factors[i]
            columns.append(["", "", row.title + " ", *(starred(each, figures.worst) for each in figures.groups)])
        lines += ["", *text.render_columns(columns)]
    return lines


def table_lines(metrics: Metrics) -> list[dict[str, Any]]:
    """Return a line for each row, by column: fractions with full digits; None if missing.

    The first figures are those of the table of a run. All means and deviations follow, the differences to ERM or
    another row with their intervals, and the accuracy of each group.
    """
    lines, groups = list[dict[str, Any]](), [f"accuracy of {name}" for name in metrics.dataset.group_names]
    varied = dict.fromkeys(name for row in metrics.rows for name in row.varied)
    for row in Summary(metrics).rows:
        record, (low, high) = row.record, row.interval or (None, None)
        line: dict[str, Any] = {"method": row.method, "head": row.head}
        line |= {name: record.varied.get(name) for name in varied}
        line |= {"seeds": len(record.seed_repeats), "draws": len(record.draw_repeats)}
        if is_varied(metrics):
            spread = record.deviations["validation_score"]
            line |= {"validation_score_mean": record.validation_score, "validation_score_sd": spread}
        line |= {"worst_group_accuracy": row.worst_group_accuracy, "worst_group_low": low, "worst_group_high": high}
        line |= {"average_accuracy": row.average_accuracy, "gap": row.gap}
        if len(metrics.dataset.factors) > 1:
            worst = {factor.name: factor.worst and factor.worst.accuracy for factor in row.factors}
            line |= {f"worst_group_accuracy_{each.name}": worst.get(each.name) for each in metrics.dataset.factors}
        for name in FIGURES:
            line |= {f"{name}_mean": record.figure(name), f"{name}_sd": record.deviations.get(name)}
        difference, against = record.difference, f"against_{metrics.against or 'erm'}"
        for name in FIGURES:
            figure = difference.figures[name] if difference else FigureDifference()
            line[f"{name}_{against}_mean"] = figure.mean
            for over, interval in (("seeds", figure.over_seeds), ("draws", figure.over_draws)):
                line |= _bounds(f"{name}_{against}_{over}", interval)
        line |= _bounds(f"worst_group_accuracy_{against}_images", difference.over_images if difference else None)
        accuracies = [group.accuracy for group in row.groups] or [None] * len(groups)
        lines.append(line | dict(zip(groups, accuracies, strict=True)))
    return lines


def _bounds(name: str, interval: tuple[float, float] | None) -> dict[str, Any]:
    return dict(zip((f"{name}_low", f"{name}_high"), interval or (None, None), strict=True))


def csv_of_lines(lines: Sequence[Mapping[str, object]]) -> str:
    """Return lines, one or more with the same columns, as CSV."""
    return csv_text([list(lines[0]), *(line.values() for line in lines)])


class Shown(Brief):
    """A result that shows itself as its table, in text and in notebooks, and in one line as its ``repr``."""

    @abstractmethod
    def table(self) -> str:
        """Return the table as text, without a final newline."""

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        """Return the table as HTML, which notebooks show."""
        return Markup("<pre>{}</pre>").format(self.table())


MOST_CLASSES = 12
"""With more classes, the most frequent confusions replace the matrix."""
MOST_CONFUSIONS = 24
SHADES = (0.02, 0.1, 0.25, 0.5)


class Confusion(NamedTuple):
    """The number of images of a class that were taken for another; ``shade`` is 0 to 4, None on the diagonal."""

    label: str
    prediction: str
    n: int
    share: float
    shade: int | None


@dataclass(frozen=True)
class Confusions:
    """A row of ``matrix`` for each true class, or None if there are many; ``frequent`` are without the diagonal."""

    num_classes: int
    matrix: list[list[Confusion]] | None
    frequent: list[Confusion]


def confusions(counts: ArrayLike, classes: Sequence[str]) -> Confusions:
    """Return what a page shows of the `contingency_table` (C, C) of true and predicted classes."""
    counts_CC = np.asarray(counts)
    totals_C = np.maximum(counts_CC.sum(axis=1), 1)

    def confusion(y: int, taken_for: int) -> Confusion:
        n = int(counts_CC[y, taken_for])
        share = n / int(totals_C[y])
        shade = None if y == taken_for else sum(share >= limit for limit in SHADES)
        return Confusion(classes[y], classes[taken_for], n, share, shade)

    numbers = range(len(classes))
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, counts_CC).ravel()
    order = np.argsort(-wrong, kind="stable")[:MOST_CONFUSIONS]
    return Confusions(
        len(classes),
        [[confusion(y, k) for k in numbers] for y in numbers] if len(classes) <= MOST_CLASSES else None,
        [confusion(*divmod(i, len(classes))) for i in order.tolist() if wrong[i]],
    )
