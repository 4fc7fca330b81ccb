"""The result of a run in sentences, for readers who know neither dbpt nor the data."""

from collections.abc import Sequence
from typing import NamedTuple

from dbpt.groups import Group, group_name
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.factors import nothing_is_trusted
from dbpt.report.summary import Row, Summary
from dbpt.report.text import in_words, points
from dbpt.runs.metrics import Metrics, RunRow

METHODS = {"zero-shot": "zero-shot CLIP", "erm": "plain training (ERM)"}


class Verdict(NamedTuple):
    """The result in a few words and in two sentences; ``kind`` is also the name of its style."""

    kind: str
    title: str
    sentence: str


Interval = tuple[float, float] | None


def verdict(summary: Summary, guesses: Guesses, difference: Interval) -> Verdict:
    """Return how biased the strongest other row is, and what the training of the chosen row changed.

    The figures are those over the `judged_factors`. ``difference`` is the 95 % interval of the change of worst-group
    accuracy, on the same images.
    """
    chosen, before = summary.chosen, summary.baseline
    doubts = doubts_in_words(guesses, summary.metrics)
    if doubts and nothing_is_trusted(guesses):
        what = "clusters" if guesses.by_clusters else "guesses"
        sentence = f"{doubts}, so nothing follows about a bias or its reduction."
        return Verdict("untrusted", f"The {what} can’t be trusted", sentence)
    if before is None or _worst(chosen) is None:
        return Verdict("nothing-to-compare", "Nothing to compare", headline(summary, difference))
    source = "the attribute comes from a file" if guesses.from_file else "the attribute is guessed"
    needs_source = summary.metrics.group_kind == "pseudo" and not guesses.by_clusters
    bias, is_biased = _bias(before, f" ({source})" if needs_source else "")
    group = "group" if summary.metrics.dataset.has_attributes else "class"
    kind, title, effect = _effect(_change(before, chosen, difference), chosen, is_biased, group)
    untold = f" {doubts}, so nothing follows about a bias there." if doubts else ""
    return Verdict(kind, title, f"{bias} {effect}{untold}")


def doubts_in_words(guesses: Guesses, metrics: Metrics) -> str:
    """Return a sentence, without its full stop, about the guesses that can't be trusted; "" if no figure needs them."""
    if not guesses.doubts or metrics.group_kind == "true":
        return ""
    if guesses.by_clusters:
        return "Some classes may form no distinct clusters"
    doubted = [f"{' / '.join(each.values)} ({each.name})" for each in guesses.factors if each.doubts]
    names = " and ".join(doubted) or " / ".join(metrics.dataset.attributes)
    if guesses.by_probe:
        return f"The probe’s guesses of {names} can’t be trusted"
    return f"CLIP can’t tell {names} apart in these images"


def _bias(row: Row[RunRow], source: str) -> tuple[str, bool]:
    """Return a sentence about the worst group of a row, and whether another group of its class is clearly better."""
    worst, method = _worst(row), METHODS.get(row.record.name, row.title)
    assert worst is not None
    in_class = [each for each in row.groups if each.class_name == worst.class_name and each.accuracy is not None]
    best, right = max(in_class, key=lambda each: each.accuracy or 0.0), in_words(worst.accuracy)
    if not worst.attribute:
        return f"{method[0].upper()}{method[1:]} gets {right} right in its worst class, {worst.class_name}.", False
    if (best.low or 0.0) > (worst.high or 1.0):
        found = f"{right} right with “{worst.attribute}”, but {in_words(best.accuracy)} with “{best.attribute}”"
        return f"Of the class “{worst.class_name}”, {method} gets {found}{source}.", True
    return f"{method[0].upper()}{method[1:]} gets {right} right in its worst group, {_name(worst)}{source}.", False


def _effect(found: tuple[float, bool], after: Row[RunRow], was_biased: bool, group: str) -> tuple[str, str, str]:
    """Return the kind and title of the verdict, and a sentence about what training changed, by `_change`."""
    worst, (change, is_clear) = _worst(after), found
    assert worst is not None
    training, right = f"Training with {after.title}", f"{in_words(worst.accuracy)} right"
    if not change:
        return "unchanged", "No change", f"{training} changes nothing: {right} in {_name(worst)}."
    if not is_clear:
        now = f"After training with {after.title} the worst {group} is {_name(worst)} with {right}"
        return "unchanged", "No clear change", f"{now}; chance alone may be the reason."
    if change < 0:
        return "bias", "Worse than before", f"{training} makes it worse: {right} in {_name(worst)}."
    at_least = f"it gets at least {right} in every {group} (worst: {_name(worst)})."
    if was_biased:
        return "improved", "Bias reduced", f"{training} reduces this bias: {at_least}"
    return "improved", f"Worst {group} improved", f"{training} helps: {at_least}"


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
    chosen, what = summary.chosen, "Worst-group accuracy"
    if not summary.metrics.dataset.has_attributes:
        what = "Worst-class accuracy"
    else:
        what += over_pseudo_groups(summary.metrics)
    wga, average, name = chosen.worst_group_accuracy, chosen.average_accuracy, average_name(summary.metrics)
    if wga is None:
        known = "" if average is None else f"; the {name} of {chosen.title} is {in_words(average)}"
        return f"No group could be evaluated, so there is no worst-group accuracy{known}."
    baseline = summary.baseline
    if baseline is None:
        return f"{what} of {chosen.title} is {in_words(wga)}, {name} {in_words(average)}."
    compared = _compared(baseline, chosen, difference)
    return f"{what} {compared} {name} {in_words(baseline.average_accuracy)} → {in_words(average)}."


def without_doubts(warnings: Sequence[str], guesses: Guesses) -> list[str]:
    """Return the warnings that don't repeat the doubts about the guesses, which pages show in a box of their own."""
    told = [doubt for factor in guesses.factors for doubt in factor.doubts] or guesses.doubts
    return [text for text in warnings if not any(doubt in text for doubt in told)]


def over_pseudo_groups(metrics: Metrics) -> str:
    """Return words to put after a figure over pseudo groups; "" over true groups."""
    if metrics.group_kind == "true":
        return ""
    factors = " and ".join(factor.name for factor in metrics.dataset.factors)
    pseudo_groups = f" over pseudo groups of {factors}" if factors else " over pseudo groups"
    return " over clusters" if metrics.dataset.clusters else pseudo_groups


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
    by = f"{change:+.1f}".replace("-", "−") + " points"
    if difference is not None:
        by += f" [{points(difference[0])},\u00a0{points(difference[1])}]"
    if not is_clear:
        both = f"{in_words(after)} ({chosen.title}) against {in_words(before)} ({baseline.title})"
        return f"is {both}: {by}, maybe by chance;"
    verb = "rose" if change > 0 else "fell"
    return f"{verb} from {in_words(before)} ({baseline.title}) to {in_words(after)} ({chosen.title}): {by};"
