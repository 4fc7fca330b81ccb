"""The verdict on a run or a comparison, in sentences."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from dbpt.evaluation import Group
from dbpt.evaluation.results import Metrics
from dbpt.groups import group_name
from dbpt.guesses.trust import Guesses
from dbpt.report.sections import Section, section
from dbpt.report.summary import Row, Summary
from dbpt.report.text import capitalize_first, in_words, points, signed_interval, signed_points
from dbpt.report.verdicts import distrust

METHODS = {"zero-shot": "zero-shot CLIP", "erm": "plain training (ERM)"}


class Outcome(NamedTuple):
    """The result in a few words and in two sentences; ``kind`` is also the name of its style."""

    kind: Literal["untrusted", "nothing-to-compare", "unchanged", "improved", "bias"]
    title: str
    sentence: str


def outcome_of(summary: Summary, guesses: Guesses) -> Outcome:
    """Return the verdict on a run or on a comparison; the figures are those over the `judged_factors`.

    That on a run says how biased the row to compare with is, and what the training of the chosen row changed; that on a
    comparison what the intervals prove about the difference of the chosen row to ERM.
    """
    chosen, before, is_run = summary.chosen, summary.reference, summary.metrics.saved is not None
    follows = ("the figures by group prove nothing", "nothing is proven about these groups")
    if is_run:
        follows = ("nothing follows about a bias or its reduction", "nothing follows about a bias there")
    untrusted, doubts = by_doubts(guesses, summary.metrics, *follows)
    if untrusted is not None:
        return untrusted
    outcome = None
    if before is not None and chosen.worst is not None:
        outcome = _of_training(before, chosen, guesses) if is_run else _against_erm(before, chosen)
    if outcome is None:
        return Outcome("nothing-to-compare", "Nothing to compare", alone(chosen))
    return outcome._replace(sentence=outcome.sentence + doubts)


def by_doubts(guesses: Guesses, metrics: Metrics, about_all: str, about_some: str) -> tuple[Outcome | None, str]:
    """Return the outcome if no guess can be trusted, and else a sentence about those that can't, "" if all can.

    ``about_all`` and ``about_some`` are what follows about a figure that needs all guesses, or some of them.
    """
    if not guesses.doubts or metrics.group_kind == "true":
        return None, ""
    doubted = [f"{' / '.join(factor.values)} ({factor.name})" for factor in guesses.named if factor.doubts]
    doubts = distrust(guesses.provenance, " and ".join(doubted) or " / ".join(metrics.dataset.attributes))
    if not all(factor.doubts for factor in guesses.factors):
        return None, f" {doubts}, so {about_some}."
    what = "clusters" if guesses.provenance == "clusters" else "guesses"
    return Outcome("untrusted", f"The {what} can’t be trusted", f"{doubts}, so {about_all}."), ""


def _of_training(before: Row, chosen: Row, guesses: Guesses) -> Outcome:
    """Return how biased a run was ``before``, and what training changed."""
    metrics = chosen.metrics
    source = "the attribute comes from a file" if guesses.provenance == "file" else "the attribute is guessed"
    needs_source = metrics.group_kind == "pseudo" and guesses.provenance != "clusters"
    bias, is_biased = _bias(before, f" ({source})" if needs_source else "")
    group = "group" if metrics.dataset.has_attributes else "class"
    effect = _effect(*_change(before, chosen), chosen, is_biased, group)
    return effect._replace(sentence=f"{bias} {effect.sentence}")


def _bias(row: Row, source: str) -> tuple[str, bool]:
    """Return a sentence about the worst group of a row, and whether another group of its class is clearly better."""
    worst, method = row.worst, METHODS.get(row.method, row.title)
    assert worst is not None
    in_class = [group for group in row.groups if group.class_name == worst.class_name and group.accuracy is not None]
    best = max(in_class, key=lambda group: group.accuracy or 0.0)
    right = in_words(worst.accuracy)
    if not worst.attribute:
        return f"{capitalize_first(method)} gets {right} right in its worst class, {worst.class_name}.", False
    if (best.low or 0.0) > (worst.high or 1.0):
        both = f"{right} right with “{worst.attribute}”, but {in_words(best.accuracy)} with “{best.attribute}”"
        return f"Of the class “{worst.class_name}”, {method} gets {both}{source}.", True
    return f"{capitalize_first(method)} gets {right} right in its worst group, {_name(worst)}{source}.", False


def _effect(change: float, is_clear: bool, after: Row, was_biased: bool, group: str) -> Outcome:
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


def _change(before: Row, after: Row) -> tuple[float, bool]:
    """Return by how many points worst-group accuracy changed, and whether the interval of the change is beyond 0."""
    assert before.worst_group_accuracy is not None
    assert after.worst_group_accuracy is not None
    # The difference of the printed figures: "78.0 against 75.0, +3.1" would look wrong.
    change = round(round(100 * after.worst_group_accuracy, 1) - round(100 * before.worst_group_accuracy, 1), 1)
    images = None if after.record.difference is None else after.record.difference.over_images
    return change, images is not None and _excludes_zero(images)


def alone(row: Row) -> str:
    """Return the result of a row where no other row is there to compare with, or no group."""
    wga, average, kind = row.worst_group_accuracy, row.average_accuracy, average_name(row.metrics)
    if wga is None:
        known = "" if average is None else f"; the {kind} of {row.name} is {in_words(average)}"
        return f"No group could be evaluated, so there is no worst-group accuracy{known}."
    return f"{capitalize_first(figure_name(row.metrics))} of {row.name} is {in_words(wga)}, {kind} {in_words(average)}."


def change_of(summary: Summary) -> Section | str:
    """Return how worst-group accuracy and the average changed in a run, for any outcome."""
    before, chosen = summary.reference, summary.chosen
    if before is None or chosen.worst_group_accuracy is None:
        return alone(chosen)
    change, is_clear = _change(before, chosen)
    difference = chosen.record.difference and chosen.record.difference.over_images
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


def second_sentence(summary: Summary) -> str:
    """Return the averages behind the `verdict`, and the row with the highest worst-group accuracy if it's another."""
    chosen = summary.chosen
    texts = []
    if (erm := summary.reference) is not None and chosen.worst_group_accuracy is not None:
        name = capitalize_first(average_name(summary.metrics))
        texts.append(f"{name}: {in_words(chosen.average_accuracy)}, with ERM {in_words(erm.average_accuracy)}.")
    best = max(summary.rows, key=lambda row: row.worst_group_accuracy or 0.0)
    if (best.worst_group_accuracy or 0.0) > (chosen.worst_group_accuracy or 0.0):
        texts.append(
            f"The highest worst-group accuracy of all rows is {in_words(best.worst_group_accuracy)}, of "
            f"{best.name}; the best of several rows is partly best by chance."
        )
    return " ".join(texts)


def _against_erm(before: Row, chosen: Row) -> Outcome | None:
    """Return the outcome for the change of worst-group accuracy against ERM; None if no seed has both."""
    difference, name, what = chosen.record.difference, chosen.name, figure_name(chosen.metrics)
    change = None if difference is None else difference.figures["worst_group_accuracy"].mean
    if difference is None or change is None:
        return None
    repeats, images = difference.figures["worst_group_accuracy"].over_repeats, difference.over_images
    by_seed = ""
    seeds = [[repeat.seed for repeat in row.record.seed_repeats] for row in (chosen, before)]
    if difference.seeds == seeds[0] == seeds[1]:  # else the change isn't that of the means
        by_seed = f" (from {in_words(before.worst_group_accuracy)} to {in_words(chosen.worst_group_accuracy)})"
    interval = "" if images is None else f"; 95\u00a0% interval over images {signed_interval(images)}"
    if images is None or not _excludes_zero(images):
        amount = f"{signed_points(change)} points{by_seed}{interval}"
        words = f"No difference in {what} between {name} and ERM is proven: {amount}."
        return Outcome("unchanged", "No difference proven", words)
    other = ""
    if repeats is not None and not _excludes_zero(repeats):
        others = "training images" if chosen.metrics.draws else "seeds"
        other = f", but other {others} may disagree: {signed_interval(repeats)}"
    amount = f"{what} by {points(abs(change))} points {'over' if change > 0 else 'against'} ERM"
    details = f"{amount}{by_seed}{interval}{other}."
    if change > 0:
        return Outcome("improved", "Better than ERM", f"{name} raises {details}")
    return Outcome("bias", "Worse than ERM", f"{name} lowers {details}")


def _excludes_zero(interval: Sequence[float]) -> bool:
    return interval[0] > 0 or interval[1] < 0
