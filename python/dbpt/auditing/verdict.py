"""The verdict of an audit, in one sentence: bias, no evidence, or guesses that can't be trusted."""

from collections.abc import Sequence
from itertools import combinations
from math import inf, sqrt

from dbpt.auditing.figures import AuditedGroup, PredictionsBy, Verdict
from dbpt.auditing.result import p_text
from dbpt.groups import SMALL_GROUP
from dbpt.groups.association import ExplainedErrors
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.text import in_words

SIGNIFICANT = 0.05
SUBJECTS: dict[PredictionsBy, str] = {
    "zero-shot": "zero-shot CLIP",
    "run": "the classifier of the run",
    "file": "the classifier",
    "probe": "a linear probe, which learns what plain training would learn,",
}


def verdict_of(
    groups: Sequence[AuditedGroup],
    explained: ExplainedErrors,
    guesses: Guesses,
    *,
    by: PredictionsBy,
    by_guesses: bool,
    attributes: Sequence[str],
) -> Verdict:
    """Return the verdict. ``by_guesses`` says that the groups are those of CLIP's guesses."""
    names, subject = " / ".join(attributes), SUBJECTS[by]
    if by_guesses and guesses.doubts:
        sentence = f"CLIP can't tell {names} apart in these images, so nothing follows about {subject.rstrip(',')}: "
        return Verdict(kind="untrusted", sentence=sentence + "; ".join(guesses.doubts) + ".")
    judged_by = ", judged by CLIP's guesses" if by_guesses else ""
    if explained.p_value is None:
        why = "makes no errors" if not explained.errors else "is right or wrong in whole classes"
        where = "there is nothing to compare: no class has images of two attributes, or the classifier " + why
        return Verdict(kind="no evidence", sentence=f"No evidence of a bias towards {names}{judged_by}: {where}.")
    if explained.p_value > SIGNIFICANT:
        sentence = (
            f"No evidence that the errors of {subject} depend on {names}{judged_by}: differences within the classes "
            f"are as chance makes them ({p_text(explained.p_value)})"
        )
        smallest = min((each.n for each in groups if each.n), default=0)
        few = f"; the smallest group has only {smallest} images, so a difference may go unseen"
        return Verdict(kind="no evidence", sentence=sentence + (few if smallest < SMALL_GROUP else "") + ".")
    worse, better = most_different(groups)
    share = in_words(explained.share)
    sentence = (
        f"The accuracy of {subject} depends on {names}{judged_by}: of the class {worse.class_name!r} it gets "
        f"{in_words(worse.accuracy)} right with {worse.attribute!r}, but {in_words(better.accuracy)} with "
        f"{better.attribute!r} ({p_text(explained.p_value)}); {share} of its errors go with the attribute."
    )
    return Verdict(kind="bias", sentence=sentence)


def most_different(groups: Sequence[AuditedGroup]) -> tuple[AuditedGroup, AuditedGroup]:
    """Return the two groups of one class that differ most in accuracy, in standard errors, the worse one first."""

    def difference(pair: tuple[AuditedGroup, AuditedGroup]) -> float:
        one, other = pair
        if one.class_name != other.class_name or one.accuracy is None or other.accuracy is None:
            return -inf
        pooled = (one.correct + other.correct + 1) / (one.n + other.n + 2)
        return abs(one.accuracy - other.accuracy) / sqrt(pooled * (1 - pooled) * (1 / one.n + 1 / other.n))

    one, other = max(combinations(groups, 2), key=difference)
    return (one, other) if (one.accuracy or 0.0) <= (other.accuracy or 0.0) else (other, one)
