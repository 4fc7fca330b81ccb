"""The pages of `fit` and `compare`: ``report.html`` or ``compare.html`` as a list of sections, and ``guesses.html``."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbpt.evaluation.results import Metrics
from dbpt.groups.ids import contingency_table
from dbpt.guesses.base import BY_VALUES, OWN_VALUES
from dbpt.heads.class_and_group_prompts import group_templates
from dbpt.report import page_sections as sections
from dbpt.report.audit_sentences import after_doubts
from dbpt.report.charts import MOST_BARS, Chart
from dbpt.report.group_pictures import GroupExamples, GuessSheets, contact_sheets, group_examples
from dbpt.report.page_sections import Section, section
from dbpt.report.page_size import MOST_CELLS, MOST_GROUPS_TABLED
from dbpt.report.result_charts import MOST_CURVES, charted_rows, most_groups, validation_title
from dbpt.report.result_rows import AVERAGES, SPLIT_NAMES, Summary, group_size
from dbpt.report.results_verdict import Outcome, leads_of, outcome_of
from dbpt.report.table_notes import (
    average_note,
    choice_note,
    cluster_note,
    heading,
    how_computed,
    is_varied,
    pseudo_text,
    selected_by,
    selecting_figure,
)
from dbpt.report.text import count_of, guesser, sentence, whose_guesses
from dbpt.report.thumbnails import ImageFiles
from dbpt.storage.files import is_missing, write_atomically
from dbpt.study.study import Study

logger = logging.getLogger(__name__)


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

    ``confusions`` are the `contingency_table` (C, C) of each, true and predicted classes.
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
) -> str:
    """Return the page. That of a run also has the curves of its training, and the data.

    Args:
        metrics: the figures of the run or comparison.
        judged: those over the `judged_factors`, for the verdict.
        sheets: the guesses with their contact sheets.
        made_by: the command, words, sentences and settings.
        steps: the commands to go on.
        charts: the `result_charts`.
        answers: the answers of one or two rows; None without results.
    """
    data, guesses, is_run = metrics.dataset, metrics.guesses, metrics.saved is not None
    kind, name, file = ("fit", "report", "metrics.json") if is_run else ("compare", "comparison", "compare.csv")
    summary, of_judged = Summary(metrics), Summary(judged)
    outcome, doubted = outcome_of(of_judged), metrics.doubted_factors
    chosen, tabled = summary.chosen, sections.tabled(summary.chosen)
    parts = [
        sections.doubts(guesses, metrics.group_kind, is_untrusted=outcome.kind == "untrusted", is_trained=is_run),
        section("missing", metrics=metrics, resume=steps.resume) if metrics.failed or metrics.left_out else None,
        sections.warnings(summary.other_warnings),
        _rows(summary, doubted, charts.get("worst_group_accuracy")),
        _groups(summary, doubted, charts["accuracy"], file),
    ]
    if answers:
        names = [summary.rows[i].name for i in answers.rows]
        seed = "" if is_run else f", with seed {answers.seed}"
        where = f"on the {SPLIT_NAMES[metrics.split]} images{seed}"
        title = "The same images before and after" if names[1:] else "Images right and wrong"
        values = {"names": names, "where": where, "has_images": answers.has_images}
        parts += [
            section("answers", title, groups=answers.examples, tabled=tabled, **values),
            sections.taken_for(answers.confusions, names, data.classes),
        ]
    if any(charts.get(name) for name in ("weights", "probability", "validation")):
        of_training = {"validation_title": validation_title(metrics), "most_curves": MOST_CURVES}
        parts.append(section("training", "Training", summary=summary, charts=charts, **of_training))
    if data.has_attributes:
        use, quality = "figures" if metrics.group_kind == "pseudo" else "", None
        if is_run and metrics.pseudo_quality is not None and metrics.pseudo_quality.smallest_group is not None:
            of_quality = {"tabled": tabled, "guesses": guesses, "cluster_note": cluster_note(metrics)}
            quality = section("quality", summary=summary, **of_quality)
        seed_of_guesses = metrics.seeds[0] if len(metrics.seeds) > 1 else None
        parts.append(sections.guessed(sheets, use=use, seed=seed_of_guesses, quality=quality))
    of_words = data.has_attributes and not (data.clusters or data.coded)
    if (steps.fit or steps.guess) or (is_run and of_words and sheets.sheets is not None):
        what = "cluster" if data.clusters else "value" if data.coded else "guess"
        of_data = {"can_label": of_words, "what": what, "has_attributes": data.has_attributes}
        parts.append(section("next", "Next step", kind=kind, steps=steps, **of_data))
    if is_run:
        parts.append(section("data", "Data", data=data, tabled=tabled, of_guesses=of_words))
    by, guessed_by = selected_by(metrics), pseudo_text(metrics)
    parts.append(
        sections.made_by(kind, *made_by, metrics=metrics, chosen=chosen, selected_by=by, guessed_by=guessed_by)
    )
    how = sections.how(
        kind,
        guesses,
        metrics.average,
        has_attributes=data.has_attributes,
        has_factors=len(data.factors) > 1,
        summary=summary,
        selecting=selecting_figure(metrics),
        notes=how_computed(summary),
    )
    head = _head(summary, of_judged, outcome)
    return sections.render_page(f"{data.name} · dbpt {name}", head, parts, how, metrics.dbpt_version)


def _rows(summary: Summary, doubted: Sequence[str], chart: Chart | None) -> Section:
    """Return the table of the rows, with the ``chart`` of a comparison."""
    metrics, (average, gap) = summary.metrics, AVERAGES[summary.metrics.average]
    return section(
        "rows",
        *(("Result", "result") if metrics.saved else ("Worst-group accuracy of each row", "rows")),
        summary=summary,
        doubted=doubted,
        average=average,
        gap=gap,
        average_note=average_note(metrics.average),
        selected_by=selected_by(metrics),
        chart=chart,
        most_bars=MOST_BARS,
        is_varied=is_varied(metrics),
    )


def _groups(summary: Summary, doubted: Sequence[str], chart: Chart | None, file: str) -> Section:
    """Return the accuracy of the rows by group and by each of several factors; ``file`` has that of all groups."""
    metrics, rows, chosen = summary.metrics, summary.rows, summary.chosen
    return section(
        "groups",
        "Accuracy by group",
        metrics=metrics,
        rows=rows,
        charted=charted_rows(rows),
        num_charted=most_groups(rows),
        chart=chart,
        doubted=doubted,
        tabled=sorted(chosen.worst_first[: min(MOST_GROUPS_TABLED, MOST_CELLS // len(rows))]),
        sizes=[group_size(rows, g) for g in range(len(metrics.dataset.groups))],
        chosen=chosen.name,
        split_name=SPLIT_NAMES[metrics.split],
        file=file,
    )


def _head(summary: Summary, judged: Summary, outcome: Outcome) -> Section:
    """Return the head of the page; its sentences are about the ``judged`` factors."""
    metrics = summary.metrics
    eyebrow, below = metrics.dataset.name, heading(summary)
    leads = [] if outcome.kind == "nothing-to-compare" else leads_of(judged)
    if metrics.saved is None:
        eyebrow += f" · comparison of {count_of(len(summary.rows), 'row')}"
    else:
        below.append(f"one run, seed {metrics.seeds[0]}")
        leads += [sentence(choice_note(metrics))] if metrics.saved.choice else []
    first = after_doubts(metrics.class_doubts, outcome.sentence)
    badge = (outcome.kind, outcome.title)
    return sections.headline(eyebrow, badge, first, section("line", text=" · ".join(below)), leads)


def compared_rows(metrics: Metrics, finished: Collection[int]) -> list[int]:
    """Return the positions of the two rows whose answers a page shows: one before, and the chosen one.

    Before is the row of ``--against``, else zero-shot, else ERM with the same head, else the first of the ``finished``
    rows; none if it has no other.
    """
    chosen = metrics.rows[metrics.chosen]
    reference = metrics.reference(chosen) if metrics.against else None

    def rank(position: int) -> tuple[bool, bool, bool]:
        row = metrics.rows[position]
        return row is not reference, row.method != "zero-shot", (row.method, row.head) != ("erm", chosen.head)

    others = [position for position in sorted(finished) if position != metrics.chosen]
    return [*sorted(others, key=rank)[:1], metrics.chosen]


def answers_of(
    study: Study, predictions: Mapping[int, NDArray[np.int64]], probabilities: NDArray[np.float32], page: Path
) -> Answers:
    """Return the answers to the images of the split that tables show.

    Args:
        study: the data of the rows, with their seed.
        predictions: (N,) by the position of the row, the chosen one last.
        probabilities: (N, C) of the chosen row.
        page: the folder that the page is for.
    """
    dataset, config, rows = study.dataset, study.config, study.rows(study.split)
    return Answers(
        rows=list(predictions),
        seed=config.seed,
        examples=group_examples(
            ImageFiles(dataset.paths_of(rows), dataset.root, page) if config.opens_images else None,
            study.reported.groups[rows],
            [predicted[rows] for predicted in predictions.values()],
            group_names=study.reported.pairs,
            classes=dataset.class_names,
            p_true=probabilities[rows, dataset.labels[rows]],
            seed=config.seed,
        ),
        confusions=[
            contingency_table(dataset.labels[rows], each[rows], (dataset.num_classes, dataset.num_classes))
            for each in predictions.values()
        ],
        has_images=config.opens_images,
    )


def made_by_words(
    study: Study, metrics: Metrics, sheets: GuessSheets, command: str, settings: Mapping[str, str]
) -> MadeBy:
    """Return the ``command`` that makes a page, with the words of the study and the ``settings`` as texts."""
    words, chosen = study.dataset.words, metrics.rows[metrics.chosen]
    named = chosen.prompts == "group" and study.grouping(chosen.group_source or "pseudo").has_words
    of_groups = [group_templates(words)] if named else []
    return MadeBy(
        command=command,
        words=[*words.classes.items(), *sheets.words.items()],
        templates=(words.templates, words.attribute_templates, *of_groups),
        settings=settings,
    )


def guess_sheets(study: Study, page: Path) -> GuessSheets:
    """Return the judged guesses of all but the test rows, with contact sheets for a page in the folder ``page``.

    Without images there are none. Of clusters, add class, cluster and its share of the class for each.
    """
    dataset, pseudo, rows = study.dataset, study.pseudo, study.dataset.rows_to_fit
    assert study.guesses is not None and pseudo.confidence is not None
    grouping = study.grouping("pseudo")
    groups, pairs = grouping.groups[rows], grouping.pairs
    sheets, clusters = None, list[tuple[str, str, float]]()
    if study.config.opens_images and grouping.provenance != "none":
        images, seed = ImageFiles(dataset.paths_of(rows), dataset.root, page), study.config.seed
        of: dict[str, Any] = {"group_names": pairs, "seed": seed, "is_known": grouping.provenance in BY_VALUES}
        sheets = contact_sheets(images, groups, pseudo.confidence[rows], **of)
    if grouping.provenance == "clusters":
        counts_CK = grouping.counts(rows).reshape(dataset.num_classes, -1)
        shares_G = (counts_CK / counts_CK.sum(axis=1, keepdims=True).clip(1)).ravel()
        clusters = [(y, a, share) for (y, a), share in zip(pairs, shares_G.tolist(), strict=True)]
    words = {} if grouping.provenance in OWN_VALUES else dataset.words.guessed()
    return GuessSheets(study.guesses, words, sheets, clusters)


def write_guesses(out: Path, sheets: GuessSheets, name: str, label_commands: str, *, again: bool = False) -> None:
    """Write ``guesses.html`` if there are images, so that people can check the guesses during training.

    Args:
        out: the folder.
        sheets: the guesses, with pictures if there are images.
        name: of the data set.
        label_commands: those with which people label a sample, one a line.
        again: replace a page that is there.
    """
    if sheets.sheets is None:
        return
    page = out / "guesses.html"
    if again or is_missing(page):
        write_atomically(page, render_guesses(sheets, name, label_commands))
    shown = str(page).encode("utf-8", "backslashreplace").decode()  # most handlers of logs refuse other names
    logger.info(f"{whose_guesses(sheets.guesses.provenance)}, to check before training: {shown}")


def render_guesses(shown: GuessSheets, name: str, label_commands: str) -> str:
    """Return the page for the data set ``name``, to look at before training; ``label_commands`` are the next step."""
    guesses = shown.guesses
    names = [factor.name for factor in guesses.named] or list(shown.words)
    titles = {"clusters": "Clusters within each class", "file": f"Labelled {' and '.join(names)}"}
    took = f"What {guesser(guesses.provenance)} took for {' and for '.join(names)}"
    title = titles.get(guesses.provenance, took)
    by_values = guesses.provenance in BY_VALUES
    title = f"Groups by {guesses.method}" if by_values else title
    head = sections.headline(f"{name} · before training", None, title, section("look_first", guesses=guesses))
    box = sections.doubts(guesses, "pseudo", is_untrusted=True)
    parts = [box, sections.guessed(shown)]
    if not by_values:
        by_clusters = guesses.provenance == "clusters"
        values = {"by_clusters": by_clusters, "label_command": label_commands}
        parts.append(section("next", "Next step", kind="guesses", **values))
    return sections.render_page(f"Guesses: {name} · dbpt", head, parts)
