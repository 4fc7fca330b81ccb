"""The verdict of an audit in fields: bias, no evidence, nothing to compare, or guesses that can't be trusted.

Each attribute, one or more, is tested by itself, and beyond the others.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import joint_codes
from dbpt.evaluation.accuracy_by_group import Group, are_apart, worst_first
from dbpt.evaluation.audit_fields import (
    SIGNIFICANT,
    AuditedFactor,
    BiasSize,
    Pair,
    Verdict,
    VerdictKind,
    classes_of_one_attribute,
)
from dbpt.evaluation.audit_subject import Subject
from dbpt.evaluation.explained_by_attribute import ExplainedErrors, cramers_v, explained_errors
from dbpt.evaluation.study_metrics import metrics_of
from dbpt.groups import SMALL_GROUP
from dbpt.groups.ids import contingency_table
from dbpt.guesses.base import OWN_VALUES
from dbpt.guesses.figures import FactorGuesses, Guesses
from dbpt.guesses.grouping import Grouping

SLIGHT, DIFFERENT, VERY_DIFFERENT = 0.02, 0.1, 0.3
"""Many images show differences that matter little: below two percentage points a bias is always small."""
SMALL_SHARE, LARGE_SHARE = 0.2, 0.5
SIZES: tuple[BiasSize, ...] = ("strong", "clear", "small")
SEVERITY: tuple[VerdictKind, ...] = ("bias", "untrusted", "no evidence", "nothing to compare")


def audited_factors(
    subject: Subject, grouping: Grouping, parts: Sequence[Grouping], guesses: Guesses
) -> tuple[list[AuditedFactor], ExplainedErrors]:
    """Return the figures of each attribute, one or more, and what all together explain of the errors.

    The groups are those of the ``grouping``, and those of each attribute alone the ``parts``. The p-values of the
    verdicts are Holm's (1979), so that the chance of any wrong verdict of bias is at most 5 %. Only images that are
    no copies are tested.
    """
    rows, labels, predictions = subject.audited, subject.labels, subject.predictions
    tested, seed = np.flatnonzero(subject.is_first), subject.config.seed
    is_right, of_class = (predictions.predictions == labels)[tested], labels[tested]

    def explained_by(part: Grouping) -> ExplainedErrors:
        return explained_errors(is_right, of_class, part.codes[rows[tested]], seed=seed, **part.sizes)

    tests = [explained_by(part) for part in parts]
    adjusted = holm([test.p_value for test in tests])
    guessed = [of if part.kind == "pseudo" else None for part, of in zip(parts, guesses.factors, strict=True)]
    factors = []
    for part, of, test, p_value in zip(parts, guessed, tests, adjusted, strict=True):
        metrics = metrics_of(part, predictions.predictions, rows, confidence=predictions.confidence)
        groups = [group for group in metrics.groups if group.n]
        explained = replace(test, p_value=p_value)
        detectable = detectable_difference(is_right, of_class, part.codes[rows[tested]], **part.sizes)
        beyond = [
            other
            for other, of_other in zip(parts, guessed, strict=True)
            if other is not part and not (of_other and of_other.doubts)
        ]
        factors.append(
            AuditedFactor(
                name=part.factors[0].name,
                values=list(part.factors[0].values[0]) if part.has_words else [],
                group_kind=part.kind,
                verdict=verdict_of(groups, explained, of, detectable),
                groups=groups,
                cramers_v=association(part, rows),
                explained=explained,
                explained_beyond=_beyond(is_right, of_class, rows[tested], part, beyond, seed) if beyond else None,
            )
        )
    return factors, explained_by(grouping) if parts[1:] else tests[0]


def association(grouping: Grouping, rows: NDArray[np.int64]) -> float | None:
    """Return Cramér's V of class and attribute in the ``rows``; None if classes differ in their values."""
    if grouping.provenance == "clusters" or not grouping.possible.all():
        return None
    return cramers_v(grouping.labels[rows], grouping.codes[rows], **grouping.sizes)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values adjusted for their number (Holm, 1979): at most 5 % of tests without an effect see one.

    >>> holm([0.04, None, 0.01])
    [0.04, None, 0.02]
    """
    adjusted, largest = list(p_values), 0.0
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    for rank, (p, i) in enumerate(tested):
        adjusted[i] = largest = max(largest, min(1.0, p * (len(tested) - rank)))
    return adjusted


def _beyond(
    is_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    part: Grouping,
    others: Sequence[Grouping],
    seed: int,
) -> ExplainedErrors:
    """Test the attribute within the classes and the values of the ``others``."""
    joint = joint_codes([other.codes[rows] for other in others], [other.num_attributes for other in others])
    known = joint >= 0  # explained_errors leaves rows out whose own value is unknown
    strata = labels[known] * (int(joint.max(initial=0)) + 1) + joint[known]
    sizes = part.sizes | {"num_classes": int(strata.max(initial=0)) + 1}
    return explained_errors(is_right[known], strata, part.codes[rows][known], seed=seed, **sizes)


def verdict_of(
    groups: Sequence[Group],
    explained: ExplainedErrors,
    guesses: FactorGuesses | None,
    detectable: float | None = None,
) -> Verdict:
    """Return the verdict, without its sentences.

    Args:
        groups: those that have images.
        explained: what the attribute explains of the errors.
        guesses: those that define the groups; None if the true attributes do.
        detectable: the `detectable_difference` of these images.
    """
    if guesses is not None and guesses.doubts:
        return Verdict(kind="untrusted", doubts=list(guesses.doubts))
    if len(classes_of_one_attribute(groups)) == len({group.class_name for group in groups if group.n}):
        return Verdict(kind="nothing to compare", why_nothing="one attribute")
    if explained.p_value is None:
        return Verdict(kind="nothing to compare", why_nothing="whole classes" if explained.errors else "no errors")
    if explained.p_value > SIGNIFICANT:
        return Verdict(kind="no evidence", detectable=detectable)
    worse, better = named_difference(groups)
    may_be_wrong = None if guesses is None or guesses.provenance in OWN_VALUES else guesses
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
        by_words=may_be_wrong is not None and may_be_wrong.provenance == "words",
    )


def verdict_of_factors(factors: Sequence[AuditedFactor]) -> Verdict:
    """Return the verdict on all factors: that of one, or the gravest kind of several."""
    if len(factors) == 1:
        return factors[0].verdict
    kinds = [factor.verdict.kind for factor in factors]
    sizes = [factor.verdict.size for factor in factors if factor.verdict.kind == "bias" and factor.is_its_own]
    kind, why = next(kind for kind in SEVERITY if kind in kinds), None
    if kind == "nothing to compare":
        reasons = [factor.verdict.why_nothing for factor in factors]
        why = next((reason for reason in reasons if reason != "one attribute"), reasons[0])
    size = next((size for size in SIZES if size in sizes), None)
    return Verdict(kind=kind, size=size, why_nothing=why)


def named_difference(groups: Sequence[Group], *, prefers_worst: bool = True) -> tuple[Group, Group]:
    """Return the two groups of one class that the verdict names, the worse one first.

    Pairs whose intervals are apart come first. Among them, pairs with the worst group of all come first, unless
    ``prefers_worst`` is False. Among equals, the pair differs most in accuracy, or in standard errors if the intervals
    of no pair are apart.
    """
    order = worst_first(groups)

    def difference(pair: tuple[Group, Group]) -> tuple[bool, bool, float]:
        worse, better = pair
        # One image more of each kind: without errors the standard error would be 0.
        pooled = (worse.correct + better.correct + 1) / (worse.n + better.n + 2)
        points = better.correct / better.n - worse.correct / worse.n
        if are_apart(worse, better):
            return True, prefers_worst and worse == order[0], points
        return False, False, points / sqrt(pooled * (1 - pooled) * (1 / worse.n + 1 / better.n))

    return max((pair for pair in combinations(order, 2) if pair[0].class_name == pair[1].class_name), key=difference)


def enough_wrong_guesses(worse: Group, groups: Sequence[Group], guesses: FactorGuesses | None) -> int | None:
    """Return the number of wrong guesses in the class of the ``worse`` group, if they alone can make it the worse one.

    CLIP often guesses the attribute wrongly where it errs in the class. Let errors not depend on the true attribute, m
    images be guessed into a group wrongly, and as many out of it. The group then has at most m errors more than its
    number of images at the error rate of the class, because all m can be errors. m is half the wrong guesses. None
    without ``guesses``.
    """
    if guesses is None:
        return None
    of_class = [group for group in groups if group.class_name == worse.class_name]
    n, errors = sum(group.n for group in of_class), sum(group.n - group.correct for group in of_class)
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


def _also_different(named: Group, groups: Sequence[Group], guesses: FactorGuesses | None) -> Pair | None:
    """Return the groups that differ most in another class than that of the ``named`` group.

    None if no intervals are apart, or wrong ``guesses`` alone can make the difference. They are None for given groups.
    """
    others = [group for group in groups if group.n and group.class_name != named.class_name]
    if len(classes_of_one_attribute(others)) == len({group.class_name for group in others}):
        return None
    worse, better = named_difference(others, prefers_worst=False)
    is_sure = are_apart(worse, better) and not enough_wrong_guesses(worse, groups, guesses)
    return (worse.index, better.index) if is_sure else None


POWER, LEVEL = 0.8, 0.05


def detectable_difference(
    is_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    *,
    num_classes: int,
    num_attributes: int,
) -> float | None:
    """Return the smallest difference in accuracy that `explained_errors` would find in 80 % of samples.

    The difference is that of one attribute from the others, alike in each class. Smaller ones, or those of a single
    class, would more often be missed. Chi-squared of such a difference d is noncentral, with lambda = d^2 *
    sum_y n_ya * (1 - n_ya / n_y) / (r_y * (1 - r_y)) for n_ya of the n_y images of class y and its error rate r_y. The
    attribute is the one for which lambda is largest.

    Args:
        is_right: (N,) bool, the images that are classified correctly.
        labels: (N,) int64, their classes.
        attributes: (N,) int64, -1 for images that don't count.
        num_classes, num_attributes: C and A.

    Returns:
        A fraction, at most 1; None if no class can be compared.
    """
    from scipy.special import chdtri, chndtrinc

    shape = num_classes, num_attributes
    counts_CA = contingency_table(labels, attributes, shape)
    errors_C = contingency_table(labels[~is_right], attributes[~is_right], shape).sum(axis=1)
    n_C, freedom_C = counts_CA.sum(axis=1), (counts_CA > 0).sum(axis=1) - 1
    compared = (freedom_C > 0) & (errors_C > 0) & (errors_C < n_C)
    if not compared.any():
        return None
    counts_CA, n_C, rates_C = counts_CA[compared], n_C[compared], errors_C[compared] / n_C[compared]
    sizes_CA = counts_CA * (1 - counts_CA / n_C[:, None]) / (rates_C * (1 - rates_C))[:, None]
    freedom = int(freedom_C[compared].sum())
    noncentrality = float(chndtrinc(chdtri(freedom, LEVEL), freedom, 1 - POWER))
    return min(1.0, sqrt(noncentrality / float(sizes_CA.sum(axis=0).max())))
