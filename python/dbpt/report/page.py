"""The pages of a run: its HTML page with the headline, and its model card ``README.md`` for the Hugging Face Hub."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

import numpy as np
from huggingface_hub import EvalResult, ModelCardData
from numpy.typing import NDArray

from dbpt.evaluation import Group
from dbpt.evaluation.results import Metrics, RunMetrics, RunRow
from dbpt.groups import group_name
from dbpt.guesses.trust import Guesses
from dbpt.report import sections
from dbpt.report.charts import Chart
from dbpt.report.pictures import GroupExamples, GuessSheets, Mistake
from dbpt.report.sections import MOST_CURVES, Section, section, validation_title
from dbpt.report.summary import (
    MINIMUM_NOTE,
    SPLIT_NAMES,
    Row,
    Summary,
    average_note,
    cluster_note,
    doubted_factors,
    group_size,
    groups_line,
    nothing_is_trusted,
    pseudo_note,
    pseudo_text,
    selected_by,
    selecting_figure,
    shots_text,
    shown_rows,
    summarize,
)
from dbpt.report.tables import choice_note
from dbpt.report.text import capitalize_first, count, count_of, in_words, interval_text, percent, points, sentence
from dbpt.report.verdicts import after_doubts, distrust

METHODS = {"zero-shot": "zero-shot CLIP", "erm": "plain training (ERM)"}


class Outcome(NamedTuple):
    """The result in a few words and in two sentences; ``kind`` is also the name of its style."""

    kind: Literal["untrusted", "nothing-to-compare", "unchanged", "improved", "bias"]
    title: str
    sentence: str


Interval = tuple[float, float] | None


def run_outcome(summary: Summary, guesses: Guesses, difference: Interval) -> Outcome:
    """Return how biased the strongest other row is, and what the training of the chosen row changed.

    The figures are those over the `judged_factors`. ``difference`` is the 95 % interval of the change of worst-group
    accuracy, on the same images.
    """
    chosen, before = summary.chosen, summary.baseline
    follows = "nothing follows about a bias or its reduction", "nothing follows about a bias there"
    untrusted, doubts = by_doubts(guesses, summary.metrics, *follows)
    if untrusted is not None:
        return untrusted
    if before is None or chosen.worst is None:
        return Outcome("nothing-to-compare", "Nothing to compare", alone(chosen, chosen.title))
    source = "the attribute comes from a file" if guesses.provenance == "file" else "the attribute is guessed"
    needs_source = summary.metrics.group_kind == "pseudo" and guesses.provenance != "clusters"
    bias, is_biased = _bias(before, f" ({source})" if needs_source else "")
    group = "group" if summary.metrics.dataset.has_attributes else "class"
    effect = _effect(*_change(before, chosen, difference), chosen, is_biased, group)
    return effect._replace(sentence=f"{bias} {effect.sentence}{doubts}")


def by_doubts(guesses: Guesses, metrics: Metrics, about_all: str, about_some: str) -> tuple[Outcome | None, str]:
    """Return the outcome if no guess can be trusted, and else a sentence about those that can't, "" if all can.

    ``about_all`` and ``about_some`` are what follows about a figure that needs all guesses, or some of them.
    """
    if not guesses.doubts or metrics.group_kind == "true":
        return None, ""
    doubted = [f"{' / '.join(each.values)} ({each.name})" for each in guesses.named if each.doubts]
    doubts = distrust(guesses.provenance, " and ".join(doubted) or " / ".join(metrics.dataset.attributes))
    if not nothing_is_trusted(guesses):
        return None, f" {doubts}, so {about_some}."
    what = "clusters" if guesses.provenance == "clusters" else "guesses"
    return Outcome("untrusted", f"The {what} can’t be trusted", f"{doubts}, so {about_all}."), ""


def _bias(row: Row[RunRow], source: str) -> tuple[str, bool]:
    """Return a sentence about the worst group of a row, and whether another group of its class is clearly better."""
    worst, method = row.worst, METHODS.get(row.record.name, row.title)
    assert worst is not None
    in_class = [each for each in row.groups if each.class_name == worst.class_name and each.accuracy is not None]
    best, right = max(in_class, key=lambda each: each.accuracy or 0.0), in_words(worst.accuracy)
    if not worst.attribute:
        return f"{capitalize_first(method)} gets {right} right in its worst class, {worst.class_name}.", False
    if (best.low or 0.0) > (worst.high or 1.0):
        both = f"{right} right with “{worst.attribute}”, but {in_words(best.accuracy)} with “{best.attribute}”"
        return f"Of the class “{worst.class_name}”, {method} gets {both}{source}.", True
    return f"{capitalize_first(method)} gets {right} right in its worst group, {_name(worst)}{source}.", False


def _effect(change: float, is_clear: bool, after: Row[RunRow], was_biased: bool, group: str) -> Outcome:
    """Return what training changed: the `_change` of worst-group accuracy in points, and whether it is clear."""
    worst = after.worst
    assert worst is not None
    how = f"{'using' if after.record.alpha == 0 else 'training with'} {after.title}"
    training, right = capitalize_first(how), f"{in_words(worst.accuracy)} right"
    if not change:
        return Outcome("unchanged", "No change", f"{training} changes nothing: {right} in {_name(worst)}.")
    if not is_clear:
        now = f"After {how} the worst {group} is {_name(worst)} with {right}"
        return Outcome("unchanged", "No clear change", f"{now}; chance alone may be the reason.")
    if change < 0:
        return Outcome("bias", "Worse than before", f"{training} makes it worse: {right} in {_name(worst)}.")
    at_least = f"it gets at least {right} in every {group} (worst: {_name(worst)})."
    if was_biased:
        return Outcome("improved", "Bias reduced", f"{training} reduces this bias: {at_least}")
    return Outcome("improved", f"Worst {group} improved", f"{training} helps: {at_least}")


def _name(group: Group) -> str:
    return group_name(group.class_name, group.attribute).replace(" · ", "\u00a0·\u00a0")


def _change(before: Row[RunRow], after: Row[RunRow], difference: Interval) -> tuple[float, bool]:
    """Return by how many points worst-group accuracy changed, and whether the interval of the change is beyond 0."""
    assert before.worst_group_accuracy is not None
    assert after.worst_group_accuracy is not None
    # The difference of the printed figures: "78.0 against 75.0, +3.1" would look wrong.
    change = round(round(100 * after.worst_group_accuracy, 1) - round(100 * before.worst_group_accuracy, 1), 1)
    return change, difference is not None and (difference[0] > 0 or difference[1] < 0)


def alone(row: Row[Any], name: str) -> str:
    """Return the result of a row, by its ``name``, where no other row is there to compare with, or no group."""
    wga, average, kind = row.worst_group_accuracy, row.average_accuracy, average_name(row.metrics)
    if wga is None:
        known = "" if average is None else f"; the {kind} of {name} is {in_words(average)}"
        return f"No group could be evaluated, so there is no worst-group accuracy{known}."
    return f"{capitalize_first(figure_name(row.metrics))} of {name} is {in_words(wga)}, {kind} {in_words(average)}."


def change_of(summary: Summary, difference: Interval) -> Section | str:
    """Return how worst-group accuracy and the average changed, for any outcome; ``difference`` as for `verdict`."""
    before, chosen = summary.baseline, summary.chosen
    if before is None or chosen.worst_group_accuracy is None:
        return alone(chosen, chosen.title)
    change, is_clear = _change(before, chosen, difference)
    names = {"what": figure_name(summary.metrics), "average": average_name(summary.metrics)}
    values = {"change": change, "is_clear": is_clear, "difference": difference}
    return section("change", before=before, after=chosen, zero_shot=summary.zero_shot, **names, **values)


def figure_name(metrics: Metrics) -> str:
    """Return the name of worst-group accuracy in sentences, with the groups that it is over, if not true ones."""
    if not metrics.dataset.has_attributes:
        return "worst-class accuracy"
    factors = " and ".join(factor.name for factor in metrics.dataset.factors)
    pseudo_groups = f" over pseudo groups of {factors}" if factors else " over pseudo groups"
    groups = " over clusters" if metrics.dataset.clusters else pseudo_groups
    return f"worst-group accuracy{'' if metrics.group_kind == 'true' else groups}"


def average_name(metrics: Metrics) -> str:
    """Return the name of the average in sentences: the adjusted one can differ much from the plain one."""
    return "adjusted average" if metrics.average == "adjusted" else "average"


def render_report(
    metrics: RunMetrics,
    judged: RunMetrics,
    charts: Mapping[str, Chart | None],
    *,
    mistakes: Sequence[Mistake] | None,
    sheets: GuessSheets,
    examples: Sequence[GroupExamples],
    confusions: Sequence[NDArray[np.int64]],
    words: sections.Wordings,
    templates: sections.Templates,
    settings: Mapping[str, str],
    command: str,
    label_command: str,
    difference: Interval,
) -> str:
    """Return the HTML page of a run.

    Args:
        metrics: the figures of the run.
        judged: those over the `judged_factors`, for verdict and headline.
        charts: the `run_figures`.
        mistakes: those of the chosen row in its worst group; None without images.
        sheets: the guesses with their contact sheets.
        examples: images of each group with the predictions of the first and of the chosen row.
        confusions: the `confusion_counts` (C, C) of these two rows.
        words: the wordings of classes and attributes, by name.
        templates: the sentences of classes and of attributes.
        settings: the texts of all settings, by name.
        command: the command that made the run.
        label_command: the next step.
        difference: the 95 % interval of the chosen row's worst-group accuracy minus that of the strongest other one in
            ``judged``, on the same images.
    """
    summary, judged_summary, guesses, data = summarize(metrics), summarize(judged), sheets.guesses, metrics.dataset
    rows, chosen, quality = shown_rows(summary.rows), summary.chosen, metrics.pseudo_quality
    outcome, doubted = run_outcome(judged_summary, guesses, difference), doubted_factors(guesses, metrics)
    tabled, compared = sections.tabled(chosen), [summary.rows[0].title, chosen.title]
    values = {"metrics": metrics, "names": data.group_names, "tabled": tabled, "chosen": chosen, "rows": rows}
    values |= {"doubted": doubted, "guesses": guesses, "summary": summary, "selected_by": selected_by(metrics)}
    values |= {"quality": quality, "charts": charts, "data": data, "model_selection": metrics.model_selection}
    of_words = data.has_attributes and guesses.provenance != "clusters"
    of_quality = None
    if quality is not None and quality.smallest_group is not None:
        of_quality = section("quality", cluster_note=cluster_note(metrics), **values)
    training = None
    if any(charts[name] for name in ("weights", "probability", "validation")):
        more = {"validation_title": validation_title(metrics), "most_curves": MOST_CURVES}
        training = section("training", "Training", **values, **more)
    where, worst = f"on the {SPLIT_NAMES[summary.split]} images", chosen.worst
    worst_name = f"the worst group, {group_name(worst.class_name, worst.attribute)}" if worst else "the worst group"
    label = sections.next_step_section("fit", label_command=label_command, by_clusters=False)
    use = "figures" if metrics.group_kind == "pseudo" else ""
    parts = [
        sections.doubts(guesses, metrics.group_kind, is_untrusted=outcome.kind == "untrusted", is_trained=True),
        sections.warnings(summary.other_warnings),
        section("result", "Result", average_note=average_note(metrics.average), **values),
        sections.groups(metrics, rows, charts["accuracy"], doubted, split=summary.split, file="metrics.json"),
        sections.answers(examples, tabled, compared, where, has_images=mistakes is not None),
        sections.taken_for(confusions, compared, data.classes),
        training,
        sections.guessed(sheets, use=use, quality=of_quality) if data.has_attributes else None,
        sections.mistakes(mistakes, worst_name, f"By {chosen.title}. "),
        label if of_words and sheets.sheets is not None else None,
        section("data", "Data", of_guesses=of_words, **values),
        sections.made_by("fit", command, words, templates, settings, guessed_by=pseudo_text(metrics), **values),
    ]
    lines = [capitalize_first(summary.split_line) + shots_text(metrics), groups_line(metrics)]
    below = section("line", text=" · ".join([*lines, f"one run, seed {metrics.seed}"]))
    leads = [] if outcome.kind == "nothing-to-compare" else [change_of(judged_summary, difference)]
    leads = [*leads, sentence(choice_note(metrics))] if metrics.choice else leads
    first = after_doubts(metrics.class_doubts, outcome.sentence)
    head = sections.headline(data.name, (outcome.kind, outcome.title), first, below, leads)
    of = {"has_attributes": data.has_attributes, "group_kind": metrics.group_kind, "chosen": chosen}
    more = {"summary": summary, "selecting": selecting_figure(metrics), "has_factors": len(data.factors) > 1}
    how = sections.how("fit", guesses, metrics.average, **of, **more)
    return sections.render_page(f"{data.name} · dbpt report", head, parts, how, metrics.dbpt_version)


PAPER = "[Debiased Prompt Tuning in Vision-Language Model without Annotations](https://arxiv.org/abs/2503.08368)"
MOST_CLASSES = 50


def model_card(metrics: RunMetrics, command: str, *, is_drawn: bool, weights: str | None) -> str:
    """Return the model card of a run, which ``command`` made: figures by group, guesses and doubts, data and limits.

    Images that are ``is_drawn`` are a demo's. ``weights`` is the path of the local weights file of CLIP; None for
    published ones. Files are named without their folders.
    """
    summary = summarize(metrics)
    name = _in_markdown(f"demo-{metrics.dataset.name}" if is_drawn else metrics.dataset.name)
    asks = "" if weights is None else f', weights="{PurePath(weights).name}"'
    short = shlex.join(PurePath(each).name if PurePath(each).is_absolute() else each for each in shlex.split(command))
    parts = [
        f"---\n{_metadata(summary, is_drawn=is_drawn).to_yaml()}\n---",
        f"# CLIP for {name}, with fewer spurious features",
        " ".join(_description(summary)),
        "## Use",
        "Install dbpt, and give the name of this folder or repository:",
        f"```python\nimport dbpt\n\nclassifier = dbpt.Classifier.from_pretrained(FOLDER{asks})\n"
        'print(classifier.predict("photo.jpg").prediction)\n```',
        "## Accuracy by group",
        *_figures(summary),
        "## How the attributes were guessed",
        *map(sentence, _guesses(summary)),
        "## Training data",
        "\n".join(_data(metrics, name, is_drawn=is_drawn)),
        "## Limits",
        "\n".join(f"- {sentence(text)}" for text in _limits(summary)),
        "## Made by",
        f"dbpt {metrics.dbpt_version}, after {PAPER}:",
        f"```text\n{short}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(summary: Summary, *, is_drawn: bool) -> ModelCardData:
    """Return what the Hub reads: the library, the task, and the figures of the chosen row on real test images."""
    metrics, chosen = summary.metrics, summary.chosen
    figures = {"worst-group accuracy": chosen.worst_group_accuracy, "average accuracy": chosen.average_accuracy}
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=metrics.dataset.name,
            dataset_name=metrics.dataset.name,
            dataset_split=summary.split,
            metric_type="accuracy",
            metric_name=name,
            metric_value=round(value, 4),
        )
        for name, value in figures.items()
        if value is not None and summary.split == "test" and not is_drawn
    ]
    return ModelCardData(
        library_name="dbpt",
        pipeline_tag="image-classification",
        tags=["clip", "dbpt", "group-robustness", "prompt-tuning"],
        model_name=f"CLIP for {metrics.dataset.name}" if results else None,
        eval_results=results or None,
    )


def _description(summary: Summary) -> list[str]:
    """Return what the classifier does, its tower and its head, a part of a sentence in each line."""
    classes, backbone, row = summary.metrics.dataset.classes, summary.metrics.backbone, summary.chosen.record
    names = ", ".join(map(_in_markdown, classes[:MOST_CLASSES])) + (", ..." if len(classes) > MOST_CLASSES else "")
    model, weights = (PurePath(each).name if each else "" for each in (backbone.model, backbone.pretrained))
    tower = _in_markdown(f"{model} ({weights})" if weights else model)
    return [
        f"It names the class of an image, one of {count_of(len(classes), 'class', 'classes')}: {names}.",
        f"The image tower of CLIP, {tower}, is as it was; the head `{row.head}` on its features was trained:",
        f"{row.title}, {row.prompts} prompts.",
    ]


def _figures(summary: Summary) -> list[str]:
    """Return the table by group, and the figures of the worst group and on average beside zero-shot CLIP."""
    metrics, chosen, zero_shot = summary.metrics, summary.chosen, summary.zero_shot
    counts = metrics.dataset.counts.get("train", [])
    lines = ["| group | training images | images | accuracy, % | 95 % interval |", "|---|---|---|---|---|"]
    for g in chosen.worst_first:
        group, size = metrics.dataset.group_names[g], group_size(summary.rows, g)
        shown = chosen.groups[g] if chosen.groups else None
        accuracy = percent(shown.accuracy) if shown else ""
        bounds = interval_text(shown.low, shown.high) if shown else ""
        lines.append(
            f"| {_in_markdown(group)} | {count(counts[g]) if counts else ''} | {size} | {accuracy} | {bounds} |"
        )
    before = "" if zero_shot is None else f" (zero-shot CLIP: {percent(zero_shot.worst_group_accuracy)})"
    worst = f"Worst group {percent(chosen.worst_group_accuracy)} %{before}"
    average = f"average {percent(chosen.average_accuracy)} %, gap {points(chosen.gap)} points"
    notes = ["intervals are exact and hold for all groups at once", MINIMUM_NOTE, average_note(metrics.average)]
    return [
        sentence(f"{capitalize_first(summary.split_line)}; {groups_line(metrics)}"),
        "\n".join(lines),
        f"{worst}; {average}.",
        " ".join(map(sentence, notes)),
    ]


TRAINED_ON = {
    "ppa": "training took the errors of a probe of the classes for groups (PPA), not these attributes",
    "true": "training took the true attributes, which were known, not these",
}


def _guesses(summary: Summary) -> list[str]:
    """Return sentences about the guesses, the doubts about them, and what training took for groups instead."""
    metrics, source = summary.metrics, summary.chosen.record.group_source
    doubts = [f"doubted: {doubt}" for doubt in metrics.pseudo_doubts]
    doubts = doubts if doubts or not metrics.dataset.has_attributes else ["no doubt was found"]
    return [pseudo_note(metrics), *doubts, *([TRAINED_ON[source]] if source in TRAINED_ON else [])]


def _data(metrics: RunMetrics, name: str, *, is_drawn: bool) -> list[str]:
    sizes = ", ".join(
        f"{count(sum(of_groups))} {SPLIT_NAMES[split]}" for split, of_groups in metrics.dataset.counts.items()
    )
    notes = [f"- {sentence(note)}" for note in metrics.dataset.notes]
    return [
        f"- {name}: {sizes} images{', drawn by dbpt' if is_drawn else ''}.",
        *notes,
        f"- Best epoch by {selected_by(metrics)}.",
    ]


def _limits(summary: Summary) -> list[str]:
    metrics = summary.metrics
    guessed = metrics.group_kind == "pseudo" and metrics.dataset.has_attributes
    return [
        "every image gets one of these classes, also one that shows none of them",
        "other images, groups that are not named here, and other attributes may have lower figures",
        *(["the groups are those of guessed attributes, so wrong guesses make wrong figures"] if guessed else []),
        *summary.warnings,
    ]


def _in_markdown(text: str) -> str:
    """Return a name in which Markdown sees no table, link, heading or HTML."""
    return "".join(f"\\{letter}" if letter in "\\|`*_[]<>#" else letter for letter in " ".join(text.split()))
