"""The terminal's comparison table: methods below each other, groups beside each other while they fit.

Plain text, no colour, at most 110 columns unless a single name is longer than that.
"""

from typing import Any
from unicodedata import east_asian_width

from dbpt.report.summary import MISSING, Row, Summary, average_note, count, interval_text, percent, points, summarize

WIDTH = 110
LONGEST_GROUP_NAME = 44
MINIMUM_NOTE = "a worst group is a minimum: its accuracy is biased downward, most where groups are small and alike"


def comparison_table(metrics: dict[str, Any]) -> str:
    """Return the rows of a metrics.json dict side by side, as text without a final newline.

    Shows the test split, where there is none validation, or else training (and says so): worst-group accuracy with its
    95 % interval, average, gap, and the accuracy of each group with its number of images;
    then how the epochs were chosen, how good the pseudo attributes are if that is known, and all warnings. With more
    groups than fit into 110 columns, each group gets a line below. Percentages have one decimal; ``*`` marks a row's
    worst.
    """
    summary = summarize(metrics)
    beside = render_columns(_main_columns(summary) + _group_columns(summary))
    if max(map(text_width, beside)) <= WIDTH:
        body = beside
    else:
        body = [*render_columns(_main_columns(summary)), "", *_group_lines(summary)]
    lines = [f"{metrics['dataset']['name']}: {summary.split_line}", f"{summary.groups_line}; figures in per cent", ""]
    return "\n".join([*lines, *body, "", *_notes(summary)])


def _main_columns(summary: Summary) -> list[list[str]]:
    """Columns as lists of cells: three header cells, then a cell for each row; the first column is flush left."""
    rows = summary.rows
    return [
        ["", "", "", *(f"{row.title}{' ◂' if row.chosen and len(rows) > 1 else ''}" for row in rows)],
        ["", "worst", "group", *(percent(row.number("worst_group_accuracy")) for row in rows)],
        ["", "95 %", "interval", *(interval_text(*(row.interval or (None, None))) for row in rows)],
        ["", "", "average", *(percent(row.average) for row in rows)],
        ["", "", "gap", *(points(row.gap) for row in rows)],
    ]


def _group_columns(summary: Summary) -> list[list[str]]:
    return [
        [y, a, f"n={count(summary.group_size(g))}", *(_group_cell(row, g) for row in summary.rows)]
        for g, (y, a) in enumerate(summary.group_pairs)
    ]


def _group_cell(row: Row, group: int) -> str:
    """Accuracy of a group, with a star if it is the row's worst and a space otherwise, so that the digits align."""
    entry = row.group(group)
    if entry is None or row.metrics is None:
        return f"{MISSING} "
    return percent(entry["accuracy"]) + ("*" if row.metrics["worst_group"] == group else " ")


def _group_lines(summary: Summary) -> list[str]:
    names = summary.short_group_names(LONGEST_GROUP_NAME)
    sizes = [f"n={count(summary.group_size(g))}" for g in range(len(names))]
    columns = [["", "", "group", *names], ["", "", "images", *sizes]]
    columns += [["", "", row.title + " ", *(_group_cell(row, g) for g in range(len(names)))] for row in summary.rows]
    return render_columns(columns)


def render_columns(columns: list[list[str]]) -> list[str]:
    """Lines of a table: of each column three header cells, which may be empty, then its rows; the first flush left."""
    widths = [max(map(text_width, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        padding = [" " * (width - text_width(cell)) for cell, width in zip(cells, widths, strict=True)]
        aligned = [cells[0] + padding[0], *(pad + cell for pad, cell in zip(padding[1:], cells[1:], strict=True))]
        lines.append("  ".join(aligned).rstrip())
    head = [line for line in lines[:3] if line]
    return [*head, "─" * max(map(text_width, lines)), *lines[3:]]


def text_width(text: str) -> int:
    """Columns of a terminal that a text takes: Chinese, Japanese and Korean letters are two wide."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _notes(summary: Summary) -> list[str]:
    marks = "* worst group of the row"
    if len(summary.rows) > 1:
        marks += "   ◂ the row that was asked for and is saved"
    notes = [
        marks,
        "interval: from the least lower to the least upper bound of the groups, exact, for all groups at once",
        MINIMUM_NOTE,
        average_note(summary.metrics["average"]),
    ]
    trained = [row for row in summary.rows if row.record["selected_epoch"] is not None]
    if trained:
        kept = ", ".join(f"{row.title} {row.record['selected_epoch']} of {row.record['epochs']}" for row in trained)
        notes.append(f"epoch kept, by {summary.metrics['selection']}: {kept}")
    notes.append(pseudo_note(summary.metrics, summary.group_names))
    return [*notes, *(f"warning: {text}" for text in summary.warnings())]


def pseudo_note(metrics: dict[str, Any], group_names: list[str]) -> str:
    """One line on the pseudo attributes: method and shares, how many are right and how precise the smallest group is.

    ``metrics`` is what metrics.json or compare.json holds; ``group_names`` (G,) are of the same groups. Where no
    true attribute is known, the line ends with the shares.
    """
    quality = metrics["pseudo_quality"]
    text = f"pseudo attributes: {metrics['pseudo_method']}, shares {shares_text(metrics)}"
    if not quality or quality["accuracy"] is None:
        return text
    smallest = quality["groups"][quality["smallest_group"]]
    return (
        f"{text}; {percent(quality['accuracy'])} right"
        f"; smallest pseudo-group ({group_names[smallest['group']]}, {count(smallest['n'])} images): "
        f"precision {percent(smallest['precision'])} "
        f"{interval_text(smallest['precision_low'], smallest['precision_high'])}"
    )


def shares_text(metrics: dict[str, Any]) -> str:
    """The share of each attribute by name."""
    names, shares = metrics["dataset"]["attributes"], metrics["pseudo_shares"]
    return " ".join(f"{name} {share:.2f}" for name, share in zip(names, shares, strict=True))
