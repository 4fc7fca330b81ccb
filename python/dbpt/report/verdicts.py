"""The verdict of an audit: its fields, and the sentences that are made of them.

A short sentence is the headline; the sentences of the ``lead`` say how strong and how certain the result is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dbpt.cautions import Caution
from dbpt.errors import classes_in_words
from dbpt.groups import SMALL_GROUP, ExplainedErrors, Group
from dbpt.groups.accuracy import worst_first
from dbpt.guesses.trust import Guesses
from dbpt.report import text
from dbpt.runs.metrics import GroupKind, PredictionsBy
from dbpt.storage.typed_json import Count, Share

VerdictKind = Literal["bias", "no evidence", "nothing to compare", "untrusted"]
BiasSize = Literal["small", "clear", "strong"]
WhyNothing = Literal["one attribute", "no errors", "whole classes"]
"""Why there is nothing to compare: no class has two attributes, or none has both right and wrong images."""
Pair = tuple[Count, Count]
"""The `Group.index` of two groups of one class, the worse one first."""
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
DEPENDS: dict[BiasSize, str] = {"small": "depends slightly", "clear": "depends", "strong": "depends strongly"}
LOOK_FIRST = (
    "Look at the pictures: if they don't show the attribute, the errors go with something else that CLIP takes for it."
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result: a kind with its figures, and the sentences that say them.

    ``sentence`` is the headline, and ``lead`` are the sentences below it: how strong and how certain the result is,
    what it is not about, and the most frequent mistake overall. ``doubts`` about the guesses make a verdict untrusted,
    if they are not wrong guesses alone: those of ``wrong_guesses`` images. ``why_nothing`` says why there is nothing to
    compare. ``group`` is the `Group.index` of the worse group that a verdict of bias names, ``pair`` are the two groups
    whose difference the sentence names, and ``also`` those of another class that differ. ``size`` says how large the
    bias is, and ``by_words`` that it is one over groups that CLIP guessed by words. Without evidence of one,
    ``detectable`` is the smallest difference in accuracy that the images would probably have shown.
    """

    kind: VerdictKind
    sentence: str = ""
    lead: list[str] = field(default_factory=list)
    doubts: list[Caution] = field(default_factory=list)
    why_nothing: WhyNothing | None = None
    group: Count | None = None
    size: BiasSize | None = None
    by_words: bool = False
    detectable: Share | None = None
    pair: Pair | None = None
    also: Pair | None = None
    wrong_guesses: Count | None = None

    @property
    def look_first(self) -> str:
        """The last sentence, for a bias over groups that CLIP guessed by words."""
        return LOOK_FIRST if self.by_words else ""

    def __str__(self) -> str:
        reasons = [text.sentence(doubt.sentence) for doubt in self.doubts]
        return " ".join([self.sentence, *reasons, *self.lead, self.look_first]).rstrip()


@dataclass(frozen=True, kw_only=True)
class AuditedFactor:
    """One of several factors by itself: its verdict, and the groups (class x value) that have images.

    ``group_kind`` says whether its values are the true ones, which one factor may have without the others.
    ``explained`` is tested within the classes, with a p-value adjusted for the number of factors; ``explained_beyond``
    within the classes and the values of all other factors without doubts, not adjusted; None if there are none.
    """

    name: str
    values: list[str]
    group_kind: GroupKind
    verdict: Verdict
    groups: list[Group]
    cramers_v: float | None
    explained: ExplainedErrors
    explained_beyond: ExplainedErrors | None

    @property
    def is_its_own(self) -> bool:
        """True if errors go with it also among images that agree in the other factors."""
        beyond = self.explained_beyond
        return beyond is None or (beyond.p_value is not None and beyond.p_value <= SIGNIFICANT)


def verdict_in_words(
    verdict: Verdict,
    groups: Sequence[Group],
    explained: ExplainedErrors,
    guesses: Guesses | None,
    *,
    by: PredictionsBy,
    attributes: Sequence[str],
    is_searched: bool = False,
) -> Verdict:
    """Return the verdict with its sentences.

    Args:
        verdict: the decision, in fields.
        groups: those that have images.
        explained: what the attribute explains of the errors.
        guesses: those that define the groups; None if the true attributes do.
        by: whose errors they are.
        attributes: the names of the attribute.
        is_searched: whether a search chose the attribute on these images: its p-value is then too small to be named.
    """
    by_clusters, subject = guesses is not None and guesses.by_clusters, SUBJECTS[by]
    names = "the cluster of an image within its class" if by_clusters else " / ".join(attributes)
    if verdict.doubts:
        assert guesses is not None
        doubted = distrust(guesses, names if guesses.by_probe else guesses.in_doubt(attributes))
        words = f"{doubted}, so this audit can't tell whether the errors of {subject} depend on them."
        return replace(verdict, sentence=words)
    unknown = [] if guesses is None or not guesses.n_unknown else [_without_attribute(groups, guesses)]
    alone = classes_of_one_attribute(groups)
    untested = [f"Nothing follows about the {classes_in_words(alone)}, whose images all have the same attribute."]
    untested = [*(untested if alone else []), *unknown]
    tested = "" if is_searched or explained.p_value is None else f" ({p_text(explained)})"
    towards = f"{names}{'' if guesses is None else _according_to(guesses)}"
    named = {each.index: each for each in groups}
    if verdict.why_nothing == "one attribute":
        words = f"Whether {names} matters can't be tested: no class has images of two attributes."
        lead = unknown or ["Errors of the attribute look like errors of the class."]
    elif verdict.why_nothing == "whole classes":
        words, lead = _whole_classes(groups, subject, names), untested
    elif verdict.why_nothing == "no errors":
        images = f"No errors in these {text.count(explained.n)} images"
        words, lead = f"{images}, so there is nothing that an attribute could explain.", untested
    elif verdict.kind == "no evidence":
        words = f"No evidence that the errors of {subject} depend on {towards}."
        lead = [f"Differences within the classes are no larger than chance often makes them{tested}."]
        lead += [*_unseen(verdict.detectable, explained), *_too_few(groups, explained), *untested]
    else:
        assert verdict.pair is not None
        worse, better = (named[index] for index in verdict.pair)
        difference = _difference_text(worse, better)
        if verdict.kind == "untrusted":
            assert guesses is not None and verdict.wrong_guesses is not None
            n, source = verdict.wrong_guesses, "the attributes in the file" if guesses.from_file else guesses.called
            words = f"The errors of {subject} go with {source} of {names}, but wrong guesses alone can be the reason."
            guessed = f"about {text.count_of(n, 'image')} of this class {'is' if n == 1 else 'are'} probably"
            guessed += f" {'labelled' if guesses.from_file else 'guessed'} wrongly"
            lead = [f"{text.capitalize_first(difference)}{tested}; {guessed}.", *untested]
        else:
            assert verdict.size is not None
            words = f"The accuracy of {subject} {DEPENDS[verdict.size]} on {towards}: {difference}."
            what = "the cluster" if by_clusters else "these guesses" if verdict.by_words else "the attribute"
            errors = f"{text.share_in_words(explained)} of its {text.count_of(explained.errors, 'error')}"
            also = [named[index] for index in verdict.also or ()]
            lead = [f"Also {_difference_text(*also)}."] if also else []
            lead += [f"{errors} {'goes' if explained.errors == 1 else 'go'} with {what}{tested}."]
            lead += [*_uncertainties(worse, better, groups), *untested]
    return replace(verdict, sentence=words, lead=lead)


def p_text(explained: ExplainedErrors) -> str:
    """Format a p-value that is not None; the smallest one that the permutations allow is an upper bound."""
    p = explained.p_value
    assert p is not None
    return f"p {'≤' if explained.p_is_bound else '='} {p:.{4 if p < 0.01 else 2}f}"


def are_apart(worse: Group, better: Group) -> bool:
    """Return whether the intervals of the two groups are apart."""
    return worse.high is not None and better.low is not None and worse.high < better.low


def classes_of_one_attribute(groups: Sequence[Group]) -> list[str]:
    """Return the classes whose images all have the same attribute."""
    attributes_of = Counter(each.class_name for each in groups if each.n)
    return [name for name, attributes in attributes_of.items() if attributes == 1]


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
    shares = [
        (n / sum(row), name, other)
        for row, name in zip(confusion, classes, strict=True)
        if sum(row) >= SMALL_GROUP and not (verdict.kind == "bias" and name in good)
        for n, other in zip(row, classes, strict=True)
        if other != name
    ]
    share, name, other = max(shares, default=(0.0, "", ""), key=lambda each: each[0])
    return [] if share < LARGE_CONFUSION else [f"Overall, {text.in_words(share)} of {name!r} are taken for {other!r}."]


def beyond_in_words(factor: AuditedFactor, others: Sequence[str], doubted: Sequence[str]) -> list[str]:
    """Return sentences on a biased factor: whether ``others``, or those ``doubted``, may be the reason instead."""
    sentences, named, beyond = list[str](), " and ".join(others), factor.explained_beyond
    if beyond is not None and beyond.p_value is None:
        sentences.append(f"Its effect can't be told from that of {named}: they go together in these images.")
    elif beyond is not None and not factor.is_its_own:
        seen = f"no difference can be seen ({p_text(beyond)})"
        sentences.append(f"Among images that agree in {named}, {seen}: {named} may be the reason instead.")
    if doubted:
        sentences.append(f"But {' and '.join(doubted)} may be the reason instead. {_not_constant(doubted)}")
    return sentences


def factors_in_words(factors: Sequence[AuditedFactor], by: PredictionsBy) -> tuple[str, list[str]]:
    """Return the sentence on several factors, with a part for each verdict, and those below it."""

    def of_kind(kind: VerdictKind) -> list[AuditedFactor]:
        return [factor for factor in factors if factor.verdict.kind == kind]

    subject, biased, untrusted = SUBJECTS[by], of_kind("bias"), of_kind("untrusted")
    own = [factor for factor in biased if factor.is_its_own]
    doubted = [factor for factor in untrusted if factor.verdict.doubts] if biased else []
    parts = [
        (own, f"the errors of {subject} go with {{}}" if doubted else f"the accuracy of {subject} depends on {{}}"),
        (
            [factor for factor in biased if factor not in own],
            f"the errors of {subject} {'also ' if own else ''}go with {{}}, which may be due to the other attributes",
        ),
        (doubted, "but {} may be the reason instead"),
        ([each for each in untrusted if each not in doubted], "nothing follows about {}, whose values may be wrong"),
        (of_kind("no evidence"), "there is no evidence of a bias towards {}"),
        (of_kind("nothing to compare"), "there is nothing to compare for {}"),
    ]
    sentence = "; ".join(words.format(" and ".join(map(_called, some))) for some, words in parts if some)
    return text.sentence(sentence), [_not_constant([factor.name for factor in doubted])] if doubted else []


def _called(factor: AuditedFactor) -> str:
    """Return the name of the factor; a bias over guesses by words is one towards the guesses."""
    return f"CLIP's guesses of {factor.name}" if factor.verdict.by_words else factor.name


def _not_constant(names: Sequence[str]) -> str:
    it = "it" if len(names) == 1 else "they"
    return f"The guesses of {' and '.join(names)} can't be trusted, so {it} could not be held constant."


def _difference_text(worse: Group, better: Group) -> str:
    """Return the accuracies of two groups of a class, with the counts of small ones."""
    one, other = (
        f"{text.in_words(each.accuracy)}{f' ({each.correct} of {each.n})' if each.n < SMALL_GROUP else ''}"
        for each in (worse, better)
    )
    return f"of {worse.class_name!r} {one} right with {worse.attribute!r}, {other} with {better.attribute!r}"


def _uncertainties(worse: Group, better: Group, groups: Sequence[Group]) -> list[str]:
    """Return sentences that say how certain the named difference is, and which group is worst if it is another."""
    sentences, apart = [], are_apart(worse, better)
    fewest, worst = min((worse, better), key=lambda group: group.n), worst_first(groups)[0]
    if not apart:
        sentences.append("No two groups of a class have intervals that are apart.")
    if fewest.n < SMALL_GROUP:
        few = f"{fewest.attribute!r} has only {text.count_of(fewest.n, 'image')} of this class"
        certain = "the difference is real; its size is uncertain" if apart else "its accuracy is uncertain"
        sentences.append(f"{few}: {certain}.")
    if worst.correct / worst.n < worse.correct / worse.n:
        sentences.append(
            f"The worst group is another: of {worst.class_name!r} with {worst.attribute!r}, "
            f"{text.count(worst.correct)} of {text.count(worst.n)} images are right."
        )
    return sentences


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
    subject = text.capitalize_first(subject)
    if only := [name for name in n if predicted[name] == n.total()]:
        others = [name for name in n if n[name] and name != only[0]]
        whose = repr(others[0]) if len(others) == 1 else "other classes"
        wrong = f"all {text.count_of(n.total() - n[only[0]], 'image')} of {whose} are wrong"
        return f"{subject} calls every image {only[0]!r} ({wrong}), {untestable}."
    compared = [name for name in n if n[name] and name not in classes_of_one_attribute(groups)]
    parts = [("wrong", [name for name in compared if not correct[name]])]
    parts.append(("right", [name for name in compared if correct[name]]))
    outcome = " and ".join(f"each image of the {classes_in_words(classes)} {how}" for how, classes in parts if classes)
    return f"{subject} gets {outcome}, {untestable}."


def _without_attribute(groups: Sequence[Group], guesses: Guesses) -> str:
    """Return how many images are in no group, and why."""
    n = guesses.n_unknown + sum(each.n for each in groups)
    unsure = f"{guesses.guesser}'s confidence is below --min-confidence"
    why = "the file has none for them" if guesses.from_file else unsure
    return f"{text.count(guesses.n_unknown)} of {text.count(n)} images have no attribute, because {why}."


def _unseen(detectable: float | None, explained: ExplainedErrors) -> list[str]:
    """Return which differences these images would probably not have shown."""
    if detectable is None:
        return []
    images = f"{text.count_of(explained.n, 'image')} and {text.count_of(explained.errors, 'error')}"
    if detectable >= 1:
        return [f"With {images}, the test would miss even the largest difference in more than 20 % of such samples."]
    power = f"the test finds a difference of {text.points(detectable)} points between attributes in 80 %"
    return [f"With {images}, {power} of such samples, and smaller ones less often."]


def _too_few(groups: Sequence[Group], explained: ExplainedErrors) -> list[str]:
    """Return why a difference may go unseen, if images or errors are few."""
    smallest = min(each.n for each in groups if each.n)
    if smallest < SMALL_GROUP:
        return [f"The smallest group has only {text.count_of(smallest, 'image')}, so a difference may go unseen."]
    if explained.errors < FEW_ERRORS:
        return [f"With only {text.count_of(explained.errors, 'error')}, a difference may go unseen."]
    return []


def distrust(guesses: Guesses, names: str) -> str:
    """Return a sentence, without its full stop, that says that these ``guesses`` of the ``names`` can't be trusted."""
    if guesses.by_clusters:
        return "Some classes may form no distinct clusters"
    if guesses.by_probe:
        return f"The probe's guesses of {names} can't be trusted"
    return f"CLIP can't tell {names} apart in these images"


def after_doubts(doubts: Sequence[Caution], headline: str) -> str:
    """Return a headline with the doubts about the words of the classes before it."""
    return " ".join([*(text.sentence(str(doubt)) for doubt in doubts), headline])
