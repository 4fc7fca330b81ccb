"""The result of a run in sentences, for readers who know neither dbpt nor the data."""

from typing import Literal, NamedTuple

from dbpt.groups import Group, group_name
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.factors import nothing_is_trusted
from dbpt.report.guesses import distrust
from dbpt.report.summary import Row, Summary
from dbpt.report.templates import capitalize_first
from dbpt.report.text import in_words, points, signed_points
from dbpt.runs.metrics import Metrics, RunRow

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
