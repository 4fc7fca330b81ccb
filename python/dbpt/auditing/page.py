"""The HTML page of an audit, and what its figures mean in words."""

from collections.abc import Mapping, Sequence
from math import isclose
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.figures import AuditedFactor, AuditFigures, Verdict
from dbpt.auditing.next_step import UNRELATED
from dbpt.auditing.result import audit_figures, group_chart, p_text
from dbpt.groups import Group
from dbpt.groups.accuracy import worst_first
from dbpt.report.charts import MOST_BARS, NARROW, NARROW_LETTERS, Chart
from dbpt.report.guesses import Entries, GuessSheets, audited_entries, made_by_entries
from dbpt.report.page import MOST_ROWS
from dbpt.report.pictures import ContactSheet, GroupExamples, Mistake
from dbpt.report.summary import SPLIT_NAMES
from dbpt.report.tables import confusions
from dbpt.report.text import count, count_of, in_words, interval_text, points, render, sentence, share_in_words
from dbpt.runs.metrics import GroupKind

NO_BREAK = "\u00a0"
NO_EVIDENCE = "This is no evidence, since the attribute can’t be trusted."
CLEAR = 0.3
"""From this association on, training can use the attribute instead of the class."""
STRENGTHS = ((UNRELATED, "almost none"), (0.3, "weak"), (0.5, "moderate"), (1.0, "strong"))


class Number(NamedTuple):
    """A figure with its name, and a sentence that says what it means; grey if it says nothing about the attribute."""

    name: str
    value: str
    interval: str
    meaning: str
    is_muted: bool = False


def numbers_of(figures: AuditFigures) -> list[Number]:
    """Return the figures of an audit with their meanings, in the order of the page."""
    metrics, worst = figures.metrics, figures.worst_group
    right = sum(taken.get(name, 0) for name, taken in figures.confusion.items())
    numbers = []
    interval = interval_text(metrics.worst_group_low, metrics.worst_group_high)
    whichever = f"Whichever group is really the worst, its accuracy is in {interval.replace(' ', NO_BREAK)}."
    if worst is not None:
        meaning = (
            f"{worst.class_name} · {worst.attribute}: {count(worst.correct)} of {count(worst.n)} images are classified "
            f"correctly, the smallest share of all groups. {whichever}"
        )
        numbers.append(Number("Worst group", in_words(worst.accuracy), interval, meaning, figures.has_doubts))
    elif figures.is_flawless:
        numbers.append(Number("Each group", in_words(1.0), interval, f"No group has an error. {whichever}"))
    meaning = (
        f"{count(right)} of all {count(metrics.n)} images are classified correctly. Large groups dominate this figure."
    )
    numbers.append(Number("Average", in_words(metrics.average), "", meaning))
    if has_adjusted(figures):
        meaning = "What the average would be if every group were as frequent as among the training images."
        value = in_words(metrics.adjusted_average)
        numbers.append(Number("Adjusted average", value, "", meaning, figures.has_doubts))
    is_adjusted = figures.average == "adjusted" and has_adjusted(figures)
    gap, name = (metrics.adjusted_gap, "adjusted average") if is_adjusted else (metrics.gap, "average")
    if not figures.is_flawless:
        meaning = f"How many percentage points the worst group is below the {name}, so how much that figure hides."
        numbers.append(Number("Gap", f"{points(gap)} points", "", meaning, figures.has_doubts))
    return [*numbers, *_association(figures)]


def _association(figures: AuditFigures) -> list[Number]:
    """Return the figures about class and attribute."""
    v, explained, numbers = figures.cramers_v, figures.explained, []
    what, muted = "cluster" if figures.by_clusters else "attribute", figures.has_doubts
    if v is not None:
        numbers.append(Number("Association (Cramér’s V)", f"{v:.2f}", "", _association_text(figures, v), muted))
    if explained is not None and explained.share is not None:
        meaning = (
            f"This part of {count_of(explained.errors, 'error')} would not occur if, in each class, the classifier "
            "were as good in every group as in its best one. With 95 % confidence the part is in the interval."
        )
        meaning = NO_EVIDENCE if muted else meaning
        interval = interval_text(explained.share_low, explained.share_high)
        numbers.append(Number(f"Errors explained by the {what}", in_words(explained.share), interval, meaning, muted))
    if explained is not None and explained.p_value is not None:
        meaning = (
            f"The {what}s were shuffled {count(explained.permutations)} times within each class. This is how often "
            "they then explained as many errors by pure chance. A small figure (below 0.05) is evidence that the "
            f"{what} matters. A large p-value means: no difference was seen, perhaps because there are too few images."
        )
        if figures.data.is_searched:
            meaning += " Here it is too small, since a search chose the attribute on these images: test it on others."
        meaning = NO_EVIDENCE if muted else meaning
        numbers.append(Number("p-value", p_text(explained), "", meaning, muted))
    return numbers


def _association_text(figures: AuditFigures, v: float) -> str:
    """Return what Cramér's ``v`` means here, and for training, which may have seen another value."""
    strength = next(name for limit, name in STRENGTHS if v <= limit)
    text = (
        f"How closely class and attribute go together in these images, here: {strength}. At 0 each class has the same "
        "mix of attributes; at 1 the attribute alone gives the class away."
    )
    text += "" if v >= CLEAR else " The classes have a similar mix of attributes in these images."
    trained = figures.training_cramers_v
    if trained is None or figures.data.split == "train":
        return text + (" Training on them can use the attribute instead of the class." if v >= CLEAR else "")
    text += f" Training sees the training images, where it is {trained:.2f}"
    return text + (": it can use the attribute instead of the class." if trained >= CLEAR else ".")


def has_adjusted(figures: AuditFigures) -> bool:
    """Return whether there is an adjusted average that can differ from the plain one.

    If the training images are audited, all of them, the two are equal.
    """
    adjusted, plain = figures.metrics.adjusted_average, figures.metrics.average
    of_training = figures.data.split == "train" or not figures.data.is_divided
    return adjusted is not None and not (of_training and plain is not None and isclose(adjusted, plain))


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
    groups: list[Group]
    chart: Chart | None
    narrow_chart: Chart | None
    note: str
    group_kind: GroupKind


def _kind(figures: AuditFigures) -> str:
    """Return the kind of the verdict and how large a bias is.

    A bias is only possible if another factor, in doubt, may be the reason.
    """
    others = [factor.verdict for factor in figures.factors if factor.verdict.kind == "untrusted"]
    is_possible = figures.verdict.kind == "bias" and any(verdict.doubts for verdict in others)
    if is_possible:
        return "Possible bias"
    size, explained = figures.verdict.size, figures.explained
    if size is None:
        return KINDS[figures.verdict.kind]
    share = None if explained is None or figures.factors else explained.share
    return f"{size.capitalize()} bias found" + ("" if share is None else f": {in_words(share)} of the errors")


def render_audit(
    figures: AuditFigures,
    sheets: list[ContactSheet] | None,
    mistakes: list[Mistake] | None = None,
    examples: list[GroupExamples] | None = None,
    charts: Mapping[str, Chart | None] | None = None,
) -> str:
    """Return the page, one self-contained HTML file without scripts.

    ``sheets`` are the contact sheets of the pseudo-groups, and ``mistakes`` the surest ones in the group that the
    verdict names, or else in the worst one; ``examples`` are images of every group with their predictions. All are None
    if there are no images. ``charts`` are the `audit_figures`, if they are drawn already.
    """
    charts, groups = charts or audit_figures(figures), worst_first(figures.groups)
    named = figures.named_group
    return render(
        "audit.html.j2",
        figures=figures,
        kind=_kind(figures),
        audited=_audited(figures),
        warnings=list(dict.fromkeys(map(sentence, [*figures.warnings, *figures.metrics.warnings]))),
        groups=groups,
        factors=[_factor_part(factor, charts[f"accuracy_factor-{i}"]) for i, factor in enumerate(figures.factors, 1)],
        suspects=[factor.name for factor in figures.factors] or figures.data.attributes,
        untrusted=[factor.name for factor in figures.factors if factor.verdict.kind == "untrusted"],
        false_positives=_false_positives(groups, figures.data.classes),
        chart=charts["accuracy"],
        narrow_chart=group_chart(groups, named, NARROW_LETTERS, NARROW),
        has_confidence=any(group.confidence is not None for group in groups),
        most_bars=MOST_BARS,
        most_rows=MOST_ROWS,
        numbers=numbers_of(figures),
        has_adjusted=has_adjusted(figures),
        confusions=confusions(_confusion_counts(figures), figures.data.classes),
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


def _confusion_counts(figures: AuditFigures) -> NDArray[np.int64]:
    """Return the images (C, C) of each class that are taken for each."""
    names = figures.data.classes
    return np.array([[figures.confusion.get(name, {}).get(other, 0) for other in names] for name in names])


def _guessed_words(figures: AuditFigures) -> dict[str, list[str]]:
    """Return the wordings of the attributes, or of each value of several factors."""
    names = [f"{factor.name}: {value}" for factor in figures.factors for value in factor.values]
    return {name: figures.words.get(name, [name]) for name in names or figures.data.attributes}


def _factor_part(factor: AuditedFactor, chart: Chart | None) -> FactorPart:
    groups = sorted(factor.groups, key=lambda group: group.correct / group.n)
    notes = [] if factor.cramers_v is None else [f"Association with the class (Cramér’s V): {factor.cramers_v:.2f}."]
    tests = (
        (
            factor.explained,
            f"Errors explained by {factor.name} within the classes",
            ", adjusted for several attributes",
        ),
        (factor.explained_beyond, "The same among images that agree in the others whose guesses are trusted", ""),
    )
    for test, what, adjusted in tests if factor.verdict.kind != "untrusted" else ():
        if test is not None and test.share is not None and test.p_value is not None:
            notes.append(f"{what}: {share_in_words(test)} ({p_text(test)}{adjusted}).")
    marked = groups[0] if factor.verdict.kind == "bias" else None
    narrow = group_chart(groups, marked, NARROW_LETTERS, NARROW)
    return FactorPart(factor.name, factor.verdict, groups, chart, narrow, " ".join(notes), factor.group_kind)


def _entries(figures: AuditFigures) -> Entries:
    """Return the data, backbone, words and settings."""
    return [
        *audited_entries(figures.data, figures.backbone),
        ("Pseudo attributes by", figures.guesses.method),
        *made_by_entries(figures.words.items(), figures.templates, figures.attribute_templates, figures.settings),
    ]


def _audited(figures: AuditFigures) -> str:
    """Return sentences that say what was audited, on which images, in which groups."""
    names = [figures.backbone.model, figures.backbone.pretrained]
    backbone = " · ".join(Path(name).name for name in names if name)
    classifier = {
        "zero-shot": f"zero-shot CLIP ({backbone})",
        "run": f"the classifier of the run {figures.predictions_from}",
        "file": f"the predictions in {figures.predictions_from}",
        "probe": "a plain linear probe, which shows what ordinary training would learn from these images",
    }[figures.predictions_by]
    guessed, given = f"{figures.guesses.guesser} guessed the attribute", "the attribute is given with the data"
    source = guessed if figures.group_kind == "pseudo" else given
    if figures.group_kind == "pseudo" and figures.guesses.from_file:
        source = f"the attribute comes from {figures.settings['pseudo_attributes']}"
    if known := figures.known_factors:
        source = f"the values of {' and '.join(known)} are given with the data; for the others, {source}"
    suspects = " and ".join(factor.name for factor in figures.factors) or "the attribute"
    group = f"A group is a class with one value of {suspects}"
    audited = f"Audited: {classifier}, on {_images(figures)}."
    if figures.by_clusters:
        return f"{audited} A group is a cluster of the images of a class; nobody named it."
    return f"{audited} {group}, and {source}."


def _images(figures: AuditFigures) -> str:
    """Return the number of images and their split, or that they have none."""
    data = figures.data
    if data.is_divided:
        split = "" if data.split == "all" else f"{SPLIT_NAMES[data.split]} "
        return count_of(data.n, f"{split}image")
    if figures.predictions_by in ("zero-shot", "probe"):  # which didn't learn from the images that they predict
        return count_of(data.n, "image")
    return (
        f"{count_of(data.n, 'image')}, not divided into training and test; if the classifier was trained on them, "
        "these accuracies are too good"
    )


def _false_positives(groups: Sequence[Group], classes: Sequence[str]) -> str:
    """Return an example of the column of false positives: the highest rate of a group."""
    rates = [(group.false_positive_rate, group) for group in groups if group.false_positive_rate is not None]
    if not rates:
        return ""
    rate, group = max(rates, key=lambda found: found[0])
    others = [name for name in classes if name != group.class_name]
    whose = f"of “{others[0]}”" if len(others) == 1 else "of other classes"
    return (
        f"For example, of the {count_of(group.n_others or 0, 'image')} {whose} with “{group.attribute}”, "
        f"{count(group.false_positives or 0)} {'is' if group.false_positives == 1 else 'are'} taken for "
        f"“{group.class_name}”: {in_words(rate)}, in the row {group.class_name} · {group.attribute}."
    )
