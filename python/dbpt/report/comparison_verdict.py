"""The verdict of a comparison: what its chosen row gains over ERM, in sentences, for any outcome."""

from collections.abc import Sequence

from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.comparison_summary import ComparisonSummary, row_name
from dbpt.report.headline import Outcome, average_name, by_doubts, figure_name
from dbpt.report.summary import Row
from dbpt.report.templates import capitalize_first
from dbpt.report.text import in_words, points, signed_interval, signed_points
from dbpt.runs.comparison_metrics import ComparisonRow, Difference


def verdict(summary: ComparisonSummary, guesses: Guesses) -> Outcome:
    """Return what the intervals prove about the difference of the chosen row to ERM, over the `judged_factors`."""
    chosen, metrics = summary.chosen, summary.metrics
    follows = "the figures by group prove nothing", "nothing is proven about these groups"
    untrusted, doubts = by_doubts(guesses, metrics, *follows)
    if untrusted is not None:
        return untrusted
    difference = chosen.record.difference
    change = None if difference is None else difference.figures["worst_group_accuracy"].mean
    if difference is not None and change is not None:
        found = _against_erm(summary, chosen, difference, change)
        return found._replace(sentence=found.sentence + doubts)
    sentence = f"{_name(chosen, summary)} has no worst-group accuracy: no training of it has a result over groups."
    if chosen.worst_group_accuracy is not None:
        average = f"{average_name(metrics)} {in_words(chosen.average_accuracy)}"
        figures = f"{in_words(chosen.worst_group_accuracy)}, {average}"
        sentence = f"{capitalize_first(figure_name(metrics))} of {_name(chosen, summary)} is {figures}."
    return Outcome("nothing-to-compare", "Nothing to compare", sentence)


def second_sentence(summary: ComparisonSummary) -> str:
    """Return the averages behind the `verdict`, and the row with the highest worst-group accuracy if it's another."""
    chosen = summary.chosen
    known = [row for row in summary.rows if row.worst_group_accuracy is not None]
    texts = []
    if chosen.record.difference is not None and chosen.worst_group_accuracy is not None:
        erm = _erm(summary, chosen.record.difference)
        name = capitalize_first(average_name(summary.metrics))
        texts.append(f"{name}: {in_words(chosen.average_accuracy)}, with ERM {in_words(erm.average_accuracy)}.")
    best = max(known, key=lambda row: row.worst_group_accuracy or 0.0, default=chosen)
    if (best.worst_group_accuracy or 0.0) > (chosen.worst_group_accuracy or 0.0):
        texts.append(
            f"The highest worst-group accuracy of all rows is {in_words(best.worst_group_accuracy)}, of "
            f"{_name(best, summary)}; the best of several rows is partly best by chance."
        )
    return " ".join(texts)


def _against_erm(
    summary: ComparisonSummary, chosen: Row[ComparisonRow], difference: Difference, change: float
) -> Outcome:
    name, what, before = _name(chosen, summary), figure_name(summary.metrics), _erm(summary, difference)
    repeats, images = difference.figures["worst_group_accuracy"].over_repeats, difference.over_images
    by_seed = ""
    if difference.seeds == chosen.record.seeds == before.record.seeds:  # else the change isn't that of the means
        by_seed = f" (from {in_words(before.worst_group_accuracy)} to {in_words(chosen.worst_group_accuracy)})"
    interval = "" if images is None else f"; 95\u00a0% interval over images {signed_interval(images)}"
    if images is None or not _excludes_zero(images):
        amount = f"{signed_points(change)} points{by_seed}{interval}"
        sentence = f"No difference in {what} between {name} and ERM is proven: {amount}."
        return Outcome("unchanged", "No difference proven", sentence)
    other = ""
    if repeats is not None and not _excludes_zero(repeats):
        others = "training images" if summary.metrics.draws else "seeds"
        other = f", but other {others} may disagree: {signed_interval(repeats)}"
    amount = f"{what} by {points(abs(change))} points {'over' if change > 0 else 'against'} ERM"
    details = f"{amount}{by_seed}{interval}{other}."
    if change > 0:
        return Outcome("improved", "Better than ERM", f"{name} raises {details}")
    return Outcome("bias", "Worse than ERM", f"{name} lowers {details}")


def _excludes_zero(interval: Sequence[float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def _erm(summary: ComparisonSummary, difference: Difference) -> Row[ComparisonRow]:
    return next(row for row in summary.rows if row.record.objective == "erm" and row.head == difference.head)


def _name(row: Row[ComparisonRow], summary: ComparisonSummary) -> str:
    return row_name(row.record) if len(summary.metrics.heads) > 1 else row.title
