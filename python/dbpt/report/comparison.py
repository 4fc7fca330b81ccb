"""A comparison as a table of text, and its summary."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbpt.data.tables import csv_text
from dbpt.evaluation.results import (
    FIGURES,
    JUDGED,
    ComparisonMetrics,
    ComparisonRow,
    Difference,
    FailedTraining,
    FigureDifference,
    SeedFigure,
)
from dbpt.groups import group_name
from dbpt.objectives import OBJECTIVES
from dbpt.report import text
from dbpt.report.findings import doubts_in_words
from dbpt.report.summary import (
    AVERAGES,
    MINIMUM_NOTE,
    Row,
    average_note,
    factor_figures,
    groups_line,
    pseudo_note,
    selected_by,
    shots_text,
)
from dbpt.settings.fields import AUTO, varied_in_words
from dbpt.settings.sections import TRUE_SELECTIONS

WIDEST = 110
NO_FIGURE = SeedFigure(mean=None, sd=None, by_seed=[], by_draw=[])
NO_DIFFERENCE = Difference(head=None, seeds=[], figures=dict.fromkeys(FIGURES, FigureDifference()), over_images=None)


def terminal_table(comparison: ComparisonMetrics, width: int = WIDEST, *, warnings: bool = True) -> str:
    """Return plain text; if it is wider than ``width``, differences are put below the figures."""
    rows, summary, with_heads = comparison.rows, ComparisonSummary(comparison), len(comparison.heads) > 1
    names, figures, differences = _names(rows, with_heads), _figures(comparison), _differences(comparison)
    body = text.render_columns(names + figures + differences)
    if differences and max(map(text.text_width, body)) > width:
        compared = [row for row in rows if row.difference is not None]
        second = text.render_columns(_names(compared, with_heads) + _differences(replace(comparison, rows=compared)))
        body = [*text.render_columns(names + figures), "", *second]
    above, below = text.wrapped(summary.heading, width), text.wrapped(summary.notes(warnings=warnings), width)
    return "\n".join([*above, "", *body, "", *below])


def _names(rows: Sequence[ComparisonRow], with_heads: bool) -> list[list[str]]:
    columns = [["", "", "", *(row.title for row in rows)]]
    if with_heads:
        # flush left like the titles: render_columns sets all but the first column flush right
        heads = [row.head or text.MISSING for row in rows]
        longest = max(map(len, ["head", *heads]))
        columns.append([cell.ljust(longest) for cell in ("", "", "head", *heads)])
    return columns


def _figures(comparison: ComparisonMetrics) -> list[list[str]]:
    """Return columns such as ``83.5 ± 1.2``, with the means below each other."""
    average, gap = AVERAGES[comparison.average]
    titles = {
        "worst_group_accuracy": ("", "worst", "group"),
        average: ("", comparison.average, "average"),
        gap: ("", "", "gap"),
    }
    columns, shown = [], [(title, [row.figures[name] for row in comparison.rows]) for name, title in titles.items()]
    if is_varied(comparison):
        shown.insert(0, (("", "", "validation"), [row.validation or NO_FIGURE for row in comparison.rows]))
    for title, figures in shown:
        deviations = ["" if figure.sd is None else text.percent(figure.sd) for figure in figures]
        longest = max(map(len, deviations), default=0)
        signs = [f" ± {each:>{longest}}" if each else " " * (longest + 3 if longest else 0) for each in deviations]
        cells = [text.points(figure.mean) + sign for figure, sign in zip(figures, signs, strict=True)]
        columns.append([*title, *cells])
    return columns


def is_varied(comparison: ComparisonMetrics) -> bool:
    """Return whether rows differ in settings."""
    return any(row.varied for row in comparison.rows)


def _differences(comparison: ComparisonMetrics) -> list[list[str]]:
    """Return columns of the difference in worst-group accuracy and both intervals; none if no row has any."""
    rows = comparison.rows
    if all(row.difference is None for row in rows):
        return []
    differences = [row.difference or NO_DIFFERENCE for row in rows]
    worst = [difference.figures["worst_group_accuracy"] for difference in differences]
    return [
        ["worst gr.", "against", "ERM", *(text.signed_points(figure.mean) for figure in worst)],
        ["95 %", "over", f"{comparison.repeat}s", *(text.signed_interval(figure.over_repeats) for figure in worst)],
        ["95 %", "over", "images", *(text.signed_interval(difference.over_images) for difference in differences)],
    ]


def table_lines(comparison: ComparisonMetrics) -> list[dict[str, object]]:
    """Return all figures of each row but its groups, by column, as fractions with full digits; None if missing."""
    lines, rows = [], comparison.rows
    for row in rows:
        line: dict[str, object] = {"method": row.method, "head": row.head or ""}
        line |= {name: row.varied.get(name) for name in dict.fromkeys(name for row in rows for name in row.varied)}
        line |= {"seeds": len(row.seeds), "draws": len(row.draws)}
        if is_varied(comparison):
            validation = row.validation or NO_FIGURE
            line |= {"validation_score_mean": validation.mean, "validation_score_sd": validation.sd}
        line |= {f"{name}_{part}": getattr(row.figures[name], part) for name in FIGURES for part in ("mean", "sd")}
        difference = row.difference or NO_DIFFERENCE
        for name in FIGURES:
            figure = difference.figures[name]
            line[f"{name}_against_erm_mean"] = figure.mean
            for over, interval in (("seeds", figure.over_seeds), ("draws", figure.over_draws)):
                line |= _bounds(f"{name}_against_erm_{over}", interval)
        line |= _bounds("worst_group_accuracy_against_erm_images", difference.over_images)
        by_factor = factor_figures(comparison, () if row.groups_differ else row.groups)
        worst = {each.name: each.worst and each.worst.accuracy for each in by_factor}
        if len(comparison.dataset.factors) > 1:
            line |= {f"worst_group_accuracy_{each.name}": worst.get(each.name) for each in comparison.dataset.factors}
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


SPLITS = {
    "test": "test split",
    "val": "validation split (no test split; it also selected the epochs, so figures are too high)",
}


@dataclass(frozen=True)
class ComparisonSummary:
    """The metrics of a comparison, with the attributes of a run's `Summary` that both tables show."""

    metrics: ComparisonMetrics

    @property
    def rows(self) -> tuple[Row[ComparisonRow], ...]:
        """The rows; the chosen one is that with mixed prompts, which `fit` saves, ``dbpt`` without it, or the last.

        It is that with the first head. Of several with other settings, it is the best on validation.
        """
        records = self.metrics.rows
        ours = [[row for row in records if row.method == name] for name in JUDGED]
        first = next((rows[0] for rows in ours if rows), records[-1])
        alike = [record for record in records if (record.method, record.head) == (first.method, first.head)]
        chosen = max(alike, key=lambda record: -1.0 if record.validation is None else record.validation.mean or 0.0)
        return tuple(Row(record, self.metrics, record is chosen) for record in records)

    @property
    def chosen(self) -> Row[ComparisonRow]:
        """The row that the sentences are about."""
        return next(row for row in self.rows if row.chosen)

    @property
    def heading(self) -> list[str]:
        """The lines above the table: which images, whose groups, what the figures are."""
        comparison, seeds = self.metrics, len(self.metrics.seeds)
        spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "of one seed"
        if comparison.draws:
            spread = (
                f"of one seed with all rows ± standard deviation over {len(comparison.draws)} draws of half of the "
                "training and validation rows"
            )
        return [
            f"{comparison.dataset.name}: {SPLITS[comparison.split]}, {text.count_of(comparison.n, 'image')}"
            f"{shots_text(comparison)}",
            f"{groups_line(comparison)}; figures in per cent, {spread}",
        ]

    @property
    def warnings(self) -> list[str]:
        """All warnings, those about class words and guesses first."""
        about_words = map(str, self.metrics.class_doubts)
        return [*about_words, *map(doubts_in_words, self.metrics.doubted_guesses), *self.other_warnings]

    @property
    def other_warnings(self) -> list[str]:
        """The warnings of the data and the figures, then those of one training of each row.

        Those of its other seeds are much the same.
        """
        lines = list(map(str, self.metrics.warnings))
        for row in self.metrics.rows:
            warned = [(seed, texts) for seed, texts in zip(row.seeds, row.warnings, strict=True) if texts]
            of_all = f" (seeds that warn: {len(warned)} of {len(row.seeds)})" if len(row.seeds) > 1 else ""
            lines += [f"{row_name(row)}, seed {seed}{of_all}: {each}" for seed, texts in warned[:1] for each in texts]
        return lines

    @property
    def how_computed(self) -> list[str]:
        """The notes about figures and rows that have results."""
        comparison = self.metrics
        return [
            *_about_differences(comparison),
            MINIMUM_NOTE,
            *_about_factors(self),
            average_note(comparison.average),
            *_about_training(comparison),
            *_about_methods(comparison),
            *_about_seeds(comparison),
            pseudo_note(comparison),
        ]

    def notes(self, *, warnings: bool = True) -> list[str]:
        """Return the lines under the table."""
        comparison = self.metrics
        return [
            *self.how_computed,
            *(f"left out: {reason}" for reason in comparison.left_out),
            *(
                f"failed: {each.method}{varied_in_words(each.varied)}{_head(each)}, {each.number}: {each.reason}"
                for each in comparison.failed
            ),
            *(f"warning: {each}" for each in (self.warnings if warnings else [])),
        ]


def _about_factors(summary: ComparisonSummary) -> list[str]:
    """Return the worst group by each of several factors alone, with mean accuracies over the seeds."""
    notes, of_means = [], ", of the means over seeds" if len(summary.metrics.seeds) > 1 else ""
    evaluated = [row for row in summary.rows if row.factors]
    for i, factor in enumerate(evaluated[0].factors if evaluated else ()):
        worst = [(row_name(row.record), row.factors[i].worst) for row in evaluated]
        texts = [
            f"{name} {text.percent(each.accuracy)} ({group_name(each.class_name, each.attribute)})"
            for name, each in worst
            if each
        ]
        if texts:
            notes.append(f"worst group by {factor.name} alone{of_means}: {', '.join(texts)}")
    return notes


def _about_differences(comparison: ComparisonMetrics) -> list[str]:
    """Say what the columns against ERM are, or why there are none."""
    rows = [row for row in comparison.rows if row.difference is not None]
    if not rows:
        if any(row.objective == "erm" for row in comparison.rows):
            return []
        return ["no difference to ERM: erm is not among the methods"]
    same = "the same head and seed"
    if len(comparison.heads) > 1 and any(row.head is None for row in rows):
        same += f" (rows without training: head {comparison.heads[0]})"
    several = "Student's t on the paired differences; would other seeds agree?"
    if comparison.draws:
        several = (
            "difference ± t · deviation of the paired differences of the draws, which is the standard error with all "
            f"rows; t allows for {text.count_of(comparison.dataset.smallest_group, 'training image')} in the smallest "
            "pseudo-group; would as many other training images of the same kind agree?"
        )
    return [
        f"against ERM: mean difference in worst-group accuracy to ERM with {same}, and its 95 % intervals",
        f"  over {comparison.repeat}s: {several if comparison.repeats > 1 else 'needs two or more'}",
        "  over images: of the paired answers, for all groups at once; would other images agree, with these "
        "classifiers?",
    ]


def _about_training(comparison: ComparisonMetrics) -> list[str]:
    """Name the budget of all trained rows, and the rule for their best epoch."""
    trained = [row for row in comparison.rows if row.head is not None]
    if not trained:
        return []
    settings, rates = comparison.settings, comparison.settings.lr
    batch = f"batches of {settings.batch_size}" if settings.batch_size else "one batch of all rows"
    if len(set(rates.values())) == 1:
        rate = f"{next(iter(rates.values())):g}"
    else:
        rate = ", ".join(f"{value:g} ({head})" for head, value in rates.items())
    if (selection := comparison.model_selection) == "last":
        best = "best epoch: the last one, in every row"
    else:
        oracle = "; this choice is an oracle in every row" if selection in TRUE_SELECTIONS else ", oracles included"
        same = "" if selection == AUTO else f", the same rule in every row{oracle}"
        best = f"best epoch: by {selected_by(comparison)} on validation{same}"
    validation = "average accuracy" if selection == "last" else selected_by(comparison)
    varied = [f"validation: {validation}, on validation images at the best epoch"] if is_varied(comparison) else []
    named = " and where a row names another value" if varied else ""
    return [
        *varied,
        f"the same budget in every row, except as noted below{named}: {settings.epochs} epochs, {batch}, "
        f"{settings.optimizer}, learning rate {rate}; one training a {comparison.repeat}, no setting tuned for any "
        "method",
        best,
    ]


def _about_methods(comparison: ComparisonMetrics) -> list[str]:
    """Name oracles, and rows with more epochs or another split to learn from."""
    epochs, methods = comparison.settings.epochs, {row.method: row for row in comparison.rows}
    titles = {name: row.title.removesuffix(varied_in_words(row.varied)) for name, row in methods.items()}
    oracles = [titles[name] for name, row in methods.items() if row.group_source == "true"]
    lines = [f"oracles, which see true attributes in training: {', '.join(oracles)}"] if oracles else []
    for name, row in methods.items():
        if row.objective is None:
            continue
        if (more := row.epochs - row.varied.get("epochs", epochs)) > 0:
            lines.append(f"{titles[name]} has {more} epochs more, before its training proper")
        if (split := OBJECTIVES[row.objective].trains_on) != "train":
            flattery = "; it is judged on them here, so its figures prove nothing" if split == comparison.split else ""
            lines.append(f"{titles[name]} learns from rows of split {split!r}, all others from 'train'{flattery}")
    return lines


def _about_seeds(comparison: ComparisonMetrics) -> list[str]:
    """Name rows that lack a seed or draw, so that their figures are over the others, and rows that no seed changes."""
    rows, lines = comparison.rows, []
    for row in rows:
        for what, done, wanted in (("seeds", row.seeds, comparison.seeds), ("draws", row.draws, comparison.draws)):
            if len(done) < len(wanted):
                lines.append(f"{row_name(row)}: {len(done)} of {len(wanted)} {what}")
    trained = [row for row in rows if row.head is not None and len(row.seeds) > 1]
    unmoved = [row for row in trained if all(figure.sd in (0, None) for figure in row.figures.values())]
    if unmoved:
        where = "any trained row" if len(unmoved) == len(trained) else "; ".join(map(row_name, unmoved))
        whole = " (one batch of all rows leaves no order to draw, a start from words no noise)"
        because = "" if comparison.settings.batch_size else whole
        lines.append(
            f"seeds change no figure of {where}{because}, so there is no interval over seeds between such rows"
        )
    return lines


def row_name(row: ComparisonRow) -> str:
    """Return the title of a row with its head."""
    return f"{row.title}{_head(row)}"


def _head(entry: ComparisonRow | FailedTraining) -> str:
    return "" if entry.head is None else f", head {entry.head}"
