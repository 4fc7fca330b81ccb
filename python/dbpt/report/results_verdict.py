"""The verdict on a run or a comparison, in sentences: how biased it was before, and what training changed."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from dbpt.evaluation.accuracy_by_group import are_apart
from dbpt.evaluation.repeats import complexity, shared_by
from dbpt.evaluation.results import Metrics
from dbpt.evaluation.row_differences import LEAST_REPEATS
from dbpt.groups import group_name
from dbpt.report.audit_sentences import distrust
from dbpt.report.page_sections import Section, section
from dbpt.report.result_rows import Row, Summary
from dbpt.report.text import capitalize_first, coded_in_words, count_of, in_words

METHODS = {"zero-shot": "zero-shot CLIP", "erm": "plain training (ERM)"}


class Outcome(NamedTuple):
    """The result in a few words and in two sentences; ``kind`` is also the name of its style."""

    kind: Literal["untrusted", "nothing-to-compare", "unchanged", "improved", "bias"]
    title: str
    sentence: str


def outcome_of(summary: Summary) -> Outcome:
    """Return the verdict on a run or a comparison; the figures are those over the `judged_factors`.

    That on a run says how biased the row to compare with is, and what the training of the chosen row changed; that on a
    comparison names the best row, and those that can't be told from it.
    """
    untrusted, doubts = by_doubts(summary.metrics)
    if untrusted is not None:
        return untrusted
    found = best_of(summary) if len(summary.metrics.candidates) > 1 and summary.metrics.leaders else verdict_on(summary)
    return found._replace(sentence=found.sentence + doubts)


def best_of(summary: Summary) -> Outcome:
    """Return which row of a comparison has the best worst group, and which ones can't be told from it."""
    best, *tied = (summary.rows[i] for i in summary.metrics.leaders)
    has = f"{best.name} has the highest {figure_name(summary.metrics)}, {in_words(best.worst_group_accuracy)}"
    kind: Literal["improved", "unchanged"] = "improved" if summary.is_clear else "unchanged"
    if not tied:
        return Outcome(kind, "One row is best", f"{has}; every other row is clearly lower.")
    names, more = [row.name for row in tied], len(tied) - MOST_NAMED
    if more > 1:
        names[MOST_NAMED:] = [count_of(more, "other row")]
    by = " or ".join(f"the {what}" for what in summary.told_by)
    return Outcome(kind, "Several rows tie", f"{has}, but {by} can’t tell {_listed(names)} from it.")


def about_leaders(summary: Summary) -> list[str]:
    """Return how the best row of a comparison was found, and the simplest of those that can't be told from it."""
    metrics, said = summary.metrics, list[str]()
    best, leaders = summary.chosen, [summary.rows[i] for i in sorted(metrics.leaders)]
    if len(leaders) > 1:
        simplest = min(leaders, key=lambda row: complexity(row.record, metrics))
        other = f"{simplest.name}, with {in_words(simplest.worst_group_accuracy)}"
        these = f"the simplest of these {len(leaders)} rows"
        said.append(f"It is also {these}." if simplest is best else f"{capitalize_first(these)} is {other}.")
    if best.record.group_source == "true":
        said.append(f"{best.name} is an oracle, which sees true attributes in training.")
    if len(metrics.candidates) < len(metrics.rows) and any(row.varied for row in metrics.rows):
        said.append("If rows differ in settings alone, only the best on validation counts.")
    if 1 < metrics.repeats < LEAST_REPEATS:
        said.append(f"{metrics.repeats} {metrics.repeat}s are too few to test differences over them.")
    said.append(
        f"Rows are told apart by paired differences, whose intervals over {' and '.join(summary.told_by)} must "
        f"exclude 0, for all rows at once: each at {100 * shared_by(len(metrics.candidates) - 1):.4g} %, so that all "
        "hold together at 95 %; the best of several rows is partly best by chance."
    )
    return said


MOST_NAMED = 6


def _listed(names: Sequence[str]) -> str:
    """Return names in a sentence; those with a head or settings have commas."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def verdict_on(summary: Summary) -> Outcome:
    """Return how biased the row to compare with is, and what the training of the chosen row changed."""
    chosen, before, metrics = summary.chosen, summary.reference, summary.metrics
    if before is None or before.worst is None or chosen.worst is None:
        return Outcome("nothing-to-compare", "Nothing to compare", alone(chosen))
    provenance = metrics.guesses.provenance
    source = "the attribute comes from a file" if provenance == "file" else "the attribute is guessed"
    if metrics.dataset.coded is not None:
        source = f"the attribute is {coded_in_words(metrics.dataset.coded)}"
    needs_source = metrics.group_kind == "pseudo" and provenance != "clusters"
    bias, is_biased = _bias(before, f" ({source})" if needs_source else "")
    group = "group" if metrics.dataset.has_attributes else "class"
    effect = _effect(_change(before, chosen), chosen, is_biased, group, is_clear=summary.is_clear)
    return effect._replace(sentence=f"{bias} {effect.sentence}")


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
    return f"{capitalize_first(method)} gets {right} right in its worst group, {_worst_of(row)}{source}.", False


def _effect(change: float, after: Row, was_biased: bool, group: str, *, is_clear: bool) -> Outcome:
    """Return what training changed; ``change`` is that of worst-group accuracy in points."""
    worst = after.worst
    assert worst is not None
    how = f"{'using' if after.record.alpha == 0 else 'training with'} {after.title}"
    training, right = capitalize_first(how), f"{in_words(worst.accuracy)} right"
    if not change:
        return Outcome("unchanged", "No change", f"{training} changes nothing: {right} in {_worst_of(after)}.")
    if not is_clear:
        now = f"After {how} the worst {group} is {_worst_of(after)} with {right}"
        return Outcome("unchanged", "No clear change", f"{now}; chance alone may be the reason for the change.")
    if change < 0:
        return Outcome("bias", "Worse than before", f"{training} makes it worse: {right} in {_worst_of(after)}.")
    at_least = f"it gets at least {right} in every {group} (worst: {_worst_of(after)})."
    if was_biased:
        return Outcome("improved", "Bias reduced", f"{training} reduces this bias: {at_least}")
    return Outcome("improved", f"Worst {group} improved", f"{training} helps: {at_least}")


def _worst_of(row: Row) -> str:
    """Return the name of the worst group, and how many others are as bad."""
    assert row.worst is not None
    name = group_name(row.worst.class_name, row.worst.attribute).replace(" · ", "\u00a0·\u00a0")
    return f"{name} and {count_of(row.also_worst, 'other group')}" if row.also_worst else name


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
    """Return how worst-group accuracy and the average changed; of a comparison, first what is said of the best row."""
    before, chosen, leads = summary.reference, summary.chosen, list[Section | str]()
    untrusted, _ = by_doubts(summary.metrics)
    if len(summary.metrics.candidates) > 1 and summary.metrics.leaders:
        leads += [] if untrusted is None else [best_of(summary).sentence]
        leads.append(" ".join(about_leaders(summary)))
    if before is None or before.worst is None or chosen.worst is None:
        return leads or [alone(chosen)]
    leads += [verdict_on(summary).sentence] if leads and untrusted is None else []
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
            is_clear=summary.is_clear,
            others="training images" if summary.metrics.draws else "seeds",
        )
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
