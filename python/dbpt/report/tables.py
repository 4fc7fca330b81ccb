"""Tables as text: a run, and confusions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.evaluation.results import RunMetrics, RunRow
from dbpt.report import text
from dbpt.report.summary import (
    MINIMUM_NOTE,
    Row,
    Summary,
    average_note,
    group_size,
    pseudo_note,
    selected_by,
    selecting_figure,
    summarize,
)


def run_table(metrics: RunMetrics, *, warnings: bool = True) -> str:
    """Return the table of a run, as text without a final newline.

    If the groups don't fit into 80 columns, each gets a line below. ``*`` marks the worst group of a row.
    """
    summary = summarize(metrics)
    body = _groups_beside(summary)
    # With factors many combinations don't occur, and a column for each would be wide and empty.
    if metrics.dataset.factors or max(map(text.text_width, body)) > text.WIDTH:
        body = [*text.render_columns(_main_columns(summary)), "", *_group_lines(summary), *_factor_lines(summary)]
    notes = [*_notes(summary), *(f"warning: {each}" for each in (summary.warnings if warnings else []))]
    return "\n".join([*text.wrapped(summary.heading), "", *body, "", *text.wrapped(notes)])


def _main_columns(summary: Summary) -> list[list[str]]:
    """Return columns of cells: three header cells, then one for each row."""
    rows = summary.rows
    return [
        ["", "", "", *(f"{row.title}{' ◂' if row.chosen and len(rows) > 1 else ''}" for row in rows)],
        ["", "worst", "group", *(text.percent(row.worst_group_accuracy) for row in rows)],
        ["", "95 %", "interval", *(text.interval_text(*(row.interval or (None, None))) for row in rows)],
        ["", summary.metrics.average, "average", *(text.percent(row.average_accuracy) for row in rows)],
        ["", "", "gap", *(text.points(row.gap) for row in rows)],
    ]


def _groups_beside(summary: Summary) -> list[str]:
    """Return the table with all groups, and each class name above the columns of its groups."""
    main, header = _main_columns(summary), ""
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


def _group_cell(row: Row[RunRow], group: int) -> str:
    """Return the accuracy and a star if it is the worst of the row, else a space, so that digits align."""
    if row.record.shown is None:
        return f"{text.MISSING} "
    return text.percent(row.groups[group].accuracy) + ("*" if row.record.shown.worst_group == group else " ")


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
            ["", "", "images", *(f"n={text.count(each.n)}" for each in factor.groups)],
        ]
        for row in evaluated:
            figures = row.factors[i]
            cells = [text.percent(each.accuracy) + ("*" if each == figures.worst else " ") for each in figures.groups]
            columns.append(["", "", row.title + " ", *cells])
        lines += ["", *text.render_columns(columns)]
    return lines


def _notes(summary: Summary) -> list[str]:
    """Return the lines below the table, without warnings."""
    marks = "* worst group of the row"
    if len(summary.rows) > 1:
        marks += f"   ◂ the {'chosen' if summary.metrics.choice else 'requested'} row, which is saved"
    notes = [
        marks,
        "interval: from the smallest lower to the smallest upper exact bound of the groups, for all groups at once",
        MINIMUM_NOTE,
        average_note(summary.metrics.average),
    ]
    trained = [row for row in summary.rows if row.record.best_epoch is not None]
    if trained:
        best = ", ".join(f"{row.title} {row.record.best_epoch} of {row.record.epochs}" for row in trained)
        notes.append(f"best epoch, by {selected_by(summary.metrics)}: {best}")
    if choice := choice_note(summary.metrics):
        notes.append(choice)
    return [*notes, pseudo_note(summary.metrics)]


ONLY = {
    "no-attribute": "no attribute is named",
    "unnamed": "no words tell the groups of a class apart",
    "last": "with the last epoch of each, validation chooses nothing",
    "objective": "the objective can train nothing else",
}


def choice_note(metrics: RunMetrics) -> str:
    """Return which candidate ``--prompts auto`` kept, and why, in a sentence; "" if it was not asked for."""
    if metrics.only is not None:
        return f"--prompts auto trained only {metrics.chosen}: {ONLY[metrics.only]}"
    if (choice := metrics.choice) is None:
        return ""
    titles = {row.name: row.title for row in metrics.rows}
    saved = f"{titles[metrics.chosen]} is saved"
    lost = "; the words hardly fit the images, so only trained candidates count" if choice.why == "words" else ""
    if choice.figure == "last":
        return f"{saved}; with the last epoch of each candidate, validation chooses nothing{lost}"
    if choice.why in ("score", "words"):
        return f"{saved}, since it has the best {selecting_figure(metrics)[0]} on the validation images{lost}"
    figure, where = FIGURES[choice.figure], f"in {choice.group}" if choice.group else "on average"
    of_group = f"{where}, with {text.count_of(choice.n, 'validation image')}"
    if choice.why == "better":
        lead = next(each for each in choice.leads if each.name == metrics.chosen)
        points = f"{text.points(lead.mean)} points above that of {titles[choice.hedge or '']}"
        return f"{saved}: {of_group}, its {figure} is {points}; {text.points(lead.limit)} would be enough"
    fewest = text.count_of(choice.fewest, "image")
    worst = f", where it is worst; validation has {fewest} in its rarest group" if choice.group else ""
    return f"{saved}, as no other candidate is clearly better {of_group}{worst}"


FIGURES = {"wgp": "probability of the true class", "wga": "accuracy", "average": "accuracy"}


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


def confusion_counts(labels: NDArray[np.int64], predictions: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return the images (C, C) of each true class that are taken for each class."""
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def confusions(counts: ArrayLike, classes: Sequence[str]) -> Confusions:
    """Return what a page shows of the `confusion_counts`."""
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
