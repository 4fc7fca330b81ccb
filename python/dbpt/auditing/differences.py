"""The difference between two groups of a class that a verdict of bias names, and how certain it is."""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import cast

from dbpt.auditing.figures import BiasSize
from dbpt.groups import SMALL_GROUP, Group
from dbpt.groups.accuracy import worst_first
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.text import count, count_of, in_words

SLIGHT, DIFFERENT, VERY_DIFFERENT = 0.02, 0.1, 0.3
"""Many images show differences that matter little: below two percentage points a bias is always small."""
SMALL_SHARE, LARGE_SHARE = 0.2, 0.5


def worst_group(groups: Sequence[Group]) -> Group:
    """Return the first of the groups with the lowest accuracy."""
    return worst_first(groups)[0]


def named_difference(groups: Sequence[Group], *, prefers_worst: bool = True) -> tuple[Group, Group]:
    """Return the two groups of one class that the verdict names, the worse one first.

    Pairs whose intervals are apart come first, and of these the ones with the worst group of all, unless
    ``prefers_worst`` is False. Of the pairs that are left, the chosen one differs most in accuracy, or in standard
    errors if the intervals of no pair are apart.
    """
    worst = worst_group(groups)

    def difference(pair: tuple[Group, Group]) -> tuple[bool, bool, float]:
        worse, better = pair
        pooled = (worse.correct + better.correct + 1) / (worse.n + better.n + 2)
        found = better.correct / better.n - worse.correct / worse.n
        if are_apart(worse, better):
            return True, prefers_worst and worse == worst, found
        return False, False, found / sqrt(pooled * (1 - pooled) * (1 / worse.n + 1 / better.n))

    return max(
        (pair for pair in combinations(worst_first(groups), 2) if pair[0].class_name == pair[1].class_name),
        key=difference,
    )


def are_apart(worse: Group, better: Group) -> bool:
    """Return whether the intervals of the two groups are apart."""
    return worse.high is not None and better.low is not None and worse.high < better.low


def enough_wrong_guesses(worse: Group, groups: Sequence[Group], guesses: Guesses) -> int | None:
    """Return the number of wrong guesses in the class of the ``worse`` group, if they alone can make it the worse one.

    CLIP often guesses the attribute wrongly where it errs in the class. Let errors not depend on the true attribute, m
    images be guessed into a group wrongly, and as many out of it. The group then has at most m errors more than its
    number of images at the error rate of the class, because all m can be errors. m is half the wrong guesses.
    """
    of_class = [each for each in groups if each.class_name == worse.class_name]
    n, errors = sum(each.n for each in of_class), sum(each.n - each.correct for each in of_class)
    right = guesses.accuracy if guesses.n_known >= SMALL_GROUP else guesses.mean_confidence
    wrong = (1 - cast(float, right)) * n
    return round(wrong) if worse.n - worse.correct - worse.n * errors / n <= wrong / 2 else None


def bias_size(worse: Group, better: Group, share: float) -> BiasSize:
    """Return how large a bias is, from the difference that it names and the ``share`` of errors that it explains.

    The share alone is small for a rare group that always fails, the difference alone is large by chance for a group
    of few images. So a bias is small only if both are, and strong only if the intervals are apart.
    """
    difference = better.correct / better.n - worse.correct / worse.n
    certain = difference if are_apart(worse, better) else 0.0
    if difference < SLIGHT or (share < SMALL_SHARE and difference < DIFFERENT):
        return "small"
    return "strong" if certain >= VERY_DIFFERENT or (certain >= DIFFERENT and share >= LARGE_SHARE) else "clear"


def difference_text(worse: Group, better: Group) -> str:
    """Return the accuracies of two groups of a class, with the counts of small ones."""
    return (
        f"of {worse.class_name!r} {_accuracy_text(worse)} right with {worse.attribute!r}, "
        f"{_accuracy_text(better)} with {better.attribute!r}"
    )


def also_different(named: Group, groups: Sequence[Group], guesses: Guesses | None) -> list[str]:
    """Return a sentence on another class than that of the ``named`` group: the one whose groups differ most.

    None if no intervals are apart, or wrong ``guesses`` alone can make the difference. They are None for given groups.
    """
    others = [each for each in groups if each.n and each.class_name != named.class_name]
    pairs = [pair for pair in combinations(others, 2) if pair[0].class_name == pair[1].class_name]
    if not pairs:
        return []
    worse, better = named_difference(others, prefers_worst=False)
    is_sure = guesses is None or not enough_wrong_guesses(worse, groups, guesses)
    return [f"Also {difference_text(worse, better)}."] if is_sure and are_apart(worse, better) else []


def uncertainties(worse: Group, better: Group, groups: Sequence[Group]) -> list[str]:
    """Return sentences that say how certain the named difference is, and which group is worst if it is another."""
    found, apart = [], are_apart(worse, better)
    fewest, worst = min((worse, better), key=lambda group: group.n), worst_group(groups)
    few = f"{fewest.attribute!r} has only {count_of(fewest.n, 'image')} of this class"
    if not apart:
        found.append("No two groups of a class have intervals that are apart.")
    if fewest.n < SMALL_GROUP:
        certain = "the difference is real; its size is uncertain" if apart else "its accuracy is uncertain"
        found.append(f"{few}: {certain}.")
    if worst.correct / worst.n < worse.correct / worse.n:
        found.append(
            f"The worst group is another: of {worst.class_name!r} with {worst.attribute!r}, {count(worst.correct)} of "
            f"{count(worst.n)} images are right."
        )
    return found


def _accuracy_text(group: Group) -> str:
    few = f" ({group.correct} of {group.n})" if group.n < SMALL_GROUP else ""
    return f"{in_words(group.accuracy)}{few}"
