"""The table of a comparison for a terminal, as CSV, Markdown and LaTeX."""

from collections.abc import Callable, Sequence
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


def csv_table(comparison: ComparisonMetrics) -> str:
    """Return all figures as fractions with full digits, one line for each row; empty if missing."""
    groups, factors = comparison.dataset.group_names, comparison.dataset.factors
    factors = factors if len(factors) > 1 else []
    differences = ("mean", "seeds_low", "seeds_high", "draws_low", "draws_high")
    table: list[Sequence[object]] = [
        ["method", "head", "seeds", "draws", *(f"{name}_{part}" for name in FIGURES for part in ("mean", "sd"))]
        + [f"{name}_against_erm_{part}" for name in FIGURES for part in differences]
        + [f"worst_group_accuracy_against_erm_{part}" for part in ("images_low", "images_high")]
        + [f"worst_group_accuracy_{factor.name}" for factor in factors]
        + [f"accuracy of {name}" for name in groups]
    ]
    for row in comparison.rows:
        cells = [getattr(row.figures[name], part) for name in FIGURES for part in ("mean", "sd")]
        difference = row.difference or NO_DIFFERENCE
        for name in FIGURES:
            figure = difference.figures[name]
            cells += [figure.mean, *(figure.over_seeds or (None, None)), *(figure.over_draws or (None, None))]
        cells += difference.over_images or (None, None)
        alone = factor_figures(comparison, row.group_figures, None)
        cells += [each.worst and each.worst.accuracy for each in alone] or [None] * len(factors)
        cells += [entry.mean for entry in row.groups] or [None] * len(groups)
        table.append([row.method, row.head or "", len(row.seeds), len(row.draws), *cells])
    return csv_text(table)


def markdown_table(comparison: ComparisonMetrics) -> str:
    """Return a Markdown page: heading, table, notes."""
    titles, body = _cells(comparison, _as_markdown)
    head = [" ".join(filter(None, lines)) for lines in zip(*titles, strict=True)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 2}{'---:|' * (len(head) - 2)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in body]
    summary = ComparisonSummary(comparison)
    above = "  \n".join(map(_as_markdown, summary.heading))
    below = "\n".join(f"- {_as_markdown(note.strip())}" for note in summary.notes())
    return "\n".join([above, "", *lines, "", below, ""])


def latex_table(comparison: ComparisonMetrics) -> str:
    """Return a LaTeX table environment for the package booktabs, with the notes under it, about 430 pt wide."""
    titles, body = _cells(comparison, _as_latex)
    head, summary = [line for line in titles if any(line)], ComparisonSummary(comparison)
    above = " ".join(_as_latex(line) + "." for line in summary.heading)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}; other than Latin letters need XeLaTeX or LuaLaTeX",
            "% on a page of two columns, table* instead of table",
            "\\begin{table}",
            "\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}",
            f"\\caption{{{above}}}",
            f"\\begin{{tabular}}{{@{{}}ll{'r' * (len(head[0]) - 2)}@{{}}}}",
            "\\toprule",
            *(" & ".join(cells) + r" \\" for cells in head),
            "\\midrule",
            *(" & ".join(cells) + r" \\" for cells in body),
            "\\bottomrule",
            "\\end{tabular}",
            *(f"\\par {_as_latex(note.strip())}" for note in summary.notes()),
            "\\end{table}",
            "",
        ]
    )


def _cells(comparison: ComparisonMetrics, written: Callable[[str], str]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the three lines of the table's titles, and its rows, with ``written`` applied to each cell."""
    rows = comparison.rows
    columns = [
        ["", "", "method", *(row.title for row in rows)],
        ["", "", "head", *(row.head or MISSING for row in rows)],
        *_figures(comparison),
        *_differences(comparison),
    ]
    lines = [[written(" ".join(cell.split())) for cell in line] for line in zip(*columns, strict=True)]
    return lines[:3], lines[3:]


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",
    "±": "$\\pm$",
    "−": "$-$",
    "·": "$\\cdot$",
    "–": "\\textendash{}",
    "\u00a0": "~",
    "\u202f": "\\,",
}


def _as_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in text)
    return escaped.replace("--", "-{}-")  # of an option; LaTeX makes one dash of two


def _as_markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\|*_`<[]" else letter for letter in text)
