"""The HTML page of a comparison, and its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbpt.groups.accuracy import worst_first
from dbpt.guesses.trust import Guesses
from dbpt.report import text
from dbpt.report.charts import (
    BAR_LETTERS,
    MOST_BARS,
    NARROW,
    NARROW_LETTERS,
    WIDTH,
    Bar,
    BarGroup,
    Chart,
    Legend,
    bar_chart,
)
from dbpt.report.comparison import ComparisonSummary, row_name
from dbpt.report.guesses import Entries, GuessSheets, backbone_text
from dbpt.report.page import Outcome, average_name, by_doubts, figure_name
from dbpt.report.pictures import GroupExamples
from dbpt.report.run_charts import row_colors
from dbpt.report.summary import AVERAGES, SPLIT_NAMES, Row, doubted_factors
from dbpt.report.tables import confusions
from dbpt.runs.metrics import ComparisonMetrics, ComparisonRow, Difference

MOST_ROWS = 5
"""The rows in the chart of the groups; more would make it long and repeat colours."""
MOST_BARS_BY_GROUP = 120
MOST_ANSWERED = 200
"""With more groups, the table of the answers shows the worst ones."""
MOST_CELLS = 8000
"""With more figures, the table of the groups shows the worst groups, so that the page stays below 3 MB."""


@dataclass(frozen=True)
class NextSteps:
    """Commands: to train the chosen row again as a run, to label images of that run, to write the guesses as a table,
    and to repeat failed trainings. Those that don't apply are empty.
    """

    fit: str
    label: str
    guess: str
    resume: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of one or two ``rows``, by place in the table, with one seed or draw, to images of the shown split.

    ``confusions`` are the `confusion_counts` (C, C) of each.
    """

    rows: list[int]
    seed: int
    examples: list[GroupExamples]
    confusions: list[NDArray[np.int64]]
    has_images: bool


@dataclass(frozen=True)
class ShownRow:
    """A row of the table with its ``name``, which has the head if there are several, and ``color``."""

    row: Row[ComparisonRow]
    name: str
    color: str


def render_comparison(
    metrics: ComparisonMetrics,
    judged: ComparisonMetrics,
    sheets: GuessSheets,
    command: str,
    settings: Entries,
    next_steps: NextSteps,
    answers: Answers | None = None,
    charts: Mapping[str, Chart | None] | None = None,
) -> str:
    """Return the page. ``judged`` are the metrics over the `judged_factors`, for the verdict.

    ``command`` made the page; ``settings`` are names and texts of words, sentences and settings. ``answers`` are None
    without results. ``charts`` are the `comparison_figures`, if they are drawn already.
    """
    charts = charts or comparison_figures(metrics)
    summary, judged_summary, guesses = ComparisonSummary(metrics), ComparisonSummary(judged), sheets.guesses
    rows = _shown_rows(summary)
    charted, groups = _charted(rows), _worst_groups(summary)
    most_groups = _most_groups(charted)
    has_attributes, by_clusters = metrics.dataset.has_attributes, sheets.guesses.by_clusters
    if by_clusters or not has_attributes:
        next_steps = replace(next_steps, label="", guess=next_steps.guess if has_attributes else "")
    figured = [shown for shown in rows if shown.row.worst_group_accuracy is not None]
    differences = [shown.row.record.difference for shown in rows if shown.row.record.difference is not None]
    average, gap = AVERAGES[metrics.average]
    return text.render(
        "comparison.html.j2",
        metrics=metrics,
        verdict=verdict(judged_summary, guesses),
        lead=second_sentence(judged_summary),
        heading=summary.heading,
        warnings=list(dict.fromkeys(map(text.sentence, summary.other_warnings))),
        doubted_factors=doubted_factors(guesses, metrics),
        named_rows=[(shown.name, shown.row) for shown in rows],
        rows=rows,
        average=average,
        gap=gap,
        has_differences=bool(differences),
        over_repeats=any(each.figures["worst_group_accuracy"].over_repeats for each in differences),
        row_chart=charts["worst_group_accuracy"],
        narrow_row_chart=_row_chart(figured, NARROW_LETTERS, NARROW),
        most_rows=MOST_BARS if len(figured) > MOST_BARS else None,
        charted=charted,
        group_chart=charts["accuracy"],
        narrow_group_chart=_group_chart(summary, charted, groups[:most_groups], NARROW_LETTERS, NARROW),
        charted_groups=most_groups if len(groups) > most_groups else None,
        table_groups=sorted(groups[: MOST_CELLS // max(1, len(rows))]),
        sizes=[_size(rows, g) for g in range(len(metrics.dataset.groups))],
        answers=answers,
        answer_groups=sorted(groups[:MOST_ANSWERED]),
        compared=[rows[place].name for place in answers.rows] if answers else [],
        confusions=[confusions(each, metrics.dataset.classes) for each in answers.confusions] if answers else [],
        split_name=SPLIT_NAMES[metrics.split],
        worst=[_worst_group(shown.row) for shown in rows],
        sheets=sheets,
        notes=[text.sentence(note.strip()) for note in summary.how_computed],
        command=command,
        settings=[*_data(metrics), *settings],
        next_steps=next_steps,
        by_clusters=by_clusters,
        has_attributes=has_attributes,
    )


def comparison_figures(metrics: ComparisonMetrics) -> dict[str, Chart | None]:
    """Return the charts of a comparison, by name. Page and files show them."""
    summary = ComparisonSummary(metrics)
    rows = _shown_rows(summary)
    charted = _charted(rows)
    figured = [shown for shown in rows if shown.row.worst_group_accuracy is not None]
    groups, legend = _worst_groups(summary)[: _most_groups(charted)], [(shown.color, shown.name) for shown in charted]
    return {
        "worst_group_accuracy": _row_chart(figured, BAR_LETTERS, WIDTH, ()),
        "accuracy": _group_chart(summary, charted, groups, BAR_LETTERS, WIDTH, legend),
    }


def _shown_rows(summary: ComparisonSummary) -> list[ShownRow]:
    several_heads = len(summary.metrics.heads) > 1
    return [
        ShownRow(row, row_name(row.record) if several_heads else row.title, color)
        for row, color in zip(summary.rows, row_colors(summary.rows), strict=True)
    ]


def _most_groups(charted: Sequence[ShownRow]) -> int:
    """Return how many groups the chart of the groups shows at most."""
    return max(1, min(MOST_BARS, MOST_BARS_BY_GROUP // max(1, len(charted))))


def _data(metrics: ComparisonMetrics) -> Entries:
    return [
        ("Data", metrics.dataset.root),
        ("Backbone", backbone_text(metrics.backbone)),
        ("Seeds", ", ".join(map(str, metrics.seeds))),
        *([("Draws", str(len(metrics.draws)))] if metrics.draws else []),
        ("Pseudo attributes by", metrics.pseudo_method),
    ]


def _row_chart(rows: Sequence[ShownRow], letters: int, width: int, legend: Legend | None = None) -> Chart | None:
    """Draw the worst-group accuracy of each row, with the interval over images and a dot for each of several seeds."""
    bars = []
    for shown in rows[:MOST_BARS]:
        figure, seeds = shown.row.record.figures["worst_group_accuracy"], len(shown.row.record.seeds)
        low, high = shown.row.interval or (None, None)
        dots = [value for value in figure.by_seed if value is not None] if seeds > 1 else []
        bar = Bar(shown.color, "worst-group accuracy", figure.mean, low, high, dots)
        note = "not trained" if shown.row.head is None else text.count_of(seeds, "seed")
        bars.append(BarGroup(shown.name, text.shorten(shown.name, letters), note, [bar]))
    what = "Worst-group accuracy of each row in per cent, with its 95 % interval over images"
    return bar_chart(bars, what, width, legend=legend) if bars else None


def _group_chart(
    summary: ComparisonSummary,
    rows: Sequence[ShownRow],
    groups: Sequence[int],
    letters: int,
    width: int,
    legend: Legend | None = None,
) -> Chart | None:
    blocks, names = [], summary.metrics.dataset.group_names
    for g in sorted(groups):
        bars = [
            Bar(shown.color, shown.name, each.accuracy, each.low, each.high)
            for shown in rows
            for each in shown.row.groups[g : g + 1]
        ]
        note = f"n = {_size(rows, g)}"
        blocks.append(BarGroup(names[g], text.shorten_group(*summary.metrics.dataset.groups[g], letters), note, bars))
    if not rows or not blocks:
        return None
    what = "Accuracy of each group in per cent, with 95 % intervals"
    return bar_chart(blocks, what, width, legend=legend)


def _size(rows: Sequence[ShownRow], group: int) -> str:
    row = next((shown.row for shown in rows if shown.row.groups), None)
    return "differs by seed" if row is None or row.record.groups_differ else text.count(row.groups[group].n)


def _charted(rows: Sequence[ShownRow]) -> list[ShownRow]:
    """Return the rows of the chart of groups: zero-shot, ERM and the chosen one, and those with the best worst group.

    They keep the order of the table.
    """
    known = [shown for shown in rows if shown.row.groups]
    fixed = ("zero-shot", "erm", "chosen")
    order = sorted(known, key=lambda shown: (shown.color not in fixed, -(shown.row.worst_group_accuracy or 0.0)))
    return [shown for shown in known if shown in order[:MOST_ROWS]]


def _worst_groups(summary: ComparisonSummary) -> list[int]:
    """Return the groups in the order of their accuracy in the chosen row, those without images last."""
    chosen = summary.chosen.groups
    accuracies = [each.accuracy for each in chosen] or [None] * len(summary.metrics.dataset.groups)
    shown = summary.metrics.dataset.shown_groups
    return sorted(shown, key=lambda g: (accuracies[g] is None, accuracies[g] or 0.0))


def _worst_group(row: Row[ComparisonRow]) -> int | None:
    return next((each.index for each in worst_first(row.groups)), None)


def verdict(summary: ComparisonSummary, guesses: Guesses) -> Outcome:
    """Return what the intervals prove about the difference of the chosen row to ERM, over the `judged_factors`."""
    chosen, metrics = summary.chosen, summary.metrics
    follows = "the figures by group prove nothing", "nothing is proven about these groups"
    untrusted, doubts = by_doubts(guesses, metrics, *follows)
    if untrusted is not None:
        return untrusted
    difference = chosen.record.difference
    change = None if difference is None else difference.figures["worst_group_accuracy"].mean
    if difference is not None and change is not None:
        found = _against_erm(summary, chosen, difference, change)
        return found._replace(sentence=found.sentence + doubts)
    words = f"{_name(chosen, summary)} has no worst-group accuracy: no training of it has a result over groups."
    if chosen.worst_group_accuracy is not None:
        average = f"{average_name(metrics)} {text.in_words(chosen.average_accuracy)}"
        figures = f"{text.in_words(chosen.worst_group_accuracy)}, {average}"
        words = f"{text.capitalize_first(figure_name(metrics))} of {_name(chosen, summary)} is {figures}."
    return Outcome("nothing-to-compare", "Nothing to compare", words)


def second_sentence(summary: ComparisonSummary) -> str:
    """Return the averages behind the `verdict`, and the row with the highest worst-group accuracy if it's another."""
    chosen = summary.chosen
    known = [row for row in summary.rows if row.worst_group_accuracy is not None]
    texts = []
    if chosen.record.difference is not None and chosen.worst_group_accuracy is not None:
        erm = _erm(summary, chosen.record.difference)
        name = text.capitalize_first(average_name(summary.metrics))
        texts.append(
            f"{name}: {text.in_words(chosen.average_accuracy)}, with ERM {text.in_words(erm.average_accuracy)}."
        )
    best = max(known, key=lambda row: row.worst_group_accuracy or 0.0, default=chosen)
    if (best.worst_group_accuracy or 0.0) > (chosen.worst_group_accuracy or 0.0):
        texts.append(
            f"The highest worst-group accuracy of all rows is {text.in_words(best.worst_group_accuracy)}, of "
            f"{_name(best, summary)}; the best of several rows is partly best by chance."
        )
    return " ".join(texts)


def _against_erm(
    summary: ComparisonSummary, chosen: Row[ComparisonRow], difference: Difference, change: float
) -> Outcome:
    name, what, before = _name(chosen, summary), figure_name(summary.metrics), _erm(summary, difference)
    repeats, images = difference.figures["worst_group_accuracy"].over_repeats, difference.over_images
    by_seed = ""
    if difference.seeds == chosen.record.seeds == before.record.seeds:  # else the change isn't that of the means
        by_seed = (
            f" (from {text.in_words(before.worst_group_accuracy)} to {text.in_words(chosen.worst_group_accuracy)})"
        )
    interval = "" if images is None else f"; 95\u00a0% interval over images {text.signed_interval(images)}"
    if images is None or not _excludes_zero(images):
        amount = f"{text.signed_points(change)} points{by_seed}{interval}"
        words = f"No difference in {what} between {name} and ERM is proven: {amount}."
        return Outcome("unchanged", "No difference proven", words)
    other = ""
    if repeats is not None and not _excludes_zero(repeats):
        others = "training images" if summary.metrics.draws else "seeds"
        other = f", but other {others} may disagree: {text.signed_interval(repeats)}"
    amount = f"{what} by {text.points(abs(change))} points {'over' if change > 0 else 'against'} ERM"
    details = f"{amount}{by_seed}{interval}{other}."
    if change > 0:
        return Outcome("improved", "Better than ERM", f"{name} raises {details}")
    return Outcome("bias", "Worse than ERM", f"{name} lowers {details}")


def _excludes_zero(interval: Sequence[float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def _erm(summary: ComparisonSummary, difference: Difference) -> Row[ComparisonRow]:
    return next(row for row in summary.rows if row.record.objective == "erm" and row.head == difference.head)


def _name(row: Row[ComparisonRow], summary: ComparisonSummary) -> str:
    return row_name(row.record) if len(summary.metrics.heads) > 1 else row.title
