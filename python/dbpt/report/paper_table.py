"""The table of a comparison as papers print it: figures ± deviations, with the best of each column marked."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from dbpt.errors import InputError
from dbpt.evaluation.repeats import shared_by
from dbpt.evaluation.results import Metrics, Row
from dbpt.evaluation.row_differences import Difference
from dbpt.report import text
from dbpt.report.result_rows import AVERAGES, Summary
from dbpt.report.table_notes import heading

Mark = Literal["best", "tied", ""]
NO_MARK: Mark = ""
Differs = Callable[[Row, Row, float], Difference]
"""Returns a row minus another one, with intervals at a confidence."""
FORMATS = {"best": "**{}**", "tied": "{} †", "": "{}"}
IN_LATEX = {"best": r"\textbf{{{}}}", "tied": r"{}$^\dagger$", "": "{}"}


@dataclass(frozen=True)
class PaperTable:
    """The table; ``cells`` has a line for each row, each cell with its mark. ``notes`` say what marks and ± are."""

    header: list[str]
    cells: list[list[tuple[str, Mark]]]
    notes: list[str]

    def lines(self) -> list[dict[str, str]]:
        """Return a line for each row, by column, with marks as in Markdown."""
        return [
            {name: FORMATS[mark].format(cell) for name, (cell, mark) in zip(self.header, line, strict=True)}
            for line in self.cells
        ]

    def latex(self, caption: str, label: str) -> str:
        """Return a ``table`` of LaTeX; ``caption`` stands before the notes."""
        if not isinstance(caption, str):
            raise InputError(f"caption: found {caption!r:.200}; expected a text")
        if caption.endswith(".tex"):
            raise InputError(f"caption: found {caption!r}; to_latex writes no file but returns its text")
        if not isinstance(label, str) or not re.fullmatch(r"[A-Za-z0-9:._/+ -]+", label):
            raise InputError(f"label: found {label!r:.200}; expected letters, digits and : . _ / + -, as in tab:birds")
        names = sum(name in ("Method", "Head") for name in self.header)
        marked = [[IN_LATEX[mark].format(in_latex(cell)) for cell, mark in line] for line in self.cells]
        rows = [" & ".join(line) + r" \\" for line in [list(map(in_latex, self.header)), *marked]]
        notes = " ".join([text.sentence(caption), *self.notes] if caption else self.notes)
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{in_latex(notes)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{{'l' * names}{'r' * (len(self.header) - names)}}}",
            *(r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"),
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(["% needs \\usepackage{booktabs}", *lines]) + "\n"


def paper_table(metrics: Metrics, differs: Differs) -> PaperTable:
    """Return the table. A cell is tied with the best of its column if ``differs`` can't tell the rows apart."""
    summary = Summary(metrics)
    average, gap = AVERAGES[metrics.average]
    columns = {"Worst group": "worst_group_accuracy", f"{metrics.average.capitalize()} average": average, "Gap": gap}
    figures = [_column(metrics, name, differs) for name in columns.values()]
    several = len(metrics.heads) > 1
    cells = list[list[tuple[str, Mark]]]()
    for row, *line in zip(summary.rows, *figures, strict=True):
        names = [row.title, *([row.head or text.MISSING] if several else [])]
        cells.append([*((name, NO_MARK) for name in names), *line])
    *of_all, images = summary.told_by
    shown = ["best in bold"]
    if any(mark == "tied" for _, mark in chain(*cells)):
        over = f"{of_all[0]} or, for the worst group, {images}" if of_all else images
        shown = [
            "best in bold; † can't be told from it: a 95 % interval of the paired difference, for all rows of the "
            f"column at once (Bonferroni), contains 0 over {over}"
        ]
    shown += [] if of_all else ["average and gap are not tested"]
    judged = [row for row in metrics.rows if row.figure("worst_group_accuracy") is not None]
    if judged[1:] and differs(judged[0], judged[1], shared_by(len(judged) - 1)).over_images is None:
        shown.append("differences over images are not tested: the folder lacks the answers")
    first, *others = heading(summary)
    notes = [f"Data set {first}.", *map(text.sentence, [*others, *shown])]
    return PaperTable(["Method", *(["Head"] if several else []), *columns], cells, notes)


def _column(metrics: Metrics, name: str, differs: Differs) -> list[tuple[str, Mark]]:
    known = [(value, row) for row in metrics.rows if (value := row.figure(name)) is not None]
    is_gap = name in dict(AVERAGES.values()).values()
    best = (min if is_gap else max)(known, key=lambda each: each[0], default=None)
    cells = list[tuple[str, Mark]]()
    for row in metrics.rows:
        value, deviation = row.figure(name), row.deviations.get(name)
        cell = text.points(value) + (f" ± {text.percent(deviation)}" if deviation is not None else "")
        mark = NO_MARK
        if best is not None and value is not None:
            is_tied = differs(row, best[1], shared_by(len(known) - 1)).is_told(name, repeats=metrics.repeats) is False
            mark = "best" if value == best[0] else "tied" if is_tied else ""
        cells.append((cell, mark))
    return cells


GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega"
CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
SIGNS = "geq leq neq approx times to infty"
NAMES = zip("αβγδεζηθικλμνξπρστφχψωΓΔΘΛΞΠΣΥΦΨΩ≥≤≠≈×→∞", f"{GREEK} {CAPITALS} {SIGNS}".split(), strict=True)
SPECIAL = {letter: rf"\{letter}" for letter in "&%$#_{}"} | {letter: rf"$\{name}$" for letter, name in NAMES}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': "''"}
SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "−": "$-$", "–": "--", "±": r"$\pm$"}
SPECIAL |= {"·": r"$\cdot$", "†": r"$^\dagger$", "\u202f": r"\,", "\u00a0": "~"}
SPECIAL |= {letter: f"{{{letter}}}" for letter in "[]*"}  # after a line break LaTeX takes them for its arguments


def in_latex(content: str) -> str:
    """Return a text as LaTeX prints it; letters of other scripts stay, for XeLaTeX and LuaLaTeX."""
    return "".join(SPECIAL.get(letter, letter if letter.isprintable() else " ") for letter in content)
