"""The verdict of an audit, in one sentence: bias, no evidence, nothing to compare, or guesses that can't be trusted."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import cast

from dbpt.auditing.figures import AuditedGroup, Verdict
from dbpt.auditing.result import p_text
from dbpt.errors import classes_in_words
from dbpt.groups import SMALL_GROUP
from dbpt.groups.association import ExplainedErrors
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.text import count, count_of, in_words
from dbpt.runs.audited import PredictionsBy

SIGNIFICANT = 0.05
SLIGHT = 0.02
"""Many images show differences that matter little: below two percentage points the verdict says so."""
FEW_ERRORS = 10
LOOK_FIRST = (
    "Look at the pictures: if they don't show the attribute, the errors go with something else that CLIP takes for it."
)
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
    """Return the verdict. ``by_guesses`` says that the groups are those of the ``guesses``."""
    names, subject = " / ".join(attributes), SUBJECTS[by]
    by_clusters = by_guesses and guesses.by_clusters
    if by_guesses and guesses.doubts:
        missing = f"CLIP can't tell {names} apart in these images"
        missing = f"The probe's guesses of {names} can't be trusted" if guesses.by_probe else missing
        missing = "Some classes may form no distinct clusters" if by_clusters else missing
        sentence = f"{missing}, so nothing follows about {subject.rstrip(',')}."
        return Verdict(kind="untrusted", sentence=sentence, details=list(guesses.doubts))
    source, guessed = guesses.called, "guessed"
    if guesses.from_file:
        source, guessed = "the attributes in the file", "labelled"
    unchecked = "" if guesses.is_judged else " (not checked)"
    by_words = by_guesses and not (by_clusters or guesses.from_file or guesses.by_probe)
    judged_by = f", judged by {source}{unchecked}" if by_guesses and not by_clusters else ""
    names = "the cluster of an image within its class" if by_clusters else names
    without = _without_attribute(groups, guesses) if by_guesses and guesses.n_unknown else ""
    alone = _classes_of_one_attribute(groups)
    if len(alone) == len({each.class_name for each in groups if each.n}):
        sentence = f"Nothing follows about a bias towards {names}{judged_by}: no class has images of two attributes"
        sentence += (
            f", since {without}." if without else ", so that errors of the attribute look like errors of the class."
        )
        return Verdict(kind="nothing to compare", sentence=sentence)
    untold = f"the {classes_in_words(alone)}, whose images all have the same attribute"
    untold = f"; nothing follows about {untold}" if alone else ""
    untold += f"; {without}" if without else ""
    if explained.p_value is None:
        why = "makes no errors" if not explained.errors else "gets each class wholly right or wholly wrong"
        sentence = f"No evidence of a bias towards {names}{judged_by}: {subject} {why}{untold}."
        return Verdict(kind="no evidence", sentence=sentence)
    if explained.p_value > SIGNIFICANT:
        sentence = (
            f"No evidence that the errors of {subject} depend on {names}{judged_by}: differences within the classes "
            f"are as chance makes them ({p_text(explained)})"
        )
        return Verdict(kind="no evidence", sentence=f"{sentence}{_too_few(groups, explained)}{untold}.")
    worse, better = named_difference(groups)
    among, others = (
        ("of the images that CLIP takes for", "of those that it takes for") if by_words else ("with", "with")
    )
    of_class = f"of the class {worse.class_name!r} it gets {in_words(worse.accuracy)} right {among} "
    of_class += f"{worse.attribute!r}, but {in_words(better.accuracy)} {others} {better.attribute!r}"
    of_class += f" ({p_text(explained)})"
    if by_guesses and not by_clusters and (wrong := _enough_wrong_guesses(worse, groups, guesses)):
        are = "is" if wrong == 1 else "are"
        sentence = (
            f"The errors of {subject} go with {source} of {names}, but wrong guesses alone can be the reason: "
            f"{of_class}, and about {count_of(wrong, 'image')} of this class {are} probably {guessed} wrongly."
        )
        return Verdict(kind="untrusted", sentence=sentence)
    difference = cast(float, better.accuracy) - cast(float, worse.accuracy)
    what = "the cluster" if by_clusters else "these guesses" if by_words else "the attribute"
    on = f"what CLIP takes for {names}" if by_words else f"{names}{judged_by}"
    sentence = (
        f"The accuracy of {subject} depends {'slightly ' if difference < SLIGHT else ''}on {on}: "
        f"{of_class}; {in_words(explained.share)} of its errors go with {what}{_unclear(worse, better)}{untold}."
    )
    return Verdict(kind="bias", sentence=sentence, caution=LOOK_FIRST if by_words else "", group=groups.index(worse))


def _unclear(worse: AuditedGroup, better: AuditedGroup) -> str:
    """Return why the difference between the two groups that a verdict of bias names may be of another size."""
    found = "" if _are_apart(worse, better) else "; no two groups of a class have intervals that are apart"
    fewest = min((worse, better), key=lambda group: group.n)
    if fewest.n < SMALL_GROUP:
        images = "image" if fewest.n == 1 else "images"
        found += f"; {fewest.attribute!r} has only {fewest.n} {images} of this class, so its accuracy is uncertain"
    return found


def _are_apart(worse: AuditedGroup, better: AuditedGroup) -> bool:
    return cast(float, worse.high) < cast(float, better.low)


def named_difference(groups: Sequence[AuditedGroup]) -> tuple[AuditedGroup, AuditedGroup]:
    """Return the two groups of one class that the verdict names, the worse one first.

    Of pairs whose intervals are apart, these differ most in accuracy. If there are none, they differ most in standard
    errors.
    """

    def difference(pair: tuple[AuditedGroup, AuditedGroup]) -> tuple[bool, float]:
        worse, better = pair
        pooled = (worse.correct + better.correct + 1) / (worse.n + better.n + 2)
        found = better.correct / better.n - worse.correct / worse.n
        if _are_apart(worse, better):
            return True, found
        return False, found / sqrt(pooled * (1 - pooled) * (1 / worse.n + 1 / better.n))

    found = sorted((each for each in groups if each.n), key=lambda each: each.correct / each.n)
    return max((pair for pair in combinations(found, 2) if pair[0].class_name == pair[1].class_name), key=difference)


def _enough_wrong_guesses(worse: AuditedGroup, groups: Sequence[AuditedGroup], guesses: Guesses) -> int | None:
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


def _without_attribute(groups: Sequence[AuditedGroup], guesses: Guesses) -> str:
    """Return how many images are in no group, and why."""
    n = guesses.n_unknown + sum(each.n for each in groups)
    unsure = f"{guesses.guesser}'s confidence is below --min-confidence"
    why = "the file has none for them" if guesses.from_file else unsure
    return f"{count(guesses.n_unknown)} of {count(n)} images have no attribute, because {why}"


def _classes_of_one_attribute(groups: Sequence[AuditedGroup]) -> list[str]:
    """Return the classes whose images all have the same attribute."""
    found = Counter(each.class_name for each in groups if each.n)
    return [name for name, attributes in found.items() if attributes == 1]


def _too_few(groups: Sequence[AuditedGroup], explained: ExplainedErrors) -> str:
    """Return why a difference may go unseen, if images or errors are few."""
    smallest = min(each.n for each in groups if each.n)
    if smallest < SMALL_GROUP:
        images = "image" if smallest == 1 else "images"
        return f"; the smallest group has only {smallest} {images}, so a difference may go unseen"
    if explained.errors < FEW_ERRORS:
        return f"; with only {count_of(explained.errors, 'error')}, a difference may go unseen"
    return ""
