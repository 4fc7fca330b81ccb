"""The comparison table for the terminal: a line per method, with a column per group if they fit.

Plain text without colour, at most 80 columns wide unless a single name is longer.
"""

import re
from textwrap import wrap
from unicodedata import east_asian_width

from dbpt.report.summary import MISSING, Row, Summary, average_note, count, interval_text, percent, points, summarize
from dbpt.runs.metrics import Metrics, RunMetrics, RunRow

WIDTH = 80
LONGEST_GROUP_NAME = 44
INTERVAL = re.compile(r"(\[[^][, ]+,) ([^][, ]+\])")
MINIMUM_NOTE = "a worst group is a minimum: its accuracy is biased downward, most if groups are small and similar"


def comparison_table(metrics: RunMetrics, *, warnings: bool = True) -> str:
    """Return the table of a run, as text without a final newline.

    If the groups don't fit into 80 columns, each gets a line below. ``*`` marks the worst group of a row.
    """
    summary = summarize(metrics)
    body = _groups_beside(summary)
    if max(map(text_width, body)) > WIDTH:
        body = [*render_columns(_main_columns(summary)), "", *_group_lines(summary)]
    told = [f"warning: {text}" for text in summary.warnings] if warnings else []
    return "\n".join([*wrapped(summary.heading), "", *body, "", *wrapped([*_notes(summary), *told])])


def wrapped(texts: list[str], width: int = WIDTH) -> list[str]:
    """Wrap ``texts`` to lines of at most ``width``, with later lines indented and intervals unbroken."""
    lines = []
    for text in texts:
        whole, indent = INTERVAL.sub("\\1\u00a0\\2", text.strip()), " " * (len(text) - len(text.lstrip()))
        lines += wrap(whole, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return lines


def _main_columns(summary: Summary) -> list[list[str]]:
    """Return columns of cells: three header cells, then one for each row."""
    rows = summary.rows
    return [
        ["", "", "", *(f"{row.title}{' ◂' if row.chosen and len(rows) > 1 else ''}" for row in rows)],
        ["", "worst", "group", *(percent(row.worst_group_accuracy) for row in rows)],
        ["", "95 %", "interval", *(interval_text(*(row.interval or (None, None))) for row in rows)],
        ["", "", "average", *(percent(row.average_accuracy) for row in rows)],
        ["", "", "gap", *(points(row.gap) for row in rows)],
    ]


def _groups_beside(summary: Summary) -> list[str]:
    """Return the table with all groups, and each class name above the columns of its groups."""
    main, header = _main_columns(summary), ""
    groups = [
        ["", a, f"n={count(summary.group_size(g))}", *(_group_cell(row, g) for row in summary.rows)]
        for g, (_, a) in enumerate(summary.metrics.dataset.groups)
    ]
    classes = summary.metrics.dataset.classes
    num_attributes = len(groups) // len(classes)
    for y, name in enumerate(classes):
        columns = groups[y * num_attributes : (y + 1) * num_attributes]
        if (missing := text_width(name) - _total_width(columns)) > 0:  # widen its first column
            columns[0][1] = " " * (_total_width(columns[:1]) + missing - text_width(columns[0][1])) + columns[0][1]
        space = _total_width(columns) - text_width(name)
        header += "  " + " " * (space - space // 2) + name + " " * (space // 2)
    return [(" " * _total_width(main) + header).rstrip(), *render_columns(main + groups)]


def _total_width(columns: list[list[str]]) -> int:
    return sum(max(map(text_width, column)) for column in columns) + 2 * (len(columns) - 1)


def _group_cell(row: Row[RunRow], group: int) -> str:
    """Return the accuracy and a star if it is the worst of the row, else a space, so that digits align."""
    if row.record.shown is None:
        return f"{MISSING} "
    return percent(row.groups[group].accuracy) + ("*" if row.record.shown.worst_group == group else " ")


def _group_lines(summary: Summary) -> list[str]:
    names = summary.short_group_names(LONGEST_GROUP_NAME)
    sizes = [f"n={count(summary.group_size(g))}" for g in range(len(names))]
    columns = [["", "", "group", *names], ["", "", "images", *sizes]]
    columns += [["", "", row.title + " ", *(_group_cell(row, g) for g in range(len(names)))] for row in summary.rows]
    return render_columns(columns)


def render_columns(columns: list[list[str]]) -> list[str]:
    """Return the lines of a table. A column has three header cells, which may be empty, then one for each row."""
    widths = [max(map(text_width, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        padding = [" " * (width - text_width(cell)) for cell, width in zip(cells, widths, strict=True)]
        aligned = [cells[0] + padding[0], *(pad + cell for pad, cell in zip(padding[1:], cells[1:], strict=True))]
        lines.append("  ".join(aligned).rstrip())
    head = [line for line in lines[:3] if line]
    return [*head, "─" * max(map(text_width, lines)), *lines[3:]]


def text_width(text: str) -> int:
    """Return the width of a text in a terminal, in which Chinese, Japanese and Korean letters are two wide."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _notes(summary: Summary) -> list[str]:
    marks = "* worst group of the row"
    if len(summary.rows) > 1:
        marks += "   ◂ the requested row, which is saved"
    notes = [
        marks,
        "interval: from the smallest lower to the smallest upper exact bound of the groups, for all groups at once",
        MINIMUM_NOTE,
        average_note(summary.metrics.average),
    ]
    trained = [row for row in summary.rows if row.record.best_epoch is not None]
    if trained:
        best = ", ".join(f"{row.title} {row.record.best_epoch} of {row.record.epochs}" for row in trained)
        notes.append(f"best epoch, by {summary.metrics.selection}: {best}")
    return [*notes, pseudo_note(summary.metrics)]


def pseudo_note(metrics: Metrics) -> str:
    """Describe the pseudo attributes: method, shares, and their accuracy if true attributes are known."""
    quality = metrics.pseudo_quality
    text = f"pseudo attributes: {metrics.pseudo_method}, shares {shares_text(metrics)}"
    if quality is None or quality.smallest_group is None:
        return text
    smallest, name = quality.groups[quality.smallest_group], metrics.dataset.group_names[quality.smallest_group]
    interval = interval_text(smallest.precision_low, smallest.precision_high)
    right = f"{percent(quality.accuracy)} right; smallest pseudo-group ({name}, {count(smallest.n)} images)"
    return f"{text}; {right}: precision {percent(smallest.precision)} {interval}"


def shares_text(metrics: Metrics) -> str:
    """Return the share of each attribute by name."""
    pairs = zip(metrics.dataset.attributes, metrics.pseudo_shares, strict=True)
    return " ".join(f"{name} {share:.2f}" for name, share in pairs)
