"""The audit of the suspected attributes, one or more: each by itself, and whether others explain its errors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.figures import AuditedFactor, BiasSize, UserPredictions, Verdict, VerdictKind, detectable_difference
from dbpt.auditing.result import p_text
from dbpt.auditing.verdict import SIGNIFICANT, SUBJECTS, verdict_of
from dbpt.data.words import joint_codes
from dbpt.groups import ExplainedErrors, cramers_v, explained_errors, group_counts, group_ids, group_metrics
from dbpt.guesses.trust import Guesses
from dbpt.report.text import sentence as as_sentence
from dbpt.runs.metrics import GroupKind, PredictionsBy

SIZES: tuple[BiasSize, ...] = ("strong", "clear", "small")
SEVERITY: tuple[VerdictKind, ...] = ("bias", "untrusted", "no evidence", "nothing to compare")


@dataclass(frozen=True, kw_only=True)
class GroupsToAudit:
    """The groups of the N readable images by one attribute, g = y*A + a.

    ``attributes`` (N,) are the true or the pseudo attributes, as ``kind`` says, and ``pairs`` (G,) the names of class
    and attribute. ``by_clusters`` says that they are clusters within each class, so that each class has its own.
    ``has_own_values`` says that classes differ in the values that they may have. The combinations of several attributes
    have the groups of each as ``factors``.
    """

    name: str
    values: list[str]
    kind: GroupKind
    attributes: NDArray[np.int64]
    pairs: list[tuple[str, str]]
    num_classes: int
    by_clusters: bool = False
    has_own_values: bool = False
    factors: "tuple[GroupsToAudit, ...]" = ()

    @property
    def parts(self) -> "tuple[GroupsToAudit, ...]":
        """The groups by each attribute, one or more."""
        return self.factors or (self,)

    @property
    def size(self) -> dict[str, int]:
        """The numbers of classes and attributes, as functions of groups take them."""
        return {"num_classes": self.num_classes, "num_attributes": len(self.pairs) // self.num_classes}

    def names(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> list[str]:
        """Return the name of the attribute of each of the ``rows``; "" where it is unknown."""
        return [self.pairs[group][1] if group >= 0 else "" for group in self._groups(labels, rows).tolist()]

    def counts(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the (G,) images of each group among ``rows``."""
        return group_counts(self._groups(labels, rows), len(self.pairs))

    def association(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> float | None:
        """Return Cramér's V of class and attribute in the ``rows``; None if classes differ in their values."""
        own = self.by_clusters or self.has_own_values
        return None if own else cramers_v(labels[rows], self.attributes[rows], **self.size)

    def _groups(self, labels: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return group_ids(labels[rows], self.attributes[rows], self.size["num_attributes"])


def audited_factors(
    chosen: GroupsToAudit,
    predictions: UserPredictions,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    guesses: Guesses,
    *,
    by: PredictionsBy,
    seed: int,
    is_first: NDArray[np.bool_],
    is_searched: bool = False,
) -> tuple[list[AuditedFactor], ExplainedErrors]:
    """Return the figures of each attribute, one or more, and what all together explain of the errors.

    The audited images are the ``rows`` (n,), of the classes ``labels`` (n,). The p-values of the verdicts are Holm's
    (1979), so that the chance of any wrong verdict of bias is at most 5 %. Only images that are no copies are tested,
    those with True in ``is_first`` (n,). ``is_searched`` is as for `verdict_of`.
    """
    parts, tested = chosen.parts, np.flatnonzero(is_first)
    is_right, of_class = (predictions.predictions == labels)[tested], labels[tested]

    def explained_by(part: GroupsToAudit) -> ExplainedErrors:
        return explained_errors(is_right, of_class, part.attributes[rows[tested]], seed=seed, **part.size)

    tests = [explained_by(part) for part in parts]
    adjusted = holm([test.p_value for test in tests])
    by_guesses = [part.kind == "pseudo" for part in parts]
    judged = guesses.by_suspect
    is_doubted = [guessed and bool(each.doubts) for guessed, each in zip(by_guesses, judged, strict=True)]
    found = []
    for place, part in enumerate(parts):
        codes = part.attributes[rows]
        metrics = group_metrics(
            predictions.predictions,
            labels,
            codes,
            **part.size,
            confidence=predictions.confidence,
            group_names=part.pairs,
            shared_attributes=not part.by_clusters,
        )
        groups = [each for each in metrics.groups if each.n]
        explained = replace(tests[place], p_value=adjusted[place])
        verdict = verdict_of(
            groups,
            explained,
            judged[place],
            by=by,
            by_guesses=by_guesses[place],
            attributes=part.values,
            is_searched=is_searched,
            detectable=detectable_difference(is_right, of_class, codes[tested], **part.size),
        )
        others = [parts[other] for other in range(len(parts)) if other != place and not is_doubted[other]]
        untold = [parts[other].name for other in range(len(parts)) if other != place and is_doubted[other]]
        beyond = _beyond(is_right, of_class, rows[tested], part, others, seed) if others else None
        if verdict.kind == "bias" and beyond is not None and not is_its_own(beyond):
            names = " and ".join(other.name for other in others)
            verdict = replace(verdict, lead=[*verdict.lead, _borrowed(beyond, names)])
        if verdict.kind == "bias" and untold:
            why = f"But {' and '.join(untold)} may be the reason instead. {_not_constant(untold)}"
            verdict = replace(verdict, lead=[*verdict.lead, why])
        found.append(
            AuditedFactor(
                name=part.name,
                values=part.values,
                group_kind=part.kind,
                verdict=verdict,
                groups=groups,
                cramers_v=None if part.has_own_values or part.by_clusters else cramers_v(labels, codes, **part.size),
                explained=explained,
                explained_beyond=beyond,
            )
        )
    return found, explained_by(chosen) if chosen.factors else tests[0]


def verdict_of_factors(factors: Sequence[AuditedFactor], by: PredictionsBy) -> Verdict:
    """Return the verdict on all factors: that of one; of several the gravest kind, and a sentence on each."""
    if len(factors) == 1:
        return factors[0].verdict
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
    rows: NDArray[np.int64],
    part: GroupsToAudit,
    others: Sequence[GroupsToAudit],
    seed: int,
) -> ExplainedErrors:
    """Test the attribute within the classes and the values of the ``others``."""
    joint = joint_codes([other.attributes[rows] for other in others], [len(other.values) for other in others])
    codes = part.attributes[rows]
    known = (joint >= 0) & (codes >= 0)
    strata = labels[known] * (int(joint.max(initial=0)) + 1) + joint[known]
    size = part.size | {"num_classes": int(strata.max(initial=0)) + 1}
    return explained_errors(is_right[known], strata, codes[known], seed=seed, **size)


def _borrowed(beyond: ExplainedErrors, others: str) -> str:
    if beyond.p_value is None:
        return f"Its effect can't be told from that of {others}: they go together in these images."
    seen = f"no difference can be seen ({p_text(beyond)})"
    return f"Among images that agree in {others}, {seen}: {others} may be the reason instead."


def _not_constant(names: Sequence[str]) -> str:
    it = "it" if len(names) == 1 else "they"
    return f"The guesses of {' and '.join(names)} can't be trusted, so {it} could not be held constant."
