"""The HTML page of a run, with its headline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import Group, group_name
from dbpt.guesses.trust import Guesses
from dbpt.report.charts import MOST_BARS, Chart
from dbpt.report.guesses import Entries, GuessSheets, distrust
from dbpt.report.pictures import GroupExamples, Mistake, worst_first
from dbpt.report.run_charts import MOST_CURVES, chosen_accuracy, narrow_chart, row_colors, validation_title
from dbpt.report.summary import (
    SPLIT_NAMES,
    Row,
    Summary,
    average_note,
    cluster_note,
    doubted_factors,
    groups_line,
    nothing_is_trusted,
    pseudo_text,
    selected_by,
    selecting_figure,
    shots_text,
    summarize,
)
from dbpt.report.tables import confusions
from dbpt.report.text import capitalize_first, in_words, points, render, signed_points
from dbpt.runs.metrics import Metrics, RunMetrics, RunRow
from dbpt.settings.sections import PSEUDO_SELECTIONS, TRUE_SELECTIONS

METHODS = {"zero-shot": "zero-shot CLIP", "erm": "plain training (ERM)"}


class Outcome(NamedTuple):
    """The result in a few words and in two sentences; ``kind`` is also the name of its style."""

    kind: Literal["untrusted", "nothing-to-compare", "unchanged", "improved", "bias"]
    title: str
    sentence: str


Interval = tuple[float, float] | None


def verdict(summary: Summary, guesses: Guesses, difference: Interval) -> Outcome:
    """Return how biased the strongest other row is, and what the training of the chosen row changed.

    The figures are those over the `judged_factors`. ``difference`` is the 95 % interval of the change of worst-group
    accuracy, on the same images.
    """
    chosen, before = summary.chosen, summary.baseline
    follows = "nothing follows about a bias or its reduction", "nothing follows about a bias there"
    untrusted, doubts = by_doubts(guesses, summary.metrics, *follows)
    if untrusted is not None:
        return untrusted
    if before is None or _worst(chosen) is None:
        return Outcome("nothing-to-compare", "Nothing to compare", headline(summary, difference))
    source = "the attribute comes from a file" if guesses.from_file else "the attribute is guessed"
    needs_source = summary.metrics.group_kind == "pseudo" and not guesses.by_clusters
    bias, is_biased = _bias(before, f" ({source})" if needs_source else "")
    group = "group" if summary.metrics.dataset.has_attributes else "class"
    effect = _effect(_change(before, chosen, difference), chosen, is_biased, group)
    return effect._replace(sentence=f"{bias} {effect.sentence}{doubts}")


def by_doubts(guesses: Guesses, metrics: Metrics, about_all: str, about_some: str) -> tuple[Outcome | None, str]:
    """Return the outcome if no guess can be trusted, and else a sentence about those that can't, "" if all can.

    ``about_all`` and ``about_some`` are what follows about a figure that needs all guesses, or some of them.
    """
    if not guesses.doubts or metrics.group_kind == "true":
        return None, ""
    doubted = [f"{' / '.join(each.values)} ({each.name})" for each in guesses.factors if each.doubts]
    doubts = distrust(guesses, " and ".join(doubted) or " / ".join(metrics.dataset.attributes))
    if not nothing_is_trusted(guesses):
        return None, f" {doubts}, so {about_some}."
    what = "clusters" if guesses.by_clusters else "guesses"
    return Outcome("untrusted", f"The {what} can’t be trusted", f"{doubts}, so {about_all}."), ""


def _bias(row: Row[RunRow], source: str) -> tuple[str, bool]:
    """Return a sentence about the worst group of a row, and whether another group of its class is clearly better."""
    worst, method = _worst(row), METHODS.get(row.record.name, row.title)
    assert worst is not None
    in_class = [each for each in row.groups if each.class_name == worst.class_name and each.accuracy is not None]
    best, right = max(in_class, key=lambda each: each.accuracy or 0.0), in_words(worst.accuracy)
    if not worst.attribute:
        return f"{capitalize_first(method)} gets {right} right in its worst class, {worst.class_name}.", False
    if (best.low or 0.0) > (worst.high or 1.0):
        found = f"{right} right with “{worst.attribute}”, but {in_words(best.accuracy)} with “{best.attribute}”"
        return f"Of the class “{worst.class_name}”, {method} gets {found}{source}.", True
    return f"{capitalize_first(method)} gets {right} right in its worst group, {_name(worst)}{source}.", False


def _effect(found: tuple[float, bool], after: Row[RunRow], was_biased: bool, group: str) -> Outcome:
    """Return what training changed, by `_change`."""
    worst, (change, is_clear) = _worst(after), found
    assert worst is not None
    training, right = f"Training with {after.title}", f"{in_words(worst.accuracy)} right"
    if not change:
        return Outcome("unchanged", "No change", f"{training} changes nothing: {right} in {_name(worst)}.")
    if not is_clear:
        now = f"After training with {after.title} the worst {group} is {_name(worst)} with {right}"
        return Outcome("unchanged", "No clear change", f"{now}; chance alone may be the reason.")
    if change < 0:
        return Outcome("bias", "Worse than before", f"{training} makes it worse: {right} in {_name(worst)}.")
    at_least = f"it gets at least {right} in every {group} (worst: {_name(worst)})."
    if was_biased:
        return Outcome("improved", "Bias reduced", f"{training} reduces this bias: {at_least}")
    return Outcome("improved", f"Worst {group} improved", f"{training} helps: {at_least}")


def _name(group: Group) -> str:
    return group_name(group.class_name, group.attribute).replace(" · ", "\u00a0·\u00a0")


def _worst(row: Row[RunRow]) -> Group | None:
    shown = row.record.shown
    return None if shown is None or shown.worst_group is None else row.groups[shown.worst_group]


def _change(before: Row[RunRow], after: Row[RunRow], difference: Interval) -> tuple[float, bool]:
    """Return by how many points worst-group accuracy changed, and whether the interval of the change is beyond 0."""
    assert before.worst_group_accuracy is not None
    assert after.worst_group_accuracy is not None
    # The difference of the printed figures: "78.0 against 75.0, +3.1" would look wrong.
    change = round(round(100 * after.worst_group_accuracy, 1) - round(100 * before.worst_group_accuracy, 1), 1)
    return change, difference is not None and (difference[0] > 0 or difference[1] < 0)


def headline(summary: Summary, difference: Interval) -> str:
    """Return the result in one sentence, for any outcome; ``difference`` as for `verdict`."""
    chosen, what = summary.chosen, capitalize_first(figure_name(summary.metrics))
    wga, average, name = chosen.worst_group_accuracy, chosen.average_accuracy, average_name(summary.metrics)
    if wga is None:
        known = "" if average is None else f"; the {name} of {chosen.title} is {in_words(average)}"
        return f"No group could be evaluated, so there is no worst-group accuracy{known}."
    baseline = summary.baseline
    if baseline is None:
        return f"{what} of {chosen.title} is {in_words(wga)}, {name} {in_words(average)}."
    compared = _compared(baseline, chosen, difference)
    return f"{what} {compared} {name} {in_words(baseline.average_accuracy)} → {in_words(average)}."


def figure_name(metrics: Metrics) -> str:
    """Return the name of worst-group accuracy in sentences, with the groups that it is over, if not true ones."""
    if not metrics.dataset.has_attributes:
        return "worst-class accuracy"
    factors = " and ".join(factor.name for factor in metrics.dataset.factors)
    pseudo_groups = f" over pseudo groups of {factors}" if factors else " over pseudo groups"
    groups = " over clusters" if metrics.dataset.clusters else pseudo_groups
    return f"worst-group accuracy{'' if metrics.group_kind == 'true' else groups}"


def zero_shot_line(summary: Summary) -> str:
    """Return the result without training in one sentence; "" if the headline already compares with it."""
    row = summary.zero_shot
    if row is None or row is summary.baseline:
        return ""
    wga, average = row.worst_group_accuracy, row.average_accuracy
    figures = f"worst group {in_words(wga)}, {average_name(summary.metrics)} {in_words(average)}"
    return f"Without any training (zero-shot): {figures}."


def average_name(metrics: Metrics) -> str:
    """Return the name of the average in sentences: the adjusted one can differ much from the plain one."""
    return "adjusted average" if metrics.average == "adjusted" else "average"


def _compared(baseline: Row[RunRow], chosen: Row[RunRow], difference: Interval) -> str:
    before, after = baseline.worst_group_accuracy, chosen.worst_group_accuracy
    change, is_clear = _change(baseline, chosen, difference)
    if not change:
        return f"is {in_words(after)} with both {baseline.title} and {chosen.title},"
    by = f"{signed_points(change / 100)} points"
    if difference is not None:
        by += f" [{points(difference[0])},\u00a0{points(difference[1])}]"
    if not is_clear:
        both = f"{in_words(after)} ({chosen.title}) against {in_words(before)} ({baseline.title})"
        return f"is {both}: {by}, maybe by chance;"
    verb = "rose" if change > 0 else "fell"
    return f"{verb} from {in_words(before)} ({baseline.title}) to {in_words(after)} ({chosen.title}): {by};"


MOST_ROWS = 200
"""If there are more groups, the tables show the ones with the lowest accuracy."""
SOURCES = {None: "none", "pseudo": "pseudo attributes", "true": "true attributes (an oracle)"}
APPLICATIONS = {None: "none", "loss": "in the loss", "sampling": "by sampling"}
TRAINED = {
    "prompt": "the prompt, which are the words around the class names",
    "linear": "a linear layer on CLIP's features",
    "adapter": "an adapter on CLIP's features",
}


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """The content of the page of a run: its metrics, their charts, and the findings in its images.

    ``judged`` are the metrics over the `judged_factors`, for verdict and headline. ``mistakes`` of the chosen row in
    its worst group are None without images. ``examples`` of each group have the predictions of the first and of the
    chosen row, and ``confusions`` are their confusion counts (C, C). ``command`` made the run, ``label_command`` is the
    next step. ``difference`` is the 95 % interval of the chosen row's worst-group accuracy minus that of the strongest
    other one in ``judged``, on the same images.
    """

    metrics: RunMetrics
    judged: RunMetrics
    charts: Mapping[str, Chart | None]
    mistakes: list[Mistake] | None
    sheets: GuessSheets
    examples: list[GroupExamples]
    confusions: list[NDArray[np.int64]]
    words: Entries
    settings: Entries
    command: str
    label_command: str
    difference: tuple[float, float] | None


def render_report(page: RunPage) -> str:
    """Return the HTML page of a run."""
    metrics, charts = page.metrics, page.charts
    summary, judged, guesses = summarize(metrics), summarize(page.judged), page.sheets.guesses
    colors, quality, classes = row_colors(summary.rows), metrics.pseudo_quality, metrics.dataset.classes
    accuracies = [chosen_accuracy(summary, g) for g in range(len(metrics.dataset.groups))]
    shown = metrics.dataset.shown_groups
    context = vars(page) | {
        "summary": summary,
        "split_name": SPLIT_NAMES[summary.split],
        "verdict": verdict(judged, guesses, page.difference),
        "warnings": summary.other_warnings,
        "headline": headline(judged, page.difference),
        "groups_line": groups_line(metrics),
        "shots_text": shots_text(metrics),
        "average_note": average_note(metrics.average),
        "zero_shot_line": zero_shot_line(judged),
        "titled": [(row.title, row) for row in summary.rows],
        "doubted_factors": doubted_factors(guesses, metrics),
        "rows": list(zip(summary.rows, colors, strict=True)),
        "tabled": sorted([g for g in worst_first(accuracies) if g in shown][:MOST_ROWS]),
        "num_groups": len(shown),
        "bars": charts["accuracy"],
        "narrow_bars": narrow_chart(summary),
        "shows_images": page.mistakes is not None,
        "compared": [summary.rows[0].title, summary.chosen.title],
        "confusions": [confusions(counts, classes) for counts in page.confusions],
        "weights": charts["weights"],
        "p_true": charts["probability"],
        "validation": charts["validation"],
        "validation_title": validation_title(metrics),
        "quality": quality if quality and quality.smallest_group is not None else None,
        "true_uses": _true_uses(summary),
        "selected_by": selected_by(metrics),
        "pseudo_selects": metrics.dataset.has_attributes and metrics.model_selection in PSEUDO_SELECTIONS,
        "cluster_note": cluster_note(metrics),
        "how_trained": _how_trained(summary),
        "entries": [*_settings(summary), *page.words],
        "most_bars": MOST_BARS if len(shown) > MOST_BARS else None,
        "most_curves": MOST_CURVES if len(shown) > MOST_CURVES else None,
    }
    return render("run.html.j2", **context)


def _how_trained(summary: Summary) -> str:
    """Return sentences about the training of the chosen row and the choice of its epoch."""
    record, title = summary.chosen.record, summary.chosen.title
    told = f"Training ({title}) tunes {TRAINED.get(str(record.head), f'the head {record.head}')}"
    if record.group_source is not None:
        told += f", and weighs the images by class · attribute group, by the {SOURCES[record.group_source]}"
    if any(row.record.name == "erm" for row in summary.others):
        told += "; ERM is plain training, without such weights"
    if record.epochs < 2:
        return told
    if summary.metrics.model_selection == "last":
        return f"{told}. Of all epochs, the one kept is the last one"
    figure, over, _ = selecting_figure(summary.metrics)
    return f"{told}. Of all epochs, the one kept is the one with the highest {figure} on the validation images{over}"


def _true_uses(summary: Summary) -> str:
    """Return the uses of true attributes. A run without an oracle setting only measures with them."""
    uses = ["this table", "the metrics"] if summary.metrics.group_kind == "true" else ["this table"]
    if summary.metrics.model_selection in TRUE_SELECTIONS:
        uses.append("model selection (as requested)")
    oracles = [row.title for row in summary.rows if row.record.group_source == "true"]
    if oracles:
        uses.append(f"the training of {' and '.join(oracles)} (as requested)")
    return ", ".join(uses)


def _settings(summary: Summary) -> list[tuple[str, str]]:
    metrics, record = summary.metrics, summary.chosen.record
    return [
        ("Data", metrics.dataset.root),
        ("Backbone", metrics.backbone.model),
        ("Weights", str(metrics.backbone.pretrained)),
        ("Width of the features", str(metrics.backbone.embed_dim)),
        ("Image tower", metrics.backbone.image_tower),
        ("Head", str(record.head)),
        ("Objective", summary.chosen.title),
        ("Weights applied", APPLICATIONS[record.apply]),
        ("Groups trained on", SOURCES[record.group_source]),
        ("Pseudo attributes by", pseudo_text(metrics)),
        ("Best epoch by", selected_by(metrics)),
        ("Seed", str(metrics.seed)),
        ("Images that could not be read", str(metrics.failed_images)),
        ("Time", ", ".join(f"{name} {seconds:.1f} s" for name, seconds in metrics.seconds.items())),
    ]
