"""The HTML page of a comparison, and its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.evaluation.results import ComparisonMetrics, ComparisonRow, Difference
from dbpt.guesses.trust import Guesses
from dbpt.report import sections, text
from dbpt.report.charts import MOST_BARS, Bar, BarGroup, Chart, bar_chart
from dbpt.report.comparison import ComparisonSummary, is_varied, row_name
from dbpt.report.page import Outcome, alone, average_name, by_doubts, figure_name
from dbpt.report.pictures import GroupExamples, GuessSheets
from dbpt.report.sections import Section, accuracy_chart, section
from dbpt.report.summary import AVERAGES, SPLIT_NAMES, Row, ShownRow, doubted_factors, shown_rows
from dbpt.report.verdicts import after_doubts


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
    """The answers of one or two ``rows``, by index in the table, with one seed or draw, to images of the shown split.

    ``confusions`` are the `confusion_counts` (C, C) of each.
    """

    rows: list[int]
    seed: int
    examples: list[GroupExamples]
    confusions: list[NDArray[np.int64]]
    has_images: bool


def render_comparison(
    metrics: ComparisonMetrics,
    judged: ComparisonMetrics,
    sheets: GuessSheets,
    made_by: Section,
    next_steps: NextSteps,
    answers: Answers | None = None,
    charts: Mapping[str, Chart | None] | None = None,
) -> str:
    """Return the page.

    Args:
        metrics: the figures of the comparison.
        judged: those over the `judged_factors`, for the verdict.
        sheets: the guesses with their contact sheets.
        made_by: the section with words, sentences and settings.
        next_steps: the commands to go on.
        answers: the answers of one or two rows; None without results.
        charts: the `comparison_figures`, if they are drawn already.
    """
    charts, data, guesses = charts or comparison_figures(metrics), metrics.dataset, sheets.guesses
    summary, judged_summary = ComparisonSummary(metrics), ComparisonSummary(judged)
    outcome, doubted = comparison_outcome(judged_summary, guesses), doubted_factors(guesses, metrics)
    rows, several, (average, gap) = _rows(summary), len(metrics.seeds) > 1, AVERAGES[metrics.average]
    values = {"metrics": metrics, "rows": rows, "average": average, "gap": gap, "most_bars": MOST_BARS}
    values |= {"chart": charts["worst_group_accuracy"], "doubted": doubted, "is_varied": is_varied(metrics)}
    missing = section("missing", metrics=metrics, resume=next_steps.resume)
    parts = [
        sections.doubts(guesses, metrics.group_kind, is_untrusted=outcome.kind == "untrusted"),
        missing if metrics.failed or metrics.left_out else None,
        sections.warnings(summary.other_warnings),
        section("rows", "Worst-group accuracy of each row", **values),
        sections.groups(metrics, rows, charts["accuracy"], doubted, split=metrics.split, file="compare.csv"),
    ]
    if answers:
        names, tabled = [rows[i].name for i in answers.rows], sections.tabled(summary.chosen)
        where = f"on the {SPLIT_NAMES[metrics.split]} images, with seed {answers.seed}"
        parts += [
            sections.answers(answers.examples, tabled, names, where, has_images=answers.has_images),
            sections.taken_for(answers.confusions, names, data.classes),
        ]
    use, seed = "figures" if metrics.group_kind == "pseudo" else "", metrics.seeds[0] if several else None
    of = {"by_clusters": guesses.provenance == "clusters", "has_attributes": data.has_attributes}
    parts += [
        sections.guessed(sheets, use=use, seed=seed) if data.has_attributes else None,
        sections.next_step_section("compare", steps=next_steps, **of) if next_steps.fit or next_steps.guess else None,
        made_by,
    ]
    eyebrow = f"{data.name} · comparison of {text.count_of(len(rows), 'row')}"
    badge, leads = (outcome.kind, outcome.title), [second_sentence(judged_summary)]
    below = section("line", text=" · ".join(summary.heading))
    head = sections.headline(eyebrow, badge, after_doubts(metrics.class_doubts, outcome.sentence), below, leads)
    about = {"has_attributes": data.has_attributes, "has_factors": len(data.factors) > 1, "several": several}
    notes = {"group_kind": metrics.group_kind, "draws": metrics.draws, "notes": summary.how_computed}
    how = sections.how("compare", guesses, metrics.average, **about, **notes)
    return sections.render_page(f"{data.name} · dbpt comparison", head, parts, how, metrics.dbpt_version)


def comparison_figures(metrics: ComparisonMetrics) -> dict[str, Chart | None]:
    """Return the charts of a comparison, by name. Page and files show them."""
    rows = _rows(ComparisonSummary(metrics))
    where = f"{SPLIT_NAMES[metrics.split]} split"
    return {"worst_group_accuracy": _row_chart(rows), "accuracy": accuracy_chart(rows, where)}


def _rows(summary: ComparisonSummary) -> list[ShownRow]:
    return shown_rows(summary.rows, lambda row: _name(row, summary))


def _row_chart(rows: Sequence[ShownRow]) -> Chart | None:
    """Draw the worst-group accuracy of each row, with the interval over images and a dot for each of several seeds."""
    bars = []
    for shown in [shown for shown in rows if shown.row.worst_group_accuracy is not None][:MOST_BARS]:
        figure, seeds = shown.row.record.figures["worst_group_accuracy"], len(shown.row.record.seeds)
        low, high = shown.row.interval or (None, None)
        dots = [value for value in figure.by_seed if value is not None] if seeds > 1 else []
        bar = Bar(shown.color, "worst-group accuracy", figure.mean, low, high, dots)
        note = "not trained" if shown.row.head is None else text.count_of(seeds, "seed")
        bars.append(BarGroup((shown.name, ""), note, [bar]))
    return bar_chart(bars, "Worst-group accuracy of each row in per cent, with its 95 % interval over images")


def comparison_outcome(summary: ComparisonSummary, guesses: Guesses) -> Outcome:
    """Return what the intervals prove about the difference of the chosen row to ERM, over the `judged_factors`."""
    chosen, follows = summary.chosen, ("the figures by group prove nothing", "nothing is proven about these groups")
    untrusted, doubts = by_doubts(guesses, summary.metrics, *follows)
    if untrusted is not None:
        return untrusted
    difference = chosen.record.difference
    change = None if difference is None else difference.figures["worst_group_accuracy"].mean
    if difference is not None and change is not None:
        outcome = _against_erm(summary, chosen, difference, change)
        return outcome._replace(sentence=outcome.sentence + doubts)
    return Outcome("nothing-to-compare", "Nothing to compare", alone(chosen, _name(chosen, summary)))


def second_sentence(summary: ComparisonSummary) -> str:
    """Return the averages behind the `verdict`, and the row with the highest worst-group accuracy if it's another."""
    chosen = summary.chosen
    texts = []
    if chosen.record.difference is not None and chosen.worst_group_accuracy is not None:
        erm = _erm(summary, chosen.record.difference)
        name = text.capitalize_first(average_name(summary.metrics))
        texts.append(
            f"{name}: {text.in_words(chosen.average_accuracy)}, with ERM {text.in_words(erm.average_accuracy)}."
        )
    best = max(summary.rows, key=lambda row: row.worst_group_accuracy or 0.0)
    if (best.worst_group_accuracy or 0.0) > (chosen.worst_group_accuracy or 0.0):
        texts.append(
            f"The highest worst-group accuracy of all rows is {text.in_words(best.worst_group_accuracy)}, of "
            f"{_name(best, summary)}; the best of several rows is partly best by chance."
        )
    return " ".join(texts)


def _against_erm(
    summary: ComparisonSummary, chosen: Row[ComparisonRow], difference: Difference, change: float
) -> Outcome:
    """Return the outcome for a ``change`` of worst-group accuracy against ERM."""
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
    wanted = ("erm", difference.head, difference.varied)
    return next(row for row in summary.rows if (row.record.objective, row.head, row.record.varied) == wanted)


def _name(row: Row[ComparisonRow], summary: ComparisonSummary) -> str:
    return row_name(row.record) if len(summary.metrics.heads) > 1 else row.title
