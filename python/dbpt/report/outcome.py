"""The verdict on a run or a comparison, in sentences: how biased it was before, and what training changed."""

from typing import Literal, NamedTuple

from dbpt.evaluation import Group
from dbpt.evaluation.audit import are_apart
from dbpt.evaluation.results import Metrics
from dbpt.groups import group_name
from dbpt.report.audit_sentences import distrust
from dbpt.report.sections import Section, section
from dbpt.report.summary import Row, Summary
from dbpt.report.text import capitalize_first, coded_in_words, in_words

METHODS = {"zero-shot": "zero-shot CLIP", "erm": "plain training (ERM)"}


class Outcome(NamedTuple):
    """The result in a few words and in two sentences; ``kind`` is also the name of its style."""

    kind: Literal["untrusted", "nothing-to-compare", "unchanged", "improved", "bias"]
    title: str
    sentence: str


def outcome_of(summary: Summary) -> Outcome:
    """Return the verdict on a run or a comparison; the figures are those over the `judged_factors`.

    It says how biased the row to compare with is, and what the training of the chosen row changed.
    """
    chosen, before, metrics = summary.chosen, summary.reference, summary.metrics
    untrusted, doubts = by_doubts(metrics)
    if untrusted is not None:
        return untrusted
    if before is None or before.worst is None or chosen.worst is None:
        return Outcome("nothing-to-compare", "Nothing to compare", alone(chosen))
    provenance = metrics.guesses.provenance
    source = "the attribute comes from a file" if provenance == "file" else "the attribute is guessed"
    if metrics.dataset.coded is not None:
        source = f"the attribute is {coded_in_words(metrics.dataset.coded)}"
    needs_source = metrics.group_kind == "pseudo" and provenance != "clusters"
    bias, is_biased = _bias(before, f" ({source})" if needs_source else "")
    group = "group" if metrics.dataset.has_attributes else "class"
    effect = _effect(_change(before, chosen), chosen, is_biased, group)
    return effect._replace(sentence=f"{bias} {effect.sentence}{doubts}")


def by_doubts(metrics: Metrics) -> tuple[Outcome | None, str]:
    """Return the outcome if no guess can be trusted, and else a sentence about those that can't, "" if all can."""
    guesses = metrics.guesses
    if not guesses.doubts or metrics.group_kind == "true":
        return None, ""
    doubted = [f"{' / '.join(factor.values)} ({factor.name})" for factor in guesses.named if factor.doubts]
    doubts = distrust(guesses.provenance, " and ".join(doubted) or " / ".join(guesses.values))
    if not all(factor.doubts for factor in guesses.factors):
        return None, f" {doubts}, so nothing follows about a bias there."
    what = "clusters" if guesses.provenance == "clusters" else "guesses"
    title, follows = f"The {what} can’t be trusted", "nothing follows about a bias or its reduction"
    return Outcome("untrusted", title, f"{doubts}, so {follows}."), ""


def _bias(row: Row, source: str) -> tuple[str, bool]:
    """Return a sentence about the worst group of a row, and whether another group of its class is clearly better."""
    worst, method = row.worst, METHODS.get(row.method, row.title)
    assert worst is not None
    in_class = [group for group in row.groups if group.class_name == worst.class_name and group.accuracy is not None]
    best = max(in_class, key=lambda group: group.accuracy or 0.0)
    right = in_words(worst.accuracy)
    if not worst.attribute:
        return f"{capitalize_first(method)} gets {right} right in its worst class, {worst.class_name}.", False
    if are_apart(worst, best):
        both = f"{right} right with “{worst.attribute}”, but {in_words(best.accuracy)} with “{best.attribute}”"
        return f"Of the class “{worst.class_name}”, {method} gets {both}{source}.", True
    return f"{capitalize_first(method)} gets {right} right in its worst group, {_name(worst)}{source}.", False


def _effect(change: float, after: Row, was_biased: bool, group: str) -> Outcome:
    """Return what training changed; ``change`` is that of worst-group accuracy in points."""
    worst, difference = after.worst, after.record.difference
    assert worst is not None
    how = f"{'using' if after.record.alpha == 0 else 'training with'} {after.title}"
    training, right = capitalize_first(how), f"{in_words(worst.accuracy)} right"
    if not change:
        return Outcome("unchanged", "No change", f"{training} changes nothing: {right} in {_name(worst)}.")
    if difference is None or not difference.is_clear:
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


def _change(before: Row, after: Row) -> float:
    """Return by how many points worst-group accuracy changed."""
    assert before.worst_group_accuracy is not None
    assert after.worst_group_accuracy is not None
    difference = after.record.difference
    # The difference of the printed figures: "78.0 against 75.0, +3.1" would look wrong.
    change = round(round(100 * after.worst_group_accuracy, 1) - round(100 * before.worst_group_accuracy, 1), 1)
    if difference is not None and not all(difference.seeds == row.seeds for row in (before, after)):
        change = round(100 * (difference.figures["worst_group_accuracy"].mean or 0.0), 1)  # over the seeds of both
    return change


def alone(row: Row) -> str:
    """Return the result of a row where no other row is there to compare with, or no group."""
    wga, average, kind = row.worst_group_accuracy, row.average_accuracy, average_name(row.metrics)
    if wga is None:
        known = "" if average is None else f"; the {kind} of {row.name} is {in_words(average)}"
        return f"No group could be evaluated, so there is no worst-group accuracy{known}."
    return f"{capitalize_first(figure_name(row.metrics))} of {row.name} is {in_words(wga)}, {kind} {in_words(average)}."


def leads_of(summary: Summary) -> list[Section | str]:
    """Return how worst-group accuracy and the average changed, and the best row of a comparison if it is another."""
    before, chosen, leads = summary.reference, summary.chosen, list[Section | str]()
    if before is None or before.worst is None or chosen.worst is None:
        return [alone(chosen)]
    difference = chosen.record.difference
    leads.append(
        section(
            "change",
            before=before,
            after=chosen,
            zero_shot=summary.zero_shot,
            what=figure_name(summary.metrics),
            average=average_name(summary.metrics),
            change=_change(before, chosen),
            difference=difference,
            others="training images" if summary.metrics.draws else "seeds",
        )
    )
    best = max(summary.rows, key=lambda row: row.worst_group_accuracy or 0.0)
    if summary.metrics.saved is None and (best.worst_group_accuracy or 0.0) > (chosen.worst_group_accuracy or 0.0):
        leads.append(
            f"The highest worst-group accuracy of all rows is {in_words(best.worst_group_accuracy)}, of "
            f"{best.name}; the best of several rows is partly best by chance."
        )
    return leads


def figure_name(metrics: Metrics) -> str:
    """Return the name of worst-group accuracy in sentences, with the groups that it is over, if not true ones."""
    if not metrics.dataset.has_attributes:
        return "worst-class accuracy"
    factors = " and ".join(factor.name for factor in metrics.dataset.factors)
    pseudo_groups = f" over pseudo groups of {factors}" if factors else " over pseudo groups"
    groups = " over clusters" if metrics.dataset.clusters else pseudo_groups
    if metrics.dataset.coded is not None:
        groups = f" over groups by {coded_in_words(metrics.dataset.coded)}"
    return f"worst-group accuracy{'' if metrics.group_kind == 'true' else groups}"


def average_name(metrics: Metrics) -> str:
    """Return the name of the average in sentences: the adjusted one can differ much from the plain one."""
    return "adjusted average" if metrics.average == "adjusted" else "average"
