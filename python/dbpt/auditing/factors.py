"""The audit of several suspected attributes (``--factors``): each by itself, and whether it is the others' doing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.by_group import audited_groups
from dbpt.auditing.figures import AuditedFactor, PredictionsBy, Verdict, VerdictKind
from dbpt.auditing.predictions import UserPredictions
from dbpt.auditing.verdict import SIGNIFICANT, SUBJECTS, verdict_of
from dbpt.data.factors import factor_codes, joint_codes
from dbpt.data.words import Words
from dbpt.groups.association import ExplainedErrors, cramers_v, explained_errors
from dbpt.pseudo_attributes.trust import Guesses

SEVERITY: dict[VerdictKind, str] = {
    "bias": "the accuracy of {subject} depends on {names}",
    "untrusted": "nothing follows about {names}, because CLIP's guesses can't be trusted",
    "no evidence": "there is no evidence of a bias towards {names}",
    "nothing to compare": "there is nothing to compare for {names}",
}


def audited_factors(
    predictions: UserPredictions,
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    words: Words,
    guesses: Guesses,
    *,
    by: PredictionsBy,
    by_guesses: bool,
    seed: int,
) -> list[AuditedFactor]:
    """Return the figures of each factor, from the classes and combined attributes (n,) of the audited images.

    The p-values of the verdicts are Holm's (1979), so that the chance of any wrong verdict of bias is at most 5 %.
    """
    is_right = predictions.predictions == labels
    codes = factor_codes(attributes, words.sizes)
    tests, classes = [], list(words.classes)
    for place, factor in enumerate(words.factors):
        size = {"num_classes": len(classes), "num_attributes": len(factor.values)}
        tests.append(explained_errors(is_right, labels, codes[place], seed=seed, **size))
    adjusted = holm([test.p_value for test in tests])
    found = []
    for place, factor in enumerate(words.factors):
        values = list(factor.values)
        groups = audited_groups(
            predictions.predictions,
            labels,
            codes[place],
            predictions.probabilities,
            class_names=classes,
            attribute_names=values,
        )
        explained = replace(tests[place], p_value=adjusted[place])
        verdict = verdict_of(
            groups, explained, guesses.of_factor(place), by=by, by_guesses=by_guesses, attributes=values
        )
        beyond = _beyond_the_others(is_right, labels, codes, words, place, seed)
        if verdict.kind == "bias" and (beyond.p_value is None or beyond.p_value > SIGNIFICANT):
            verdict = replace(verdict, sentence=verdict.sentence + _borrowed(beyond, words, place))
        found.append(
            AuditedFactor(
                name=factor.name,
                values=values,
                verdict=verdict,
                groups=[group for group in groups if group.n],
                cramers_v=cramers_v(labels, codes[place], num_classes=len(classes), num_attributes=len(values)),
                explained=explained,
                explained_beyond=beyond,
            )
        )
    return found


def verdict_of_factors(factors: Sequence[AuditedFactor], by: PredictionsBy) -> Verdict:
    """Return the verdict on all factors: the kind of the gravest, and a sentence that says which factor has which."""
    parts = []
    for kind, text in SEVERITY.items():
        if names := [factor.name for factor in factors if factor.verdict.kind == kind]:
            parts.append(text.format(subject=SUBJECTS[by].rstrip(","), names=" and ".join(names)))
    kind = next(kind for kind in SEVERITY if any(factor.verdict.kind == kind for factor in factors))
    sentence = "; ".join(parts)
    return Verdict(kind=kind, sentence=f"{sentence[0].upper()}{sentence[1:]}.")


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


def _beyond_the_others(
    is_right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    codes: Sequence[NDArray[np.int64]],
    words: Words,
    place: int,
    seed: int,
) -> ExplainedErrors:
    """Test the factor within the classes and the values of all other factors."""
    others = [i for i in range(len(codes)) if i != place]
    joint = joint_codes([codes[i] for i in others], [words.sizes[i] for i in others])
    known = (joint >= 0) & (codes[place] >= 0)
    strata = labels[known] * (int(joint.max(initial=0)) + 1) + joint[known]
    size = {"num_classes": int(strata.max(initial=0)) + 1, "num_attributes": len(words.factors[place].values)}
    return explained_errors(is_right[known], strata, codes[place][known], seed=seed, **size)


def _borrowed(beyond: ExplainedErrors, words: Words, place: int) -> str:
    others = " and ".join(factor.name for i, factor in enumerate(words.factors) if i != place)
    if beyond.p_value is None:
        return f" Its effect can't be told from that of {others}: they go together in these images."
    return f" Among images that agree in {others}, no difference is left, so that it may be due to {others} alone."
