"""The figures of an audit for its page, each with a sentence that says what it means."""

from math import isclose
from typing import NamedTuple

from dbpt.auditing.figures import AuditFigures
from dbpt.auditing.next_step import UNRELATED
from dbpt.auditing.result import p_text
from dbpt.report.text import count, count_of, in_words, interval_text, points

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
