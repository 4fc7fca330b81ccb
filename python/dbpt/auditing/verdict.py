"""The decision of an audit: bias, no evidence, nothing to compare, or guesses that can't be trusted; the next step.

Each attribute, one or more, is tested by itself, and beyond the others.
"""

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from typing import cast

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.figures import detectable_difference
from dbpt.auditing.subject import Subject
from dbpt.data import SPLITS, Vocabulary, entries_of, factor_entries
from dbpt.data.words import Factor, joint_codes
from dbpt.errors import InputError
from dbpt.evaluation.of_study import metrics_of
from dbpt.evaluation.results import PredictionsBy
from dbpt.groups import SMALL_GROUP, ExplainedErrors, Group, cramers_v, explained_errors
from dbpt.groups.accuracy import worst_first
from dbpt.guesses.grouping import Grouping
from dbpt.guesses.trust import FactorGuesses, Guesses
from dbpt.objectives import OBJECTIVES
from dbpt.report import verdicts
from dbpt.report.findings import FewerNames, NextStep, StepKind, advice_of
from dbpt.report.verdicts import SIGNIFICANT, AuditedFactor, BiasSize, Pair, Verdict, VerdictKind, are_apart
from dbpt.settings.sections import AUDIT_SETTINGS, GUESS_SETTINGS

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
    names = [part.factors[0].name for part in parts]
    values = [list(part.factors[0].values[0]) if part.has_words else [] for part in parts]
    factors = []
    for i, (part, of) in enumerate(zip(parts, guessed, strict=True)):
        metrics = metrics_of(part, predictions.predictions, rows, confidence=predictions.confidence)
        groups = [each for each in metrics.groups if each.n]
        explained = replace(tests[i], p_value=adjusted[i])
        verdict = verdict_of(
            groups,
            explained,
            of,
            by=subject.by,
            attributes=values[i],
            is_searched=subject.search is not None and subject.search.on_audited,
            detectable=detectable_difference(is_right, of_class, part.codes[rows[tested]], **part.sizes),
        )
        others = [other for other in range(len(parts)) if other != i]
        doubted = [other for other in others if (by := guessed[other]) is not None and by.doubts]
        trusted = [other for other in others if other not in doubted]
        beyond = [parts[other] for other in trusted]
        factor = AuditedFactor(
            name=names[i],
            values=values[i],
            group_kind=part.kind,
            verdict=verdict,
            groups=groups,
            cramers_v=association(part, rows),
            explained=explained,
            explained_beyond=_beyond(is_right, of_class, rows[tested], part, beyond, seed) if beyond else None,
        )
        if verdict.kind == "bias":
            more = verdicts.beyond_in_words(
                factor, [names[other] for other in trusted], [names[other] for other in doubted]
            )
            factor = replace(factor, verdict=replace(verdict, lead=[*verdict.lead, *more]))
        factors.append(factor)
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
    codes = part.codes[rows]
    known = (joint >= 0) & (codes >= 0)
    strata = labels[known] * (int(joint.max(initial=0)) + 1) + joint[known]
    sizes = part.sizes | {"num_classes": int(strata.max(initial=0)) + 1}
    return explained_errors(is_right[known], strata, codes[known], seed=seed, **sizes)


def verdict_of(
    groups: Sequence[Group],
    explained: ExplainedErrors,
    guesses: FactorGuesses | None,
    *,
    by: PredictionsBy,
    attributes: Sequence[str],
    is_searched: bool = False,
    detectable: float | None = None,
) -> Verdict:
    """Return the verdict with its sentences. ``detectable`` is the `detectable_difference` of these images.

    The other arguments are those of `dbpt.report.verdicts.verdict_in_words`.
    """
    decision = _decision(groups, explained, guesses, detectable)
    return verdicts.verdict_in_words(
        decision, groups, explained, guesses, by=by, attributes=attributes, is_searched=is_searched
    )


def _decision(
    groups: Sequence[Group], explained: ExplainedErrors, guesses: FactorGuesses | None, detectable: float | None
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
    may_be_wrong = None if guesses is None or guesses.provenance == "clusters" else guesses
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


def verdict_of_factors(factors: Sequence[AuditedFactor], by: PredictionsBy) -> Verdict:
    """Return the verdict on all factors: that of one; of several the gravest kind, and a sentence on each."""
    if len(factors) == 1:
        return factors[0].verdict
    kinds = [factor.verdict.kind for factor in factors]
    sizes = [each.verdict.size for each in factors if each.verdict.kind == "bias" and each.is_its_own]
    kind, why = next(kind for kind in SEVERITY if kind in kinds), None
    if kind == "nothing to compare":
        reasons = [factor.verdict.why_nothing for factor in factors]
        why = next((reason for reason in reasons if reason != "one attribute"), reasons[0])
    size = next((size for size in SIZES if size in sizes), None)
    sentence, lead = verdicts.factors_in_words(factors, by)
    return Verdict(kind=kind, size=size, why_nothing=why, sentence=sentence, lead=lead)


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


def _also_different(named: Group, groups: Sequence[Group], guesses: FactorGuesses | None) -> Pair | None:
    """Return the groups that differ most in another class than that of the ``named`` group.

    None if no intervals are apart, or wrong ``guesses`` alone can make the difference. They are None for given groups.
    """
    others = [each for each in groups if each.n and each.class_name != named.class_name]
    if len(verdicts.classes_of_one_attribute(others)) == len({each.class_name for each in others}):
        return None
    worse, better = named_difference(others, prefers_worst=False)
    is_sure = are_apart(worse, better) and not enough_wrong_guesses(worse, groups, guesses)
    return (worse.index, better.index) if is_sure else None


TRAINING_SETTINGS = AUDIT_SETTINGS | {"group_template"}
"""Settings that the next commands, which may train, take over from the audit or from its run."""
UNRELATED = 0.1
"""Below this Cramér's V in the training images, group weights can't lessen a bias.

Of two equally frequent classes, 0.1 is a mix of 55 to 45: the weights of the two groups of a class differ by a factor
of 1.2, and the attribute tells the class of 55 % of the images. At 0.3 it is 65 to 35, a factor of 1.9.
"""


def next_step(
    subject: Subject,
    verdict: Verdict,
    guesses: Guesses,
    *,
    by_guesses: bool,
    factors: Sequence[AuditedFactor] = (),
    association: float | None = None,
    worse: Group | None = None,
) -> NextStep:
    """Return the advice that follows from the verdict, and the commands that it needs.

    Args:
        subject, verdict, guesses: what is audited, the result, and the guesses of the attribute.
        by_guesses: whether the groups are those of the ``guesses``.
        factors: if there are several, the commands have those with a bias.
        association: Cramér's V of class and attribute in the training images; None if unknown.
        worse: the worse group that the verdict names.
    """
    untrusted = by_guesses and verdict.kind == "untrusted"
    left_out = [each.name for each in factors if each.verdict.kind != "bias"]
    is_known = not by_guesses or guesses.provenance == "file"
    if untrusted and guesses.provenance != "probe" and (fewer := _fewer_names(subject, guesses)):
        step = fewer
    elif verdict.kind != "bias":
        kind: StepKind = verdict.why_nothing or verdict.kind
        if by_guesses and kind == "one attribute" and guesses.n_unknown and guesses.provenance != "file":
            kind = "lower confidence"
        step = NextStep("label more" if untrusted and guesses.provenance == "probe" else kind)
    elif subject.by == "run" and OBJECTIVES[subject.config.trained_objective].uses_groups:
        step = _other_methods(subject, left_out, by_clusters=guesses.provenance == "clusters")
    elif association is not None and association < UNRELATED:
        step = replace(_without_weights(subject, left_out), cramers_v=association)
    else:
        step = _train(subject, left_out, writes_guesses=subject.by == "file" and not is_known)
    if verdict.kind == "bias":
        step = replace(step, doubted=[each.name for each in factors if each.verdict.kind == "untrusted"])
    is_divided = bool((subject.dataset.splits != SPLITS.index("train")).any())
    context = {"is_divided": is_divided, "by_clusters": guesses.provenance == "clusters", "is_known": is_known}
    return replace(step, sentence=advice_of(step, subject.by, worse, **context))


def _fewer_names(subject: Subject, guesses: Guesses) -> NextStep | None:
    """Return the step to an audit without the names to leave out; None if there are none."""
    words = subject.dataset.words
    left_out = {each.name: each.leave_out for each in guesses.factors}
    suspects = [_without_values(each, left_out[each.name]) for each in words.suspects]
    fewer = [FewerNames(left_out[each.name], list(each.values)) for each in suspects if left_out[each.name]]
    if not fewer:
        return None
    step = NextStep("fewer names", fewer_names=fewer)
    if subject.by == "file" and "--predictions" not in subject.which:  # an array
        return step
    flag = "--factors" if words.factors else "--attributes"
    try:
        entries = factor_entries(suspects) if words.factors else _short_entries(suspects[0].values)
    except InputError:  # names from the data that options can't have
        return step
    given = subject.asked.options(subject.read - {flag.removeprefix("--")})
    options = [*given, flag, *entries, *subject.which]
    out = ["--out", f"audits/{subject.dataset.name}-fewer-names"]
    return replace(step, commands=[shlex.join(["dbpt", "audit", subject.source, *options, *out])])


def _without_values(factor: Factor, names: Collection[str]) -> Factor:
    """Return the factor without some of its values."""
    return replace(
        factor,
        values={name: wordings for name, wordings in factor.values.items() if name not in names},
        shared=tuple(name for name in factor.shared if name not in names),
        of_class={key: tuple(each for each in own if each not in names) for key, own in factor.of_class.items()},
    )


def _short_entries(values: Vocabulary) -> list[str]:
    """Return the entries of ``--attributes``, those of names that are their only wording without it."""
    entries = zip(entries_of(values, "--attributes"), values.items(), strict=True)
    return [name if (name,) == wordings else entry for entry, (name, wordings) in entries]


def _without_weights(subject: Subject, left_out: Sequence[str]) -> NextStep:
    """Return the step if class and attribute are unrelated in the training images, so reweighting can't help."""
    options, name = _options(subject, left_out, TRAINING_SETTINGS - {"seed"}), subject.dataset.name
    methods = ["--methods", "zero-shot", "group-prompts", "erm", "--heads", "linear"]
    compare = shlex.join(["dbpt", "compare", subject.source, *methods, "--out", f"runs/{name}-compare", *options])
    if subject.by != "zero-shot":
        return NextStep("compare", commands=[compare])
    fit = ["dbpt", "fit", subject.source, "--out", f"runs/{name}", "--objective", "erm", *options]
    return NextStep("train without weights", commands=[shlex.join(fit), compare])


def _other_methods(subject: Subject, left_out: Sequence[str], *, by_clusters: bool) -> NextStep:
    """Return the step after a run that was trained against such a bias already."""
    config = ["--config", f"{subject.title}/config.toml"]
    if left_out:
        config += _options(subject, left_out, {"factors", "columns"})
    compare = ["dbpt", "compare", subject.source, *config, "--out", f"{subject.title}-compare"]
    label = ["dbpt", "label", subject.title, "--split", "train", "--out", f"{subject.title}-labels"]
    commands = [compare] if by_clusters else [label, compare]  # nobody can label clusters
    return NextStep("compare", commands=list(map(shlex.join, commands)), method=subject.config.method)


def _train(subject: Subject, left_out: Sequence[str], *, writes_guesses: bool) -> NextStep:
    """Return the step that trains against a bias; ``writes_guesses`` says that a user's own training needs them."""
    fit = ["dbpt", "fit", subject.source, "--out", f"runs/{subject.dataset.name}"]
    commands = [[*fit, *_options(subject, left_out, TRAINING_SETTINGS)]]
    if writes_guesses:
        guess = ["dbpt", "guess", subject.source, "--out", f"{subject.dataset.name}-guesses.csv"]
        commands.append([*guess, *_options(subject, left_out, GUESS_SETTINGS)])
    return NextStep("train", commands=list(map(shlex.join, commands)))


def _options(subject: Subject, left_out: Collection[str], settings: Collection[str]) -> list[str]:
    """Return the options of these settings, without the entries of the factors that are left out."""

    def kept(entries: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return tuple(each for each in entries or () if re.split(r"[\[:=]", each)[0].strip() not in left_out) or None

    asked = subject.asked
    return replace(asked, factors=kept(asked.factors), columns=kept(asked.columns)).options(settings)
