"""The table of a comparison for a terminal, as CSV, Markdown and LaTeX, from the dict of ``compare.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dbpt.experiments.comparison.notes import heading, notes
from dbpt.experiments.comparison.summary import FIGURES
from dbpt.files.csv import csv_text
from dbpt.report.summary import AVERAGES, MISSING, percent, points
from dbpt.report.table import render_columns, text_width, wrapped

WIDEST = 110
Row = dict[str, Any]


def terminal_table(comparison: dict[str, Any], width: int = WIDEST) -> str:
    """Return plain text without a final newline. If it is wider than ``width``, differences are put below the figures.

    Worst-group accuracy, average and gap (those of ``--average``) are means over the seeds with their standard
    deviation; ``against ERM`` is a difference in worst-group accuracy. The lines under the table say how to read it.
    """
    rows = comparison["rows"]
    names, figures, differences = _names(comparison), _figures(comparison), _differences(rows)
    body = render_columns(names + figures + differences)
    if differences and max(map(text_width, body)) > width:
        compared = [row for row in rows if row["difference"] is not None]
        body = [
            *render_columns(names + figures),
            "",
            *render_columns(_names(comparison | {"rows": compared}) + _differences(compared)),
        ]
    above, below = wrapped(heading(comparison), width), wrapped(notes(comparison), width)
    return "\n".join([*above, "", *body, "", *below])


def _names(comparison: dict[str, Any]) -> list[list[str]]:
    rows = comparison["rows"]
    columns = [["", "", "", *(row["title"] for row in rows)]]
    if len(comparison["heads"]) > 1:
        # flush left like the titles: render_columns sets all but the first column flush right
        heads = [row["head"] or MISSING for row in rows]
        longest = max(map(len, ["head", *heads]))
        columns.append([cell.ljust(longest) for cell in ("", "", "head", *heads)])
    return columns


def _figures(comparison: dict[str, Any]) -> list[list[str]]:
    average, gap = AVERAGES[comparison["average"]]
    titles = {"worst_group_accuracy": ("", "worst", "group"), average: ("", "", "average"), gap: ("", "", "gap")}
    return [[*title, *_spread(comparison["rows"], name)] for name, title in titles.items()]


def _spread(rows: list[Row], name: str) -> list[str]:
    """Return ``83.5 ± 1.2`` for each row, with the means below each other."""
    figures = [row["figures"][name] for row in rows]
    deviations = ["" if figure["sd"] is None else percent(figure["sd"]) for figure in figures]
    longest = max(map(len, deviations), default=0)
    signs = [f" ± {text:>{longest}}" if text else " " * (longest + 3 if longest else 0) for text in deviations]
    return [points(figure["mean"]) + sign for figure, sign in zip(figures, signs, strict=True)]


def _differences(rows: list[Row]) -> list[list[str]]:
    """Return columns of the difference in worst-group accuracy and both intervals; none if no row has any."""
    if all(row["difference"] is None for row in rows):
        return []
    return [
        ["worst gr.", "against", "ERM", *(_signed(_of_difference(row, "mean")) for row in rows)],
        ["95 %", "over", "seeds", *(_interval(_of_difference(row, "over_seeds")) for row in rows)],
        ["95 %", "over", "images", *(_interval(_over_images(row)) for row in rows)],
    ]


def _of_difference(row: Row, key: str, name: str = "worst_group_accuracy") -> Any:
    return None if row["difference"] is None else row["difference"]["figures"][name][key]


def _over_images(row: Row) -> list[float] | None:
    return None if row["difference"] is None else row["difference"]["over_images"]


def _signed(difference: float | None) -> str:
    """Return percentage points with their sign; nothing for None."""
    if difference is None:
        return ""
    text = points(difference)
    return text if text.startswith("−") or text == "0.0" else f"+{text}"


def _interval(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"[{_signed(bounds[0])}, {_signed(bounds[1])}]"


def csv_table(comparison: dict[str, Any]) -> str:
    """Return all figures as fractions with full digits, one line for each row; empty if missing."""
    dataset = comparison["dataset"]
    groups = [f"{y} · {a}" for y in dataset["classes"] for a in dataset["attributes"]]
    differences = ("mean", "seeds_low", "seeds_high")
    table: list[Sequence[object]] = [
        ["method", "head", "seeds", *(f"{name}_{part}" for name in FIGURES for part in ("mean", "sd"))]
        + [f"{name}_against_erm_{part}" for name in FIGURES for part in differences]
        + [f"worst_group_accuracy_against_erm_{part}" for part in ("images_low", "images_high")]
        + [f"accuracy of {name}" for name in groups]
    ]
    for row in comparison["rows"]:
        cells = [row["figures"][name][part] for name in FIGURES for part in ("mean", "sd")]
        for name in FIGURES:
            cells += [_of_difference(row, "mean", name), *(_of_difference(row, "over_seeds", name) or (None, None))]
        cells += _over_images(row) or (None, None)
        cells += [entry["mean"] for entry in row["groups"]] or [None] * len(groups)
        table.append([row["method"], row["head"] or "", len(row["seeds"]), *cells])
    return csv_text(table)


def markdown_table(comparison: dict[str, Any]) -> str:
    """Return a Markdown page: heading, table, notes."""
    titles, body = _cells(comparison, _as_markdown)
    head = [" ".join(filter(None, lines)) for lines in zip(*titles, strict=True)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 2}{'---:|' * (len(head) - 2)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in body]
    above = "  \n".join(map(_as_markdown, heading(comparison)))
    below = "\n".join(f"- {_as_markdown(note.strip())}" for note in notes(comparison))
    return "\n".join([above, "", *lines, "", below, ""])


def latex_table(comparison: dict[str, Any]) -> str:
    """Return a LaTeX table environment for the package booktabs, with the notes under it, about 430 pt wide."""
    titles, body = _cells(comparison, _as_latex)
    head = [line for line in titles if any(line)]
    above = " ".join(_as_latex(line) + "." for line in heading(comparison))
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
            *(f"\\par {_as_latex(note.strip())}" for note in notes(comparison)),
            "\\end{table}",
            "",
        ]
    )


def _cells(comparison: dict[str, Any], written: Callable[[str], str]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the three lines of the table's titles, and its rows, with ``written`` applied to each cell."""
    rows = comparison["rows"]
    columns = [
        ["", "", "method", *(row["title"] for row in rows)],
        ["", "", "head", *(row["head"] or MISSING for row in rows)],
        *_figures(comparison),
        *_differences(rows),
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
