"""The audit of the suspected attributes, one or more: each by itself, and whether others explain its errors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.figures import detectable_difference
from dbpt.auditing.subject import Subject
from dbpt.auditing.verdict import verdict_of
from dbpt.data.words import UNNAMED, joint_codes
from dbpt.groups import ExplainedErrors, cramers_v, explained_errors
from dbpt.guesses.trust import Guesses
from dbpt.report.verdicts import AuditedFactor, beyond_in_words
from dbpt.study.study import Study


def audited_factors(
    subject: Subject, study: Study, parts: Sequence[Study], guesses: Guesses
) -> tuple[list[AuditedFactor], ExplainedErrors]:
    """Return the figures of each attribute, one or more, and what all together explain of the errors.

    The groups are those of the ``study``, and with several attributes those of each of the ``parts``. The p-values of
    the verdicts are Holm's (1979), so that the chance of any wrong verdict of bias is at most 5 %. Only images that are
    no copies are tested.
    """
    rows, labels, predictions = subject.audited, subject.labels, subject.predictions
    tested, seed, all_parts = np.flatnonzero(subject.is_first), subject.config.seed, parts or [study]
    is_right, of_class = (predictions.predictions == labels)[tested], labels[tested]

    def explained_by(part: Study) -> ExplainedErrors:
        return explained_errors(is_right, of_class, _codes(part, rows[tested]), seed=seed, **part.sizes)

    tests = [explained_by(part) for part in all_parts]
    adjusted = holm([test.p_value for test in tests])
    judged = [
        of if part.group_kind == "pseudo" else None for part, of in zip(all_parts, guesses.by_suspect, strict=True)
    ]
    suspects = [part.dataset.words.suspects[0] for part in parts]
    names = [suspect.name for suspect in suspects] or [UNNAMED]
    values = [list(suspect.values) for suspect in suspects] or [list(study.dataset.attribute_names)]
    found = []
    for place, (part, of) in enumerate(zip(all_parts, judged, strict=True)):
        metrics = part.metrics_of(predictions.predictions, rows, confidence=predictions.confidence)
        groups = [each for each in metrics.groups if each.n]
        explained = replace(tests[place], p_value=adjusted[place])
        verdict = verdict_of(
            groups,
            explained,
            of,
            by=subject.by,
            attributes=values[place],
            is_searched=subject.search is not None and subject.search.on_audited,
            detectable=detectable_difference(is_right, of_class, _codes(part, rows[tested]), **part.sizes),
        )
        others = [other for other in range(len(judged)) if other != place]
        doubted = [other for other in others if (by := judged[other]) is not None and by.doubts]
        trusted = [other for other in others if other not in doubted]
        beyond = [all_parts[other] for other in trusted]
        factor = AuditedFactor(
            name=names[place],
            values=values[place],
            group_kind=part.group_kind,
            verdict=verdict,
            groups=groups,
            cramers_v=association(part, rows),
            explained=explained,
            explained_beyond=_beyond(is_right, of_class, rows[tested], part, beyond, seed) if beyond else None,
        )
        if verdict.kind == "bias":
            more = beyond_in_words(factor, [names[other] for other in trusted], [names[other] for other in doubted])
            factor = replace(factor, verdict=replace(verdict, lead=[*verdict.lead, *more]))
        found.append(factor)
    return found, explained_by(study) if parts else tests[0]


def association(study: Study, rows: NDArray[np.int64]) -> float | None:
    """Return Cramér's V of class and attribute in the ``rows``; None if classes differ in their values."""
    if study.by_clusters or any(suspect.of_class for suspect in study.dataset.words.suspects):
        return None
    return cramers_v(study.dataset.labels[rows], _codes(study, rows), **study.sizes)


def _codes(study: Study, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the attributes of the ``rows`` that define the groups."""
    return study.attributes(study.group_kind)[rows]


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
    rows: NDArray[np.int64],
    part: Study,
    others: Sequence[Study],
    seed: int,
) -> ExplainedErrors:
    """Test the attribute within the classes and the values of the ``others``."""
    joint = joint_codes([_codes(other, rows) for other in others], [other.sizes["num_attributes"] for other in others])
    codes = _codes(part, rows)
    known = (joint >= 0) & (codes >= 0)
    strata = labels[known] * (int(joint.max(initial=0)) + 1) + joint[known]
    sizes = part.sizes | {"num_classes": int(strata.max(initial=0)) + 1}
    return explained_errors(is_right[known], strata, codes[known], seed=seed, **sizes)
