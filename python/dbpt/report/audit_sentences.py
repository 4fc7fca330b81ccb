"""The verdict of an audit in words.

A short sentence is the headline; the sentences of the ``lead`` say how strong and how certain the result is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dbpt.cautions import Caution
from dbpt.errors import classes_in_words
from dbpt.evaluation import ExplainedErrors, Group
from dbpt.evaluation.accuracy_by_group import are_apart, worst_first
from dbpt.evaluation.audit_fields import (
    AuditedFactor,
    AuditFigures,
    BiasSize,
    Pair,
    PredictionsBy,
    Verdict,
    VerdictKind,
    classes_of_one_attribute,
)
from dbpt.groups import SMALL_GROUP
from dbpt.guesses.base import BY_VALUES, OWN_VALUES, Provenance
from dbpt.guesses.figures import FactorGuesses, Guesses
from dbpt.report import text

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
class Evidence:
    """The test of an attribute, which a verdict is about.

    Attributes:
        groups: those that have images.
        explained: what the attribute explains of the errors.
        guesses: those that define the groups; None if the true attributes do.
        by: whose errors they are.
        attributes: the names of the attribute.
        is_searched: whether a search chose the attribute on these images: its p-value is then too small to be named.
    """

    groups: Sequence[Group]
    explained: ExplainedErrors
    guesses: FactorGuesses | None
    by: PredictionsBy
    attributes: Sequence[str]
    is_searched: bool = False

    @property
    def subject(self) -> str:
        """Who errs."""
        return SUBJECTS[self.by]

    @property
    def by_clusters(self) -> bool:
        """True if the groups are clusters within each class."""
        return self.guesses is not None and self.guesses.provenance == "clusters"

    @property
    def names(self) -> str:
        """The attribute by its names."""
        return "the cluster of an image within its class" if self.by_clusters else " / ".join(self.attributes)

    @property
    def towards(self) -> str:
        """The attribute, and whose guesses of it these are."""
        return f"{self.names}{'' if self.guesses is None else _according_to(self.guesses)}"

    @property
    def p_value(self) -> str:
        """The p-value in brackets."""
        return "" if self.is_searched or self.explained.p_value is None else f" ({text.p_text(self.explained)})"

    @property
    def without_attribute(self) -> list[str]:
        """A sentence on images without an attribute, if there are any."""
        return [] if self.guesses is None or not self.guesses.n_unknown else [_unknown(self.groups, self.guesses)]

    @property
    def untested(self) -> list[str]:
        """Sentences on classes and images that the test leaves out."""
        alone = classes_of_one_attribute(self.groups)
        sentence = f"Nothing follows about the {classes_in_words(alone)}, whose images all have the same attribute."
        return [*([sentence] if alone else []), *self.without_attribute]


def with_sentences(figures: AuditFigures) -> AuditFigures:
    """Return the figures of an audit with the sentences of all verdicts."""
    by, is_searched, verdict = figures.predictions_by, figures.data.is_searched, figures.verdict
    factors = factors_with_sentences(figures.factors, figures.guesses, by, is_searched=is_searched)
    confused = most_confused(figures.confusion, figures.groups, verdict.kind)
    if factors:
        sentence, lead = factors_in_words(factors, by)
        return replace(figures, verdict=replace(verdict, sentence=sentence, lead=[*lead, *confused]), factors=factors)
    assert figures.explained is not None
    coded = figures.data.coded
    evidence = Evidence(
        groups=figures.groups,
        explained=figures.explained,
        guesses=figures.guesses.factors[0] if figures.group_kind == "pseudo" else None,
        by=by,
        attributes=figures.data.attributes or ([text.coded_in_words(coded)] if coded else []),
        is_searched=is_searched,
    )
    return replace(figures, verdict=with_words(verdict, evidence, confused))


def factors_with_sentences(
    factors: Sequence[AuditedFactor], guesses: Guesses, by: PredictionsBy, *, is_searched: bool = False
) -> list[AuditedFactor]:
    """Return the factors, of which ``guesses`` are guesses, with the sentences of their verdicts; see `Evidence`."""
    worded = []
    for factor, of_factor in zip(factors, guesses.factors if factors else (), strict=True):
        evidence = Evidence(
            groups=factor.groups,
            explained=factor.explained,
            guesses=of_factor if factor.group_kind == "pseudo" else None,
            by=by,
            attributes=factor.values,
            is_searched=is_searched,
        )
        worded.append(replace(factor, verdict=with_words(factor.verdict, evidence, beyond_in_words(factor, factors))))
    return worded


def with_words(verdict: Verdict, evidence: Evidence, more: Sequence[str] = ()) -> Verdict:
    """Return the verdict with its sentences, and ``more``; one over guesses by words ends with what to look at."""
    sentence, lead = verdict_in_words(verdict, evidence)
    return replace(verdict, sentence=sentence, lead=[*lead, *more, *([LOOK_FIRST] if verdict.by_words else [])])


def verdict_in_words(verdict: Verdict, evidence: Evidence) -> tuple[str, list[str]]:
    """Return the headline of a verdict, and the sentences below it."""
    if verdict.doubts:
        return _in_doubt(evidence), []
    if verdict.kind == "nothing to compare":
        return _nothing(verdict, evidence)
    if verdict.kind == "no evidence":
        lead = [f"Differences within the classes are no larger than chance often makes them{evidence.p_value}."]
        lead += [
            *_unseen(verdict.detectable, evidence.explained),
            *_too_few(evidence.groups, evidence.explained),
            *evidence.untested,
        ]
        return f"No evidence that the errors of {evidence.subject} depend on {evidence.towards}.", lead
    return _wrong_guesses(verdict, evidence) if verdict.kind == "untrusted" else _bias(verdict, evidence)


def _in_doubt(evidence: Evidence) -> str:
    """Return the headline if the guesses can't be trusted."""
    guesses = evidence.guesses
    assert guesses is not None
    names = guesses.doubted or evidence.attributes
    all_of = "all of " if len(names) > 2 else ""
    named = evidence.names if guesses.provenance == "probe" else f"{all_of}{' / '.join(names)}"
    doubted = distrust(guesses.provenance, named)
    return f"{doubted}, so this audit can't tell whether the errors of {evidence.subject} depend on them."


def _nothing(verdict: Verdict, evidence: Evidence) -> tuple[str, list[str]]:
    """Return headline and lead if there is nothing to compare."""
    if verdict.why_nothing == "one attribute":
        lead = evidence.without_attribute or ["Errors due to the attribute look the same as errors due to the class."]
        return f"Whether {evidence.names} matters can't be tested: no class has images of two attributes.", lead
    if verdict.why_nothing == "whole classes":
        return _whole_classes(evidence.groups, evidence.subject, evidence.names), evidence.untested
    images = f"No errors in these {text.count(evidence.explained.n)} images"
    return f"{images}, so there is nothing that an attribute could explain.", evidence.untested


def _pair(pair: Pair | None, groups: Sequence[Group]) -> tuple[Group, Group]:
    """Return the two groups of one class that a verdict names, the worse one first."""
    assert pair is not None
    named = {group.index: group for group in groups}
    return named[pair[0]], named[pair[1]]


def _wrong_guesses(verdict: Verdict, evidence: Evidence) -> tuple[str, list[str]]:
    """Return headline and lead if wrong guesses alone can be the reason of a difference."""
    guesses, n = evidence.guesses, verdict.wrong_guesses
    assert guesses is not None and n is not None
    source = text.whose_guesses(guesses.provenance)
    guessed = f"about {text.count_of(n, 'image')} of this class {'is' if n == 1 else 'are'} probably"
    guessed += f" {'labelled' if guesses.provenance == 'file' else 'guessed'} wrongly"
    difference = text.capitalize_first(_difference_text(*_pair(verdict.pair, evidence.groups)))
    words = f"The errors of {evidence.subject} go with {source} of {evidence.names}"
    return f"{words}, but wrong guesses alone can be the reason.", [
        f"{difference}{evidence.p_value}; {guessed}.",
        *evidence.untested,
    ]


def _bias(verdict: Verdict, evidence: Evidence) -> tuple[str, list[str]]:
    """Return headline and lead of a bias."""
    assert verdict.size is not None
    explained, (worse, better) = evidence.explained, _pair(verdict.pair, evidence.groups)
    what = "the cluster" if evidence.by_clusters else "these guesses" if verdict.by_words else "the attribute"
    errors = f"{text.share_in_words(explained)} of its {text.count_of(explained.errors, 'error')}"
    lead = [f"Also {_difference_text(*_pair(verdict.also, evidence.groups))}."] if verdict.also else []
    lead += [f"{errors} {'goes' if explained.errors == 1 else 'go'} with {what}{evidence.p_value}."]
    lead += [*_uncertainties(worse, better, evidence.groups), *evidence.untested]
    headline = f"The accuracy of {evidence.subject} {DEPENDS[verdict.size]} on {evidence.towards}"
    return f"{headline}: {_difference_text(worse, better)}.", lead


def most_confused(taken_for: Mapping[str, Mapping[str, int]], groups: Sequence[Group], kind: VerdictKind) -> list[str]:
    """Return a sentence on the class of which the largest share is taken for one other class; none if it is small.

    ``taken_for`` has for each true class the images that are taken for each class. Classes of few images don't count,
    nor, if the ``kind`` of the verdict is a bias, those with a group of which few are wrong: the attribute can be the
    reason there. The verdict itself says it if all images are taken for one class.
    """
    if kind == "nothing to compare" and len({other for row in taken_for.values() for other in row}) == 1:
        return []
    good = [group.class_name for group in groups if group.n and group.correct > (1 - LARGE_CONFUSION) * group.n]
    shares = [
        (n / sum(row.values()), name, other)
        for name, row in taken_for.items()
        if sum(row.values()) >= SMALL_GROUP and not (kind == "bias" and name in good)
        for other, n in row.items()
        if other != name
    ]
    share, name, other = max(shares, default=(0.0, "", ""), key=lambda item: item[0])
    return [] if share < LARGE_CONFUSION else [f"Overall, {text.in_words(share)} of {name!r} are taken for {other!r}."]


def beyond_in_words(factor: AuditedFactor, factors: Sequence[AuditedFactor]) -> list[str]:
    """Return sentences on a biased factor: whether another of the ``factors`` may be the reason instead."""
    if factor.verdict.kind != "bias":
        return []
    others = [other for other in factors if other is not factor]
    doubted = [other.name for other in others if other.verdict.doubts]
    named = " and ".join(other.name for other in others if not other.verdict.doubts)
    sentences, beyond = list[str](), factor.explained_beyond
    if beyond is not None and beyond.p_value is None:
        sentences.append(f"Its effect can't be told from that of {named}: they go together in these images.")
    elif beyond is not None and not factor.is_its_own:
        seen = f"no difference can be seen ({text.p_text(beyond)})"
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
        ([name for name in untrusted if name not in doubted], "nothing follows about {}, whose values may be wrong"),
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
        f"{text.in_words(group.accuracy)}{f' ({group.correct} of {group.n})' if group.n < SMALL_GROUP else ''}"
        for group in (worse, better)
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


def _according_to(guesses: FactorGuesses) -> str:
    """Return whose attributes these are, to follow their names."""
    if guesses.provenance in OWN_VALUES:
        return ""
    if guesses.provenance == "file":
        return f" as the file has them{'' if guesses.is_judged else ' (not checked)'}"
    return f" as {text.guesser(guesses.provenance)} guesses them"


def _whole_classes(groups: Sequence[Group], subject: str, names: str) -> str:
    """Return which classes are wholly wrong, or wholly right, so that nothing can be tested."""
    n, correct, predicted = Counter[str](), Counter[str](), Counter[str]()
    for group in groups:
        n[group.class_name] += group.n
        correct[group.class_name] += group.correct
        predicted[group.class_name] += group.correct + (group.false_positives or 0)
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


def _unknown(groups: Sequence[Group], guesses: FactorGuesses) -> str:
    """Return how many images are in no group, and why."""
    n = guesses.n_unknown + sum(group.n for group in groups)
    unsure = f"{text.guesser(guesses.provenance)}'s confidence is below --min-confidence"
    why = "the file has none for them" if guesses.provenance == "file" else unsure
    why = "they have no value, or one that no training image has" if guesses.provenance in BY_VALUES else why
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
    smallest = min(group.n for group in groups if group.n)
    if smallest < SMALL_GROUP:
        return [f"The smallest group has only {text.count_of(smallest, 'image')}, so a difference may go unseen."]
    if explained.errors < FEW_ERRORS:
        return [f"With only {text.count_of(explained.errors, 'error')}, a difference may go unseen."]
    return []


def distrust(provenance: Provenance, names: str) -> str:
    """Return a sentence, without its full stop, that says that the guesses of the ``names`` can't be trusted."""
    if provenance == "clusters":
        return "Some classes may form no distinct clusters"
    if provenance == "probe":
        return f"The probe's guesses of {names} can't be trusted"
    return f"CLIP can't tell {names} apart in these images"


def after_doubts(doubts: Sequence[Caution], headline: str) -> str:
    """Return a headline with the doubts about the words of the classes before it."""
    return " ".join([*(text.sentence(str(doubt)) for doubt in doubts), headline])
