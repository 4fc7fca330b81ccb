"""The page of a run, ``report.html``, or of a comparison, ``compare.html``, as one list of sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbpt.evaluation.results import Metrics
from dbpt.groups import group_name
from dbpt.report import sections
from dbpt.report.charts import MOST_BARS, Chart
from dbpt.report.notes import (
    average_note,
    choice_note,
    cluster_note,
    groups_line,
    heading,
    how_computed,
    is_varied,
    pseudo_text,
    selected_by,
    selecting_figure,
    shots_text,
    split_line,
)
from dbpt.report.outcome import Outcome, change_of, outcome_of, second_sentence
from dbpt.report.pictures import GroupExamples, GuessSheets, Mistake
from dbpt.report.result_charts import MOST_CURVES, validation_title
from dbpt.report.sections import Section, section
from dbpt.report.summary import AVERAGES, SPLIT_NAMES, Summary, doubted_factors
from dbpt.report.text import capitalize_first, count_of, sentence
from dbpt.report.verdicts import after_doubts


@dataclass(frozen=True, kw_only=True)
class NextSteps:
    """Commands: to train the chosen row again as a run, to label images of that run, to write the guesses as a table,
    and to repeat failed trainings. Those that don't apply are empty.
    """

    fit: str = ""
    label: str = ""
    guess: str = ""
    resume: str = ""


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


class MadeBy(NamedTuple):
    """The command that makes a page, with the wordings by name, the sentences, and the texts of the settings."""

    command: str
    words: sections.Wordings
    templates: sections.Templates
    settings: Mapping[str, str]


def render_results(
    metrics: Metrics,
    judged: Metrics,
    sheets: GuessSheets,
    made_by: MadeBy,
    steps: NextSteps,
    charts: Mapping[str, Chart | None],
    answers: Answers | None = None,
    mistakes: Sequence[Mistake] | None = None,
) -> str:
    """Return the page. That of a run also has the curves of its training, the data and mistakes.

    Args:
        metrics: the figures of the run or comparison.
        judged: those over the `judged_factors`, for the verdict.
        sheets: the guesses with their contact sheets.
        made_by: the command, words, sentences and settings.
        steps: the commands to go on.
        charts: the `result_charts`.
        answers: the answers of one or two rows; None without results.
        mistakes: the mistakes of the chosen row of a run in its worst group; None without images.
    """
    data, guesses, is_run = metrics.dataset, sheets.guesses, metrics.saved is not None
    kind = "fit" if is_run else "compare"
    summary, judged_summary = Summary(metrics), Summary(judged)
    outcome, doubted = outcome_of(judged_summary, guesses), doubted_factors(guesses, metrics)
    rows, chosen, tabled = summary.rows, summary.chosen, sections.tabled(summary.chosen)
    average, gap = AVERAGES[metrics.average]
    values: dict[str, Any] = {
        "metrics": metrics,
        "data": data,
        "names": data.group_names,
        "tabled": tabled,
        "summary": summary,
        "rows": rows,
        "chosen": chosen,
        "doubted": doubted,
        "guesses": guesses,
        "charts": charts,
        "selected_by": selected_by(metrics),
        "model_selection": metrics.model_selection,
        "quality": metrics.pseudo_quality,
    }
    of_rows: dict[str, object] = {"average": average, "gap": gap, "average_note": average_note(metrics.average)}
    of_rows |= {"chart": charts.get("worst_group_accuracy"), "most_bars": MOST_BARS, "is_varied": is_varied(metrics)}
    title_and_id = ("Result", "result") if is_run else ("Worst-group accuracy of each row", "rows")
    missing = section("missing", metrics=metrics, resume=steps.resume)
    file = "metrics.json" if is_run else "compare.csv"
    parts = [
        sections.doubts(guesses, metrics.group_kind, is_untrusted=outcome.kind == "untrusted", is_trained=is_run),
        missing if metrics.failed or metrics.left_out else None,
        sections.warnings(summary.other_warnings),
        section("rows", *title_and_id, **values, **of_rows),
        sections.groups(metrics, rows, charts["accuracy"], doubted, file=file),
    ]
    if answers:
        names, seed = [rows[i].name for i in answers.rows], "" if is_run else f", with seed {answers.seed}"
        where = f"on the {SPLIT_NAMES[metrics.split]} images{seed}"
        parts += [
            sections.answers(answers.examples, tabled, names, where, has_images=answers.has_images),
            sections.taken_for(answers.confusions, names, data.classes),
        ]
    if any(charts.get(name) for name in ("weights", "probability", "validation")):
        more = {"validation_title": validation_title(metrics), "most_curves": MOST_CURVES}
        parts.append(section("training", "Training", **values, **more))
    of_words, quality = data.has_attributes and guesses.provenance != "clusters", metrics.pseudo_quality
    of_quality = None
    if is_run and quality is not None and quality.smallest_group is not None:
        of_quality = section("quality", cluster_note=cluster_note(metrics), **values)
    if data.has_attributes:
        use, seed_of_guesses = "figures" if metrics.group_kind == "pseudo" else "", None
        if len(metrics.seeds) > 1:
            seed_of_guesses = metrics.seeds[0]
        parts.append(sections.guessed(sheets, use=use, seed=seed_of_guesses, quality=of_quality))
    if is_run:
        worst = chosen.worst
        worst_name = f"the worst group, {group_name(worst.class_name, worst.attribute)}" if worst else "the worst group"
        parts.append(sections.mistakes(mistakes, worst_name, f"By {chosen.title}. "))
    if (steps.fit or steps.guess) or (is_run and of_words and sheets.sheets is not None):
        of = {"by_clusters": guesses.provenance == "clusters", "has_attributes": data.has_attributes}
        parts.append(sections.next_step_section(kind, steps=steps, **of))
    if is_run:
        parts.append(section("data", "Data", of_guesses=of_words, **values))
    parts.append(sections.made_by(kind, *made_by, **values, guessed_by=pseudo_text(metrics)))
    about = {"has_attributes": data.has_attributes, "has_factors": len(data.factors) > 1, "chosen": chosen}
    about |= {"group_kind": metrics.group_kind, "summary": summary, "selecting": selecting_figure(metrics)}
    about |= {"several": len(metrics.seeds) > 1, "draws": metrics.draws, "notes": how_computed(summary)}
    how = sections.how(kind, guesses, metrics.average, **about)
    title = f"{data.name} · dbpt {'report' if is_run else 'comparison'}"
    badge, (eyebrow, first, leads, below) = (outcome.kind, outcome.title), _head(summary, judged_summary, outcome)
    head = sections.headline(eyebrow, badge, first, section("line", text=" · ".join(below)), leads)
    return sections.render_page(title, head, parts, how, metrics.dbpt_version)


def _head(summary: Summary, judged: Summary, outcome: Outcome) -> tuple[str, str, list[str | Section], list[str]]:
    """Return the line above the headline, the headline, the paragraphs below it, and the parts of the last line."""
    metrics = summary.metrics
    first = after_doubts(metrics.class_doubts, outcome.sentence)
    if metrics.saved is None:
        eyebrow = f"{metrics.dataset.name} · comparison of {count_of(len(summary.rows), 'row')}"
        return eyebrow, first, [second_sentence(judged)], heading(summary)
    leads: list[str | Section] = [] if outcome.kind == "nothing-to-compare" else [change_of(judged)]
    leads += [sentence(choice_note(metrics))] if metrics.saved.choice else []
    lines = [capitalize_first(split_line(summary)) + shots_text(metrics), groups_line(metrics)]
    return metrics.dataset.name, first, leads, [*lines, f"one run, seed {metrics.seeds[0]}"]
