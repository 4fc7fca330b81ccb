"""The HTML page of an audit: what its figures mean in words, and what the template lays out.

It is for readers who know neither dbpt nor statistics.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dbpt.auditing.figures import AuditedFactor, AuditedGroup, AuditFigures, Verdict
from dbpt.auditing.result import p_text
from dbpt.report.charts import (
    BAR_LETTERS,
    MOST_BARS,
    NARROW,
    NARROW_LETTERS,
    WIDTH,
    Bar,
    BarGroup,
    bar_chart,
    captioned,
)
from dbpt.report.confusion import confusions
from dbpt.report.contact_sheets import ContactSheet
from dbpt.report.drawing import Drawing
from dbpt.report.examples import GroupExamples
from dbpt.report.gallery import Mistake
from dbpt.report.guesses import GuessSheets
from dbpt.report.made_by import Entries, made_by_entries
from dbpt.report.page import MOST_ROWS
from dbpt.report.summary import SPLIT_NAMES
from dbpt.report.templates import render, sentence
from dbpt.report.text import count, count_of, in_words, interval_text, points, shorten_group
from dbpt.runs.metrics import GroupKind
from dbpt.settings.unnamed import AUTO_NOTE

NO_EVIDENCE = "This is no evidence, since the attribute can’t be trusted."
STRENGTHS = ((0.1, "almost none"), (0.3, "weak"), (0.5, "moderate"), (1.0, "strong"))
KINDS = {
    "bias": "Bias found",
    "no evidence": "No evidence of bias",
    "nothing to compare": "Nothing to compare",
    "untrusted": "The guesses can’t be trusted",
}


class FactorPart(NamedTuple):
    """The part of the page about one of several factors; its ``groups`` are sorted, worst first."""

    name: str
    verdict: Verdict
    groups: list[AuditedGroup]
    chart: Drawing | None
    narrow_chart: Drawing | None
    note: str
    group_kind: GroupKind


class Number(NamedTuple):
    """A figure with its name, and a sentence that says what it means; grey if it says nothing about the attribute."""

    name: str
    value: str
    interval: str
    meaning: str
    is_muted: bool = False


def render_audit(
    figures: AuditFigures,
    sheets: list[ContactSheet] | None,
    mistakes: list[Mistake] | None = None,
    examples: list[GroupExamples] | None = None,
) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``sheets`` are the contact sheets of the pseudo-groups, and ``mistakes`` the surest ones in the group that the
    verdict names, or else in the worst one; ``examples`` are images of every group with their predictions. All are None
    if there are no images.
    """
    groups = [group for group in figures.groups if group.n or not figures.factors]
    groups = sorted(groups, key=lambda group: (group.accuracy is None, group.accuracy))
    named = None if figures.verdict.group is None else figures.groups[figures.verdict.group]
    return render(
        "auditing/audit.html.j2",
        figures=figures,
        kind=KINDS[figures.verdict.kind],
        audited=_audited(figures),
        searched=[note.removeprefix(AUTO_NOTE) for note in figures.data.notes if note.startswith(AUTO_NOTE)],
        warnings=list(dict.fromkeys(map(sentence, [*figures.warnings, *figures.metrics.warnings]))),
        groups=groups,
        factors=[_factor_part(factor) for factor in figures.factors],
        suspects=[factor.name for factor in figures.factors] or figures.data.attributes,
        untrusted=[factor.name for factor in figures.factors if factor.verdict.kind == "untrusted"],
        worst=_worst(figures),
        named=named,
        chart=_chart(groups, named, BAR_LETTERS, WIDTH),
        narrow_chart=_chart(groups, named, NARROW_LETTERS, NARROW),
        has_confidence=any(group.confidence is not None for group in groups),
        most_bars=MOST_BARS,
        most_rows=MOST_ROWS,
        numbers=_numbers(figures),
        confusions=confusions(figures.confusion, figures.data.classes),
        guessed_images=GuessSheets(
            figures.guesses,
            _guessed_words(figures),
            sheets,
            [(each.class_name, each.attribute, each.share or 0.0) for each in sheets or []],
        ),
        mistakes=mistakes,
        entries=_entries(figures),
        examples=examples,
    )


def _guessed_words(figures: AuditFigures) -> dict[str, list[str]]:
    """Return the wordings of the attributes, or of each value of several factors."""
    names = [f"{factor.name}: {value}" for factor in figures.factors for value in factor.values]
    return {name: figures.words.get(name, [name]) for name in names or figures.data.attributes}


def _factor_part(factor: AuditedFactor) -> FactorPart:
    groups = sorted(factor.groups, key=lambda group: group.correct / group.n)
    notes = [] if factor.cramers_v is None else [f"Association with the class (Cramér’s V): {factor.cramers_v:.2f}."]
    tests = (
        (factor.explained, f"Errors explained by {factor.name} within the classes", ", adjusted for the suspects"),
        (factor.explained_beyond, "The same among images that agree in the others whose guesses are trusted", ""),
    )
    for test, what, adjusted in tests if factor.verdict.kind != "untrusted" else ():
        if test is not None and test.share is not None and test.p_value is not None:
            notes.append(f"{what}: {in_words(test.share)} ({p_text(test)}{adjusted}).")
    marked = groups[0] if factor.verdict.kind == "bias" else None
    chart, narrow = _chart(groups, marked, BAR_LETTERS, WIDTH), _chart(groups, marked, NARROW_LETTERS, NARROW)
    return FactorPart(factor.name, factor.verdict, groups, chart, narrow, " ".join(notes), factor.group_kind)


def _entries(figures: AuditFigures) -> Entries:
    """Return the data, backbone, words and settings."""
    failed = figures.data.failed_images
    more = f"; {count(failed)} more could not be read" if failed else ""
    backbone = figures.backbone
    weights = backbone.pretrained or "no pretrained tag"
    return [
        ("Data", figures.data.root),
        ("Images", f"{count(figures.data.n)}, split: {figures.data.split}{more}"),
        (
            "Backbone",
            f"{backbone.model}, {weights}, {backbone.embed_dim} features; image tower: {backbone.image_tower}",
        ),
        ("Pseudo attributes by", figures.guesses.method),
        *made_by_entries(figures.words.items(), figures.templates, figures.attribute_templates, figures.settings),
    ]


def _audited(figures: AuditFigures) -> str:
    """Return a sentence that says what was audited, on which images, in which groups."""
    names = [figures.backbone.model, figures.backbone.pretrained]
    backbone = " · ".join(Path(name).name for name in names if name)
    classifier = {
        "zero-shot": f"zero-shot CLIP ({backbone})",
        "run": f"the classifier of the run {figures.predictions_from}",
        "file": f"the predictions in {figures.predictions_from}",
        "probe": "a plain linear probe, which shows what ordinary training would learn from these images",
    }[figures.predictions_by]
    split = "" if figures.data.split == "all" else f"{SPLIT_NAMES[figures.data.split]} "
    guessed, given = f"{figures.guesses.guesser} guessed the attribute", "the attribute is given with the data"
    source = guessed if figures.group_kind == "pseudo" else given
    if figures.group_kind == "pseudo" and figures.guesses.from_file:
        source = f"the attribute comes from {figures.settings['pseudo_attributes']}"
    if known := figures.known_factors:
        source = f"the values of {' and '.join(known)} are given with the data; for the others, {source}"
    suspects = " and ".join(factor.name for factor in figures.factors) or "the attribute"
    group = f"A group is a class with one value of {suspects}"
    images = f"{count(figures.data.n)} {split}image{'s' if figures.data.n != 1 else ''}"
    if figures.by_clusters:
        return f"Audited: {classifier}, on {images}. A group is a cluster of the images of a class; nobody named it."
    return f"Audited: {classifier}, on {images}. {group}, and {source}."


def _worst(figures: AuditFigures) -> AuditedGroup | None:
    return None if figures.metrics.worst_group is None else figures.groups[figures.metrics.worst_group]


def audit_figures(figures: AuditFigures) -> dict[str, Drawing | None]:
    """Return the charts of the page, by name, as files need them; those of factors have their number."""
    groups = sorted(figures.groups, key=lambda group: (group.accuracy is None, group.accuracy))
    named = None if figures.verdict.group is None else figures.groups[figures.verdict.group]
    found = {"accuracy": _figure(_chart(groups, named, BAR_LETTERS, WIDTH), is_marked=named is not None)}
    for number, part in enumerate(map(_factor_part, figures.factors), 1):
        titled = part.chart and replace(part.chart, description=f"{part.name}: {part.chart.description}")
        found[f"accuracy_factor-{number}"] = _figure(titled, is_marked=part.verdict.kind == "bias")
    return found


def _figure(chart: Drawing | None, *, is_marked: bool) -> Drawing | None:
    legend = [("row-erm", "the group that the verdict is about"), ("row-chosen", "other groups")]
    return chart and captioned(chart, legend if is_marked else ())


def _chart(groups: Sequence[AuditedGroup], marked: AuditedGroup | None, letters: int, width: int) -> Drawing | None:
    """Draw the groups with images, the worst ones if they are many."""
    bars = []
    for group in [group for group in groups if group.n][:MOST_BARS]:
        style, names = "row-erm" if group == marked else "row-chosen", (group.class_name, group.attribute)
        bar = Bar(style, "accuracy", group.accuracy, group.low, group.high)
        bars.append(BarGroup(" · ".join(names), shorten_group(*names, letters), f"n = {count(group.n)}", [bar]))
    what = "Accuracy of each group in per cent, with its interval, worst group first"
    return bar_chart(bars, what, width) if bars else None


def _numbers(figures: AuditFigures) -> list[Number]:
    metrics, worst = figures.metrics, _worst(figures)
    right = sum(row[y] for y, row in enumerate(figures.confusion))
    numbers = []
    if worst is not None:
        meaning = (
            f"{worst.class_name} · {worst.attribute}: {count(worst.correct)} of {count(worst.n)} images are classified "
            "correctly, the smallest share of all groups. Chance also decides which group comes out lowest, so this "
            "interval is not that of the group in the table."
        )
        interval = interval_text(metrics.worst_group_low, metrics.worst_group_high)
        interval += " for the worst group, whichever it is"
        numbers.append(Number("Worst group", in_words(worst.accuracy), interval, meaning, figures.has_doubts))
    meaning = (
        f"{count(right)} of all {count(metrics.n)} images are classified correctly. Large groups dominate this figure."
    )
    numbers.append(Number("Average", in_words(metrics.average), "", meaning))
    if metrics.adjusted_average is not None:
        meaning = "What the average would be if every group were as frequent as among the training images."
        value = in_words(metrics.adjusted_average)
        numbers.append(Number("Adjusted average", value, "", meaning, figures.has_doubts))
    gap = metrics.gap if figures.average == "plain" else metrics.adjusted_gap
    name = "average" if figures.average == "plain" else "adjusted average"
    meaning = f"How many percentage points the worst group is below the {name}, so how much that figure hides."
    numbers.append(Number("Gap", f"{points(gap)} points", "", meaning, figures.has_doubts))
    return [*numbers, *_association(figures)]


def _association(figures: AuditFigures) -> list[Number]:
    """Return the figures about class and attribute."""
    v, explained, numbers = figures.cramers_v, figures.explained, []
    what, muted = "cluster" if figures.by_clusters else "attribute", figures.has_doubts
    if v is not None:
        strength = next(name for limit, name in STRENGTHS if v <= limit)
        meaning = (
            f"How closely class and attribute go together in these images, here: {strength}. At 0 each class has the "
            "same mix of attributes; at 1 the attribute alone gives the class away, and training can use it instead."
        )
        if figures.training_cramers_v is not None and figures.data.split != "train":
            meaning += f" Among the training images of these data it is {figures.training_cramers_v:.2f}."
        numbers.append(Number("Association (Cramér’s V)", f"{v:.2f}", "", meaning, figures.has_doubts))
    if explained is not None and explained.share is not None:
        meaning = (
            f"This part of {count_of(explained.errors, 'error')} would not occur if, in each class, the classifier "
            "were as good in every group as in its best one. The part that chance alone would give is subtracted."
        )
        meaning = NO_EVIDENCE if muted else meaning
        numbers.append(Number(f"Errors explained by the {what}", in_words(explained.share), "", meaning, muted))
    if explained is not None and explained.p_value is not None:
        meaning = (
            f"The {what}s were shuffled {count(explained.permutations)} times within each class. This is how often "
            "they then explained as many errors by pure chance. A small figure (below 0.05) is evidence that the "
            f"{what} matters; a large one is no evidence, which doesn’t prove that it doesn’t matter."
        )
        meaning = NO_EVIDENCE if muted else meaning
        numbers.append(Number("p-value", p_text(explained), "", meaning, muted))
    return numbers
