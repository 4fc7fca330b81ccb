"""The decision of an audit: bias, no evidence, nothing to compare, or guesses that can't be trusted."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from typing import cast

from dbpt.groups import SMALL_GROUP, ExplainedErrors, Group
from dbpt.groups.accuracy import worst_first
from dbpt.guesses.trust import Guesses
from dbpt.report import verdicts
from dbpt.report.verdicts import SIGNIFICANT, AuditedFactor, BiasSize, Pair, Verdict, VerdictKind, are_apart
from dbpt.runs.metrics import PredictionsBy

SLIGHT, DIFFERENT, VERY_DIFFERENT = 0.02, 0.1, 0.3
"""Many images show differences that matter little: below two percentage points a bias is always small."""
SMALL_SHARE, LARGE_SHARE = 0.2, 0.5
SIZES: tuple[BiasSize, ...] = ("strong", "clear", "small")
SEVERITY: tuple[VerdictKind, ...] = ("bias", "untrusted", "no evidence", "nothing to compare")


def verdict_of(
    groups: Sequence[Group],
    explained: ExplainedErrors,
    guesses: Guesses | None,
    *,
    by: PredictionsBy,
    attributes: Sequence[str],
    is_searched: bool = False,
    detectable: float | None = None,
) -> Verdict:
    """Return the verdict with its sentences. ``detectable`` is the `detectable_difference` of these images.

    The other arguments are those of `dbpt.report.verdicts.in_words`.
    """
    found = _decision(groups, explained, guesses, detectable)
    return verdicts.in_words(found, groups, explained, guesses, by=by, attributes=attributes, is_searched=is_searched)


def _decision(
    groups: Sequence[Group], explained: ExplainedErrors, guesses: Guesses | None, detectable: float | None
) -> Verdict:
    """Return the verdict without its sentences."""
    if guesses is not None and guesses.doubts:
        return Verdict(kind="untrusted", doubts=list(guesses.doubts))
    if len(verdicts.classes_of_one_attribute(groups)) == len({each.class_name for each in groups if each.n}):
        return Verdict(kind="nothing to compare", why_nothing="one attribute")
    if explained.p_value is None:
        return Verdict(kind="nothing to compare", why_nothing="whole classes" if explained.errors else "no errors")
    if explained.p_value > SIGNIFICANT:
        return Verdict(kind="no evidence", detectable=detectable)
    worse, better = named_difference(groups)
    may_be_wrong = None if guesses is None or guesses.by_clusters else guesses
    if enough_wrong_guesses(worse, groups, may_be_wrong):
        worse, better = named_difference(groups, prefers_worst=False)
        if wrong := enough_wrong_guesses(worse, groups, may_be_wrong):
            return Verdict(kind="untrusted", pair=(worse.index, better.index), wrong_guesses=wrong)
    return Verdict(
        kind="bias",
        group=worse.index,
        pair=(worse.index, better.index),
        also=_also_different(worse, groups, may_be_wrong),
        size=bias_size(worse, better, explained.share or 0.0),
        by_words=may_be_wrong is not None and not (may_be_wrong.from_file or may_be_wrong.by_probe),
    )


def verdict_of_factors(factors: Sequence[AuditedFactor], by: PredictionsBy) -> Verdict:
    """Return the verdict on all factors: that of one; of several the gravest kind, and a sentence on each."""
    if len(factors) == 1:
        return factors[0].verdict
    kinds = [factor.verdict.kind for factor in factors]
    sizes = [each.verdict.size for each in factors if each.verdict.kind == "bias" and each.is_its_own]
    found = Verdict(
        kind=(kind := next(kind for kind in SEVERITY if kind in kinds)),
        size=next((size for size in SIZES if size in sizes), None),
    )
    if kind == "nothing to compare":
        reasons = [factor.verdict.why_nothing for factor in factors]
        found = replace(found, why_nothing=next((each for each in reasons if each != "one attribute"), reasons[0]))
    sentence, lead = verdicts.factors_in_words(factors, by)
    return replace(found, sentence=sentence, lead=lead)


def named_difference(groups: Sequence[Group], *, prefers_worst: bool = True) -> tuple[Group, Group]:
    """Return the two groups of one class that the verdict names, the worse one first.

    Pairs whose intervals are apart come first, and of these the ones with the worst group of all, unless
    ``prefers_worst`` is False. Of the pairs that are left, the chosen one differs most in accuracy, or in standard
    errors if the intervals of no pair are apart.
    """
    order = worst_first(groups)

    def difference(pair: tuple[Group, Group]) -> tuple[bool, bool, float]:
        worse, better = pair
        pooled = (worse.correct + better.correct + 1) / (worse.n + better.n + 2)
        found = better.correct / better.n - worse.correct / worse.n
        if are_apart(worse, better):
            return True, prefers_worst and worse == order[0], found
        return False, False, found / sqrt(pooled * (1 - pooled) * (1 / worse.n + 1 / better.n))

    return max((pair for pair in combinations(order, 2) if pair[0].class_name == pair[1].class_name), key=difference)


def enough_wrong_guesses(worse: Group, groups: Sequence[Group], guesses: Guesses | None) -> int | None:
    """Return the number of wrong guesses in the class of the ``worse`` group, if they alone can make it the worse one.

    CLIP often guesses the attribute wrongly where it errs in the class. Let errors not depend on the true attribute, m
    images be guessed into a group wrongly, and as many out of it. The group then has at most m errors more than its
    number of images at the error rate of the class, because all m can be errors. m is half the wrong guesses. None
    without ``guesses``.
    """
    if guesses is None:
        return None
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


def _also_different(named: Group, groups: Sequence[Group], guesses: Guesses | None) -> Pair | None:
    """Return the groups that differ most in another class than that of the ``named`` group.

    None if no intervals are apart, or wrong ``guesses`` alone can make the difference. They are None for given groups.
    """
    others = [each for each in groups if each.n and each.class_name != named.class_name]
    if len(verdicts.classes_of_one_attribute(others)) == len({each.class_name for each in others}):
        return None
    worse, better = named_difference(others, prefers_worst=False)
    is_sure = are_apart(worse, better) and not enough_wrong_guesses(worse, groups, guesses)
    return (worse.index, better.index) if is_sure else None
