"""The table of a comparison for a terminal, as CSV, Markdown and LaTeX, with the notes that say how to read it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from dbpt.files.csv import csv_text
from dbpt.objectives import OBJECTIVES
from dbpt.report.summary import AVERAGES, MISSING, Row, average_note, count, groups_line, percent, points
from dbpt.report.table import MINIMUM_NOTE, pseudo_note, render_columns, text_width, wrapped
from dbpt.runs.metrics import FIGURES, ComparisonMetrics, ComparisonRow, Difference, FailedTraining, FigureDifference

SPLITS = {
    "test": "test split",
    "val": "validation split (no test split; it also selected the epochs, so figures are too high)",
}
WIDEST = 110
NO_DIFFERENCE = Difference(head=None, seeds=[], figures=dict.fromkeys(FIGURES, FigureDifference()), over_images=None)


def rows(comparison: ComparisonMetrics) -> list[Row[ComparisonRow]]:
    """Return the rows; the chosen one is ``dbpt`` with the first head or, without it, the last."""
    chosen = next((row for row in comparison.rows if row.method == "dbpt"), comparison.rows[-1])
    return [Row(row, comparison, row is chosen) for row in comparison.rows]


def terminal_table(comparison: ComparisonMetrics, width: int = WIDEST, *, warnings: bool = True) -> str:
    """Return plain text; if it is wider than ``width``, differences are put below the figures."""
    rows = comparison.rows
    names, figures, differences = _names(comparison), _figures(comparison), _differences(rows)
    body = render_columns(names + figures + differences)
    if differences and max(map(text_width, body)) > width:
        compared = [row for row in rows if row.difference is not None]
        second = render_columns(_names(replace(comparison, rows=compared)) + _differences(compared))
        body = [*render_columns(names + figures), "", *second]
    above, below = wrapped(heading(comparison), width), wrapped(notes(comparison, warnings=warnings), width)
    return "\n".join([*above, "", *body, "", *below])


def _names(comparison: ComparisonMetrics) -> list[list[str]]:
    rows = comparison.rows
    columns = [["", "", "", *(row.title for row in rows)]]
    if len(comparison.heads) > 1:
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


def _differences(rows: Sequence[ComparisonRow]) -> list[list[str]]:
    """Return columns of the difference in worst-group accuracy and both intervals; none if no row has any."""
    if all(row.difference is None for row in rows):
        return []
    differences = [row.difference or NO_DIFFERENCE for row in rows]
    worst = [difference.figures["worst_group_accuracy"] for difference in differences]
    return [
        ["worst gr.", "against", "ERM", *(_signed(figure.mean) for figure in worst)],
        ["95 %", "over", "seeds", *(_interval(figure.over_seeds) for figure in worst)],
        ["95 %", "over", "images", *(_interval(difference.over_images) for difference in differences)],
    ]


def _signed(difference: float | None) -> str:
    if difference is None:
        return ""
    text = points(difference)
    return text if text.startswith("−") or text == "0.0" else f"+{text}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"[{_signed(bounds[0])}, {_signed(bounds[1])}]"


def csv_table(comparison: ComparisonMetrics) -> str:
    """Return all figures as fractions with full digits, one line for each row; empty if missing."""
    groups = comparison.dataset.group_names
    differences = ("mean", "seeds_low", "seeds_high")
    table: list[Sequence[object]] = [
        ["method", "head", "seeds", *(f"{name}_{part}" for name in FIGURES for part in ("mean", "sd"))]
        + [f"{name}_against_erm_{part}" for name in FIGURES for part in differences]
        + [f"worst_group_accuracy_against_erm_{part}" for part in ("images_low", "images_high")]
        + [f"accuracy of {name}" for name in groups]
    ]
    for row in comparison.rows:
        cells = [getattr(row.figures[name], part) for name in FIGURES for part in ("mean", "sd")]
        difference = row.difference or NO_DIFFERENCE
        for name in FIGURES:
            figure = difference.figures[name]
            cells += [figure.mean, *(figure.over_seeds or (None, None))]
        cells += difference.over_images or (None, None)
        cells += [entry.mean for entry in row.groups] or [None] * len(groups)
        table.append([row.method, row.head or "", len(row.seeds), *cells])
    return csv_text(table)


def markdown_table(comparison: ComparisonMetrics) -> str:
    """Return a Markdown page: heading, table, notes."""
    titles, body = _cells(comparison, _as_markdown)
    head = [" ".join(filter(None, lines)) for lines in zip(*titles, strict=True)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 2}{'---:|' * (len(head) - 2)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in body]
    above = "  \n".join(map(_as_markdown, heading(comparison)))
    below = "\n".join(f"- {_as_markdown(note.strip())}" for note in notes(comparison))
    return "\n".join([above, "", *lines, "", below, ""])


def latex_table(comparison: ComparisonMetrics) -> str:
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


def _cells(comparison: ComparisonMetrics, written: Callable[[str], str]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the three lines of the table's titles, and its rows, with ``written`` applied to each cell."""
    rows = comparison.rows
    columns = [
        ["", "", "method", *(row.title for row in rows)],
        ["", "", "head", *(row.head or MISSING for row in rows)],
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


def heading(comparison: ComparisonMetrics) -> list[str]:
    """Return the lines above the table: which images, whose groups, what the figures are."""
    seeds = len(comparison.seeds)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "of one seed"
    return [
        f"{comparison.dataset.name}: {SPLITS[comparison.split]}, {count(comparison.n)} images",
        f"{groups_line(comparison)}; figures in per cent, {spread}",
    ]


def notes(comparison: ComparisonMetrics, *, warnings: bool = True) -> list[str]:
    """Return the lines under the table."""
    return [
        *_about_differences(comparison),
        MINIMUM_NOTE,
        average_note(comparison.average),
        *_about_training(comparison),
        *_about_methods(comparison),
        *_about_seeds(comparison),
        pseudo_note(comparison),
        *(f"left out: {reason}" for reason in comparison.left_out),
        *(f"failed: {each.method}{_head(each)}, seed {each.seed}: {each.reason}" for each in comparison.failed),
        *(f"warning: {text}" for text in (all_warnings(comparison) if warnings else [])),
    ]


def all_warnings(comparison: ComparisonMetrics) -> list[str]:
    """Return the warnings of the data and the figures, then those of one training of each row.

    Those of its other seeds are much the same.
    """
    lines = list(comparison.warnings)
    for row in comparison.rows:
        warned = [(seed, texts) for seed, texts in zip(row.seeds, row.warnings, strict=True) if texts]
        of_all = f" (seeds that warn: {len(warned)} of {len(row.seeds)})" if len(row.seeds) > 1 else ""
        lines += [f"{_row_name(row)}, seed {seed}{of_all}: {text}" for seed, texts in warned[:1] for text in texts]
    return lines


def _about_differences(comparison: ComparisonMetrics) -> list[str]:
    rows = [row for row in comparison.rows if row.difference is not None]
    if not rows:
        if any(row.objective == "erm" for row in comparison.rows):
            return []
        return ["no difference to ERM: erm is not among the methods"]
    same = "the same head and seed"
    if len(comparison.heads) > 1 and any(row.head is None for row in rows):
        same += f" (zero-shot: head {comparison.heads[0]})"
    several = "Student's t on the paired differences; would other seeds agree?"
    return [
        f"against ERM: mean difference in worst-group accuracy to ERM with {same}, and its 95 % intervals",
        f"  over seeds: {several if len(comparison.seeds) > 1 else 'needs two or more'}",
        "  over images: of the paired answers, for all groups at once; would other images agree, with these "
        "classifiers?",
    ]


def _about_training(comparison: ComparisonMetrics) -> list[str]:
    trained = [row for row in comparison.rows if row.head is not None]
    if not trained:
        return []
    settings, rates = comparison.settings, comparison.settings.lr
    batch = f"batches of {settings.batch_size}" if settings.batch_size else "one batch of all rows"
    if len(set(rates.values())) == 1:
        rate = f"{next(iter(rates.values())):g}"
    else:
        rate = ", ".join(f"{value:g} ({head})" for head, value in rates.items())
    if (selection := comparison.selection) == "last":
        best = "best epoch: the last one, in every row"
    else:
        oracle = "; this choice is an oracle in every row" if selection == "true-wga" else ", oracles included"
        best = f"best epoch: by {selection} on validation, the same rule in every row{oracle}"
    return [
        f"the same budget in every row, except as noted below: {settings.epochs} epochs, {batch}, "
        f"{settings.optimizer}, learning rate {rate}; one training a seed, no setting tuned for any method",
        best,
    ]


def _about_methods(comparison: ComparisonMetrics) -> list[str]:
    """Name oracles, and rows with more epochs or another split to learn from."""
    epochs, methods = comparison.settings.epochs, {row.method: row for row in comparison.rows}.values()
    oracles = [row.title for row in methods if row.group_source == "true"]
    lines = [f"oracles, which see true attributes in training: {', '.join(oracles)}"] if oracles else []
    for row in methods:
        if row.objective is None:
            continue
        if row.epochs > epochs:
            lines.append(f"{row.title} has {row.epochs - epochs} epochs more, before its training proper")
        if (split := OBJECTIVES[row.objective].trains_on) != "train":
            judged = "; it is judged on them here, so its figures prove nothing" if split == comparison.split else ""
            lines.append(f"{row.title} learns from rows of split {split!r}, all others from 'train'{judged}")
    return lines


def _about_seeds(comparison: ComparisonMetrics) -> list[str]:
    """Name rows that lack a seed, whose means are over the others, and rows that no seed changes."""
    wanted, rows = comparison.seeds, comparison.rows
    short = [row for row in rows if len(row.seeds) < len(wanted)]
    lines = [f"{_row_name(row)}: {len(row.seeds)} of {len(wanted)} seeds" for row in short]
    trained = [row for row in rows if row.head is not None and len(row.seeds) > 1]
    unmoved = [row for row in trained if all(figure.sd in (0, None) for figure in row.figures.values())]
    if unmoved:
        moved = [row for row in trained if row not in unmoved]
        where = "any trained row"
        if len(moved) >= len(unmoved):
            where = "; ".join(map(_row_name, unmoved))
        elif moved:
            where += " but " + "; ".join(map(_row_name, moved))
        whole = " (one batch of all rows leaves no order to draw, a start from words no noise)"
        because = "" if comparison.settings.batch_size else whole
        lines.append(
            f"seeds change no figure of {where}{because}, so there is no interval over seeds between such rows"
        )
    return lines


def _row_name(row: ComparisonRow) -> str:
    return f"{row.title}{_head(row)}"


def _head(entry: ComparisonRow | FailedTraining) -> str:
    return "" if entry.head is None else f", head {entry.head}"
