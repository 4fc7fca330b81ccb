"""The table of a comparison for a terminal, as CSV and for data frames."""

from collections.abc import Sequence
from dataclasses import replace

from dbpt.files.csv import csv_text
from dbpt.report.comparison_summary import ComparisonSummary
from dbpt.report.factors import factor_figures
from dbpt.report.summary import AVERAGES
from dbpt.report.text import (
    MISSING,
    percent,
    points,
    render_columns,
    signed_interval,
    signed_points,
    text_width,
    wrapped,
)
from dbpt.runs.comparison_metrics import (
    FIGURES,
    ComparisonMetrics,
    ComparisonRow,
    Difference,
    FigureDifference,
)

WIDEST = 110
NO_DIFFERENCE = Difference(head=None, seeds=[], figures=dict.fromkeys(FIGURES, FigureDifference()), over_images=None)


def terminal_table(comparison: ComparisonMetrics, width: int = WIDEST, *, warnings: bool = True) -> str:
    """Return plain text; if it is wider than ``width``, differences are put below the figures."""
    rows, summary, with_heads = comparison.rows, ComparisonSummary(comparison), len(comparison.heads) > 1
    names, figures, differences = _names(rows, with_heads), _figures(comparison), _differences(comparison)
    body = render_columns(names + figures + differences)
    if differences and max(map(text_width, body)) > width:
        compared = [row for row in rows if row.difference is not None]
        second = render_columns(_names(compared, with_heads) + _differences(replace(comparison, rows=compared)))
        body = [*render_columns(names + figures), "", *second]
    above, below = wrapped(summary.heading, width), wrapped(summary.notes(warnings=warnings), width)
    return "\n".join([*above, "", *body, "", *below])


def _names(rows: Sequence[ComparisonRow], with_heads: bool) -> list[list[str]]:
    columns = [["", "", "", *(row.title for row in rows)]]
    if with_heads:
        # flush left like the titles: render_columns sets all but the first column flush right
        heads = [row.head or MISSING for row in rows]
        longest = max(map(len, ["head", *heads]))
        columns.append([cell.ljust(longest) for cell in ("", "", "head", *heads)])
    return columns


def _figures(comparison: ComparisonMetrics) -> list[list[str]]:
    """Return columns such as ``83.5 ± 1.2``, with the means below each other."""
    average, gap = AVERAGES[comparison.average]
    titles = {"worst_group_accuracy": ("", "worst", "group"), average: ("", "", "average"), gap: ("", "", "gap")}
    columns = []
    for name, title in titles.items():
        figures = [row.figures[name] for row in comparison.rows]
        deviations = ["" if figure.sd is None else percent(figure.sd) for figure in figures]
        longest = max(map(len, deviations), default=0)
        signs = [f" ± {text:>{longest}}" if text else " " * (longest + 3 if longest else 0) for text in deviations]
        cells = [points(figure.mean) + sign for figure, sign in zip(figures, signs, strict=True)]
        columns.append([*title, *cells])
    return columns


def _differences(comparison: ComparisonMetrics) -> list[list[str]]:
    """Return columns of the difference in worst-group accuracy and both intervals; none if no row has any."""
    rows = comparison.rows
    if all(row.difference is None for row in rows):
        return []
    differences = [row.difference or NO_DIFFERENCE for row in rows]
    worst = [difference.figures["worst_group_accuracy"] for difference in differences]
    return [
        ["worst gr.", "against", "ERM", *(signed_points(figure.mean) for figure in worst)],
        ["95 %", "over", f"{comparison.repeat}s", *(signed_interval(figure.over_repeats) for figure in worst)],
        ["95 %", "over", "images", *(signed_interval(difference.over_images) for difference in differences)],
    ]


def table_lines(comparison: ComparisonMetrics) -> list[dict[str, object]]:
    """Return all figures of each row but its groups, by column, as fractions with full digits; None if missing."""
    factors = comparison.dataset.factors
    factors, lines = factors if len(factors) > 1 else [], []
    for row in comparison.rows:
        line: dict[str, object] = {"method": row.method, "head": row.head or ""}
        line |= {"seeds": len(row.seeds), "draws": len(row.draws)}
        line |= {f"{name}_{part}": getattr(row.figures[name], part) for name in FIGURES for part in ("mean", "sd")}
        difference = row.difference or NO_DIFFERENCE
        for name in FIGURES:
            figure = difference.figures[name]
            line[f"{name}_against_erm_mean"] = figure.mean
            for over, interval in (("seeds", figure.over_seeds), ("draws", figure.over_draws)):
                line |= _bounds(f"{name}_against_erm_{over}", interval)
        line |= _bounds("worst_group_accuracy_against_erm_images", difference.over_images)
        alone = {
            each.name: each.worst
            for each in factor_figures(comparison, row.groups, None, groups_differ=row.groups_differ)
        }
        for factor in factors:
            worst = alone.get(factor.name)
            line[f"worst_group_accuracy_{factor.name}"] = worst and worst.accuracy
        lines.append(line)
    return lines


def _bounds(name: str, interval: tuple[float, float] | None) -> dict[str, object]:
    return dict(zip((f"{name}_low", f"{name}_high"), interval or (None, None), strict=True))


def csv_table(comparison: ComparisonMetrics) -> str:
    """Return `table_lines` and the accuracy of each group as CSV."""
    groups, lines = comparison.dataset.group_names, table_lines(comparison)
    of_groups = [[entry.accuracy for entry in row.groups] or [None] * len(groups) for row in comparison.rows]
    table = ([*line.values(), *means] for line, means in zip(lines, of_groups, strict=True))
    return csv_text([[*lines[0], *(f"accuracy of {name}" for name in groups)], *table])
