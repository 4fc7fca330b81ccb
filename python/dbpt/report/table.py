"""The table of a run for the terminal: a line per method, with a column per group if they fit.

It is at most 80 columns wide unless a single name is longer.
"""

from dbpt.report.summary import (
    MINIMUM_NOTE,
    Row,
    Summary,
    average_note,
    pseudo_note,
    selected_by,
    summarize,
)
from dbpt.report.text import (
    LONGEST_GROUP_NAME,
    MISSING,
    WIDTH,
    count,
    interval_text,
    percent,
    points,
    render_columns,
    shorten_group,
    text_width,
    wrapped,
)
from dbpt.runs.metrics import RunMetrics, RunRow


def run_table(metrics: RunMetrics, *, warnings: bool = True) -> str:
    """Return the table of a run, as text without a final newline.

    If the groups don't fit into 80 columns, each gets a line below. ``*`` marks the worst group of a row.
    """
    summary = summarize(metrics)
    body = _groups_beside(summary)
    if metrics.dataset.factors or max(map(text_width, body)) > WIDTH:
        body = [*render_columns(_main_columns(summary)), "", *_group_lines(summary), *_factor_lines(summary)]
    told = [f"warning: {text}" for text in summary.warnings] if warnings else []
    return "\n".join([*wrapped(summary.heading), "", *body, "", *wrapped([*_notes(summary), *told])])


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
    names, shown = summary.short_group_names(LONGEST_GROUP_NAME), summary.metrics.dataset.shown_groups
    sizes = [f"n={count(summary.group_size(g))}" for g in shown]
    columns = [["", "", "group", *(names[g] for g in shown)], ["", "", "images", *sizes]]
    columns += [["", "", row.title + " ", *(_group_cell(row, g) for g in shown)] for row in summary.rows]
    return render_columns(columns)


def _factor_lines(summary: Summary) -> list[str]:
    """Return a table for each factor: the accuracy of each class and value, whatever the other factors."""
    lines: list[str] = []
    evaluated = [row for row in summary.rows if row.factors]
    for place, factor in enumerate(evaluated[0].factors if evaluated else ()):
        names = [shorten_group(each.class_name, each.attribute, LONGEST_GROUP_NAME) for each in factor.groups]
        columns = [
            ["", "", f"by {factor.name} alone", *names],
            ["", "", "images", *(f"n={count(each.n)}" for each in factor.groups)],
        ]
        for row in evaluated:
            figures = row.factors[place]
            cells = [percent(each.accuracy) + ("*" if each == figures.worst else " ") for each in figures.groups]
            columns.append(["", "", row.title + " ", *cells])
        lines += ["", *render_columns(columns)]
    return lines


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
        notes.append(f"best epoch, by {selected_by(summary.metrics)}: {best}")
    return [*notes, pseudo_note(summary.metrics)]
