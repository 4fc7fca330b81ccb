"""The audit of several suspected attributes (``--factors``): each by itself, and whether others explain its errors."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.figures import AuditedFactor, BiasSize, UserPredictions, Verdict, VerdictKind, detectable_difference
from dbpt.auditing.result import p_text
from dbpt.auditing.verdict import SIGNIFICANT, SUBJECTS, verdict_of
from dbpt.data.words import Words, joint_codes
from dbpt.groups import ExplainedErrors, cramers_v, explained_errors, group_metrics
from dbpt.guesses.trust import Guesses
from dbpt.report.text import sentence as as_sentence
from dbpt.runs.metrics import GroupKind, PredictionsBy

SIZES: tuple[BiasSize, ...] = ("strong", "clear", "small")
SEVERITY: tuple[VerdictKind, ...] = ("bias", "untrusted", "no evidence", "nothing to compare")


def audited_factors(
    predictions: UserPredictions,
    labels: NDArray[np.int64],
    codes: Sequence[NDArray[np.int64]],
    words: Words,
    guesses: Guesses,
    *,
    by: PredictionsBy,
    kinds: Sequence[GroupKind],
    seed: int,
    is_first: NDArray[np.bool_] | None = None,
) -> list[AuditedFactor]:
    """Return the figures of each factor, from the classes (n,) of the audited images and its ``codes`` (n,) for them.

    These are true or guessed, as its entry of ``kinds`` says. The p-values of the verdicts are Holm's (1979), so that
    the chance of any wrong verdict of bias is at most 5 %. Only images that are no copies are tested,
    those with True in ``is_first`` (n,); None: all.
    """
    is_right = predictions.predictions == labels
    rows = np.arange(len(labels)) if is_first is None else np.flatnonzero(is_first)
    classes, distinct = list(words.classes), [each[rows] for each in codes]
    sizes = [{"num_classes": len(classes), "num_attributes": size} for size in words.sizes]
    tests = [
        explained_errors(is_right[rows], labels[rows], each, seed=seed, **size)
        for each, size in zip(distinct, sizes, strict=True)
    ]
    adjusted = holm([test.p_value for test in tests])
    by_guesses = [kind == "pseudo" for kind in kinds]
    is_doubted = [by_guesses[place] and bool(guesses.factors[place].doubts) for place in range(len(codes))]
    found = []
    for place, factor in enumerate(words.factors):
        values = list(factor.values)
        metrics = group_metrics(
            predictions.predictions,
            labels,
            codes[place],
            num_classes=len(classes),
            num_attributes=len(values),
            confidence=predictions.confidence,
            group_names=list(product(classes, values)),
        )
        groups = [each for each in metrics.groups if each.n]
        explained = replace(tests[place], p_value=adjusted[place])
        verdict = verdict_of(
            groups,
            explained,
            guesses.factors[place],
            by=by,
            by_guesses=by_guesses[place],
            attributes=values,
            detectable=detectable_difference(is_right[rows], labels[rows], distinct[place], **sizes[place]),
        )
        others = [other for other in range(len(codes)) if other != place and not is_doubted[other]]
        untold = [words.factors[other].name for other in range(len(codes)) if other != place and is_doubted[other]]
        beyond = _beyond(is_right[rows], labels[rows], distinct, words, place, others, seed) if others else None
        if verdict.kind == "bias" and beyond is not None and not is_its_own(beyond):
            names = " and ".join(words.factors[other].name for other in others)
            verdict = replace(verdict, lead=[*verdict.lead, _borrowed(beyond, names)])
        if verdict.kind == "bias" and untold:
            why = f"But {' and '.join(untold)} may be the reason instead. {_not_constant(untold)}"
            verdict = replace(verdict, lead=[*verdict.lead, why])
        found.append(
            AuditedFactor(
                name=factor.name,
                values=values,
                group_kind=kinds[place],
                verdict=verdict,
                groups=groups,
                cramers_v=None
                if factor.of_class  # classes with values of their own differ by definition
                else cramers_v(labels, codes[place], **sizes[place]),
                explained=explained,
                explained_beyond=beyond,
            )
        )
    return found


def verdict_of_factors(factors: Sequence[AuditedFactor], by: PredictionsBy) -> Verdict:
    """Return the verdict on all factors: the kind of the gravest, and a sentence that says which factor has which."""
    subject = SUBJECTS[by]
    biased = [factor for factor in factors if factor.verdict.kind == "bias"]
    own = [factor for factor in biased if factor.explained_beyond is None or is_its_own(factor.explained_beyond)]
    untrusted = _of_kind(factors, "untrusted")
    doubted = [factor for factor in untrusted if factor.verdict.doubts] if biased else []
    others = [factor for factor in untrusted if factor not in doubted]
    parts = [
        (own, f"the errors of {subject} go with {{}}" if doubted else f"the accuracy of {subject} depends on {{}}"),
        (
            [factor for factor in biased if factor not in own],
            f"the errors of {subject} {'also ' if own else ''}go with {{}}, which may be due to the other attributes",
        ),
        (doubted, "but {} may be the reason instead"),
        (others, "nothing follows about {}, whose values may be wrong"),
        (_of_kind(factors, "no evidence"), "there is no evidence of a bias towards {}"),
        (_of_kind(factors, "nothing to compare"), "there is nothing to compare for {}"),
    ]
    sentence = "; ".join(text.format(" and ".join(map(_called, chosen))) for chosen, text in parts if chosen)
    kind = next(kind for kind in SEVERITY if _of_kind(factors, kind))
    lead = [_not_constant([factor.name for factor in doubted])] if doubted else []
    sizes = [factor.verdict.size for factor in own]
    size = next((size for size in SIZES if size in sizes), None)
    reasons = [factor.verdict.why_nothing for factor in factors] if kind == "nothing to compare" else [None]
    why = next((each for each in reasons if each != "one attribute"), reasons[0])
    return Verdict(kind=kind, sentence=as_sentence(sentence), lead=lead, size=size, why_nothing=why)


def _called(factor: AuditedFactor) -> str:
    """Return the name of the factor; a bias over guesses by words is one towards the guesses."""
    return f"CLIP's guesses of {factor.name}" if factor.verdict.by_words else factor.name


def _of_kind(factors: Sequence[AuditedFactor], kind: VerdictKind) -> list[AuditedFactor]:
    return [factor for factor in factors if factor.verdict.kind == kind]


def is_its_own(beyond: ExplainedErrors) -> bool:
    """Return whether errors go with a factor also among images that agree in the others."""
    return beyond.p_value is not None and beyond.p_value <= SIGNIFICANT


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values adjusted for their number (Holm, 1979): at most 5 % of tests without an effect see one.

    >>> holm([0.04, None, 0.01])
    [0.04, None, 0.02]
    """
    adjusted, largest = list(p_values), 0.0
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    for rank, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[place] = largest
    return adjusted


def _beyond(
    is_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    codes: Sequence[NDArray[np.int64]],
    words: Words,
    place: int,
    others: Sequence[int],
    seed: int,
) -> ExplainedErrors:
    """Test the factor within the classes and the values of the other factors."""
    joint = joint_codes([codes[other] for other in others], [words.sizes[other] for other in others])
    known = (joint >= 0) & (codes[place] >= 0)
    strata = labels[known] * (int(joint.max(initial=0)) + 1) + joint[known]
    size = {"num_classes": int(strata.max(initial=0)) + 1, "num_attributes": len(words.factors[place].values)}
    return explained_errors(is_right[known], strata, codes[place][known], seed=seed, **size)


def _borrowed(beyond: ExplainedErrors, others: str) -> str:
    if beyond.p_value is None:
        return f"Its effect can't be told from that of {others}: they go together in these images."
    seen = f"no difference can be seen ({p_text(beyond)})"
    return f"Among images that agree in {others}, {seen}: {others} may be the reason instead."


def _not_constant(names: Sequence[str]) -> str:
    it = "it" if len(names) == 1 else "they"
    return f"The guesses of {' and '.join(names)} can't be trusted, so {it} could not be held constant."
