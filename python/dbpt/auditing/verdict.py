"""The verdict of an audit: bias, no evidence, nothing to compare, or guesses that can't be trusted.

A short sentence is the headline; the sentences of its ``lead`` say how strong and how certain the result is.
"""

from collections import Counter
from collections.abc import Sequence
from typing import cast

from dbpt.auditing import result
from dbpt.auditing.figures import Verdict, WhyNothing
from dbpt.errors import classes_in_words
from dbpt.groups import SMALL_GROUP, ExplainedErrors, Group
from dbpt.guesses.trust import Guesses
from dbpt.report.guesses import distrust
from dbpt.report.text import capitalize_first, count, count_of, in_words, points, share_in_words
from dbpt.runs.metrics import PredictionsBy

SIGNIFICANT = 0.05
FEW_ERRORS = 10
LARGE_CONFUSION = 0.1
"""From this share on, the verdict says which class is taken for which other one."""
SUBJECTS: dict[PredictionsBy, str] = {
    "zero-shot": "zero-shot CLIP",
    "run": "the classifier of the run",
    "file": "the classifier",
    "probe": "a linear probe",
}


def verdict_of(
    groups: Sequence[Group],
    explained: ExplainedErrors,
    guesses: Guesses,
    *,
    by: PredictionsBy,
    by_guesses: bool,
    attributes: Sequence[str],
    is_searched: bool = False,
    detectable: float | None = None,
) -> Verdict:
    """Return the verdict. ``by_guesses`` says that the groups are those of the ``guesses``.

    ``detectable`` is the `detectable_difference` of these images.

    ``is_searched`` says that a search chose the attribute on these images: its p-value is then too small to be named.
    """
    by_clusters, subject = by_guesses and guesses.by_clusters, SUBJECTS[by]
    names = "the cluster of an image within its class" if by_clusters else " / ".join(attributes)
    if by_guesses and guesses.doubts:
        return _untrusted(guesses, attributes, subject)
    alone = _classes_of_one_attribute(groups)
    unknown = [_without_attribute(groups, guesses)] if by_guesses and guesses.n_unknown else []
    nothing = _nothing_to_compare(groups, explained)
    if nothing == "one attribute":
        sentence = f"Whether {names} matters can't be tested: no class has images of two attributes."
        lead = unknown or ["Errors of the attribute look like errors of the class."]
        return Verdict(kind="nothing to compare", sentence=sentence, lead=lead, why_nothing=nothing)
    untold = [f"Nothing follows about the {classes_in_words(alone)}, whose images all have the same attribute."]
    untold = [*(untold if alone else []), *unknown]
    if nothing is not None:
        why = f"No errors in these {count(explained.n)} images, so there is nothing that an attribute could explain."
        why = _whole_classes(groups, subject, names) if nothing == "whole classes" else why
        return Verdict(kind="nothing to compare", sentence=why, lead=untold, why_nothing=nothing)
    towards = f"{names}{_according_to(guesses) if by_guesses else ''}"
    tested = "" if is_searched else f" ({result.p_text(explained)})"
    if cast(float, explained.p_value) > SIGNIFICANT:
        sentence = f"No evidence that the errors of {subject} depend on {towards}."
        lead = [f"Differences within the classes are no larger than chance often makes them{tested}."]
        lead += [*_unseen(detectable, explained), *_too_few(groups, explained), *untold]
        return Verdict(kind="no evidence", sentence=sentence, lead=lead, detectable=detectable)
    worse, better = result.named_difference(groups)
    if by_guesses and not by_clusters and result.enough_wrong_guesses(worse, groups, guesses):
        worse, better = result.named_difference(groups, prefers_worst=False)
        if wrong := result.enough_wrong_guesses(worse, groups, guesses):
            source = "the attributes in the file" if guesses.from_file else guesses.called
            sentence = (
                f"The errors of {subject} go with {source} of {names}, but wrong guesses alone can be the reason."
            )
            guessed = f"about {count_of(wrong, 'image')} of this class {'is' if wrong == 1 else 'are'} probably"
            guessed += f" {'labelled' if guesses.from_file else 'guessed'} wrongly"
            lead = [f"{capitalize_first(result.difference_text(worse, better))}{tested}; {guessed}.", *untold]
            return Verdict(kind="untrusted", sentence=sentence, lead=lead)
    by_words = by_guesses and not (by_clusters or guesses.from_file or guesses.by_probe)
    size = result.bias_size(worse, better, explained.share or 0.0)
    how = {"small": "depends slightly", "clear": "depends", "strong": "depends strongly"}[size]
    what = "the cluster" if by_clusters else "these guesses" if by_words else "the attribute"
    go = "goes" if explained.errors == 1 else "go"
    return Verdict(
        kind="bias",
        sentence=f"The accuracy of {subject} {how} on {towards}: {result.difference_text(worse, better)}.",
        lead=[
            *result.also_different(worse, groups, guesses if by_guesses and not by_clusters else None),
            f"{share_in_words(explained)} of its {count_of(explained.errors, 'error')} {go} with {what}{tested}.",
            *result.uncertainties(worse, better, groups),
            *untold,
        ],
        group=worse.index,
        size=size,
        by_words=by_words,
    )


def most_confused(
    confusion: Sequence[Sequence[int]],
    classes: Sequence[str],
    groups: Sequence[Group],
    verdict: Verdict,
) -> list[str]:
    """Return a sentence on the class of which the largest share is taken for one other class; none if it is small.

    ``confusion`` (C, C) are the images of each class that are taken for each. Classes of few images don't count, nor,
    if the ``verdict`` is a bias, those with a group of which few are wrong: the attribute can be the reason there. It
    says so itself if all images are taken for one class.
    """
    if verdict.kind == "nothing to compare" and sum(any(column) for column in zip(*confusion, strict=True)) == 1:
        return []
    good = [each.class_name for each in groups if each.n and each.correct > (1 - LARGE_CONFUSION) * each.n]
    counted = [
        (row, name)
        for row, name in zip(confusion, classes, strict=True)
        if sum(row) >= SMALL_GROUP and not (verdict.kind == "bias" and name in good)
    ]
    shares = [
        (n / sum(row), name, other)
        for row, name in counted
        for n, other in zip(row, classes, strict=True)
        if other != name
    ]
    share, name, other = max(shares, default=(0.0, "", ""), key=lambda found: found[0])
    if share < LARGE_CONFUSION:
        return []
    return [f"Overall, {in_words(share)} of {name!r} are taken for {other!r}."]


def _nothing_to_compare(groups: Sequence[Group], explained: ExplainedErrors) -> WhyNothing | None:
    """Return why no class has both right and wrong images, and images of several attributes."""
    if len(_classes_of_one_attribute(groups)) == len({each.class_name for each in groups if each.n}):
        return "one attribute"
    if explained.p_value is not None:
        return None
    return "whole classes" if explained.errors else "no errors"


def _untrusted(guesses: Guesses, attributes: Sequence[str], subject: str) -> Verdict:
    names = " / ".join(attributes) if guesses.by_probe else guesses.in_doubt(attributes)
    sentence = f"{distrust(guesses, names)}, so this audit can't tell whether the errors of {subject} depend on them."
    return Verdict(kind="untrusted", sentence=sentence, doubts=list(guesses.doubts))


def _according_to(guesses: Guesses) -> str:
    """Return whose attributes these are, to follow their names."""
    if guesses.by_clusters:
        return ""
    if guesses.from_file:
        return f" as the file has them{'' if guesses.is_judged else ' (not checked)'}"
    return f" as {guesses.guesser} guesses them"


def _whole_classes(groups: Sequence[Group], subject: str, names: str) -> str:
    """Return which classes are wholly wrong, or wholly right, so that nothing can be tested."""
    n, correct, predicted = Counter[str](), Counter[str](), Counter[str]()
    for each in groups:
        n[each.class_name] += each.n
        correct[each.class_name] += each.correct
        predicted[each.class_name] += each.correct + (each.false_positives or 0)
    untestable = f"so whether {names} matters can't be tested"
    subject = capitalize_first(subject)
    if only := [name for name in n if predicted[name] == n.total()]:
        others = [name for name in n if n[name] and name != only[0]]
        whose = repr(others[0]) if len(others) == 1 else "other classes"
        wrong = f"all {count_of(n.total() - n[only[0]], 'image')} of {whose} are wrong"
        return f"{subject} calls every image {only[0]!r} ({wrong}), {untestable}."
    compared = [name for name in n if n[name] and name not in _classes_of_one_attribute(groups)]
    parts = [("wrong", [name for name in compared if not correct[name]])]
    parts.append(("right", [name for name in compared if correct[name]]))
    told = " and ".join(f"each image of the {classes_in_words(found)} {how}" for how, found in parts if found)
    return f"{subject} gets {told}, {untestable}."


def _without_attribute(groups: Sequence[Group], guesses: Guesses) -> str:
    """Return how many images are in no group, and why."""
    n = guesses.n_unknown + sum(each.n for each in groups)
    unsure = f"{guesses.guesser}'s confidence is below --min-confidence"
    why = "the file has none for them" if guesses.from_file else unsure
    return f"{count(guesses.n_unknown)} of {count(n)} images have no attribute, because {why}."


def _classes_of_one_attribute(groups: Sequence[Group]) -> list[str]:
    """Return the classes whose images all have the same attribute."""
    found = Counter(each.class_name for each in groups if each.n)
    return [name for name, attributes in found.items() if attributes == 1]


def _unseen(detectable: float | None, explained: ExplainedErrors) -> list[str]:
    """Return which differences these images would probably not have shown."""
    if detectable is None:
        return []
    images = f"{count_of(explained.n, 'image')} and {count_of(explained.errors, 'error')}"
    if detectable >= 1:
        return [f"With {images}, the test would miss even the largest difference in more than 20 % of such samples."]
    found = f"the test finds a difference of {points(detectable)} points between attributes in 80 % of such samples"
    return [f"With {images}, {found}, and smaller ones less often."]


def _too_few(groups: Sequence[Group], explained: ExplainedErrors) -> list[str]:
    """Return why a difference may go unseen, if images or errors are few."""
    smallest = min(each.n for each in groups if each.n)
    if smallest < SMALL_GROUP:
        return [f"The smallest group has only {count_of(smallest, 'image')}, so a difference may go unseen."]
    if explained.errors < FEW_ERRORS:
        return [f"With only {count_of(explained.errors, 'error')}, a difference may go unseen."]
    return []
