"""Audited data, searches and tried families: their fields, and the sentences made of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dbpt.cautions import Caution, short_of
from dbpt.data.words import UNNAMED
from dbpt.errors import in_quotes
from dbpt.evaluation.results import ClustersSummary, PredictionsBy
from dbpt.groups import ExplainedErrors, Group
from dbpt.groups.intervals import GroupDifference
from dbpt.guesses.trust import FactorGuesses
from dbpt.report import text
from dbpt.report.verdicts import SUBJECTS, VerdictKind, WhyNothing
from dbpt.storage.typed_json import Count, Share


@dataclass(frozen=True, kw_only=True)
class Search:
    """The ``family`` that ``--attributes auto`` chose, with the ``names`` that occur, and why it is the first.

    ``others``, which split the images in another way, explain errors too. ``may_be_class`` says that CLIP may confuse
    the names with the classes; ``on_audited`` images, p-values are too small. The ``sentence`` says all.
    """

    family: str
    names: list[str]
    explained: ExplainedErrors
    others: Count
    may_be_class: bool
    on_audited: bool
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditedData:
    """The audited images: those of ``split`` (``all`` is every split), with a known label.

    Groups over ``clusters`` have no ``attributes``. ``is_divided`` is False for data without splits, whose images are
    all in the training split. ``search`` is the one that chose the attribute, if any did.
    """

    name: str
    root: str
    split: Literal["train", "val", "test", "all"]
    n: Count
    failed_images: Count
    classes: list[str]
    attributes: list[str]
    notes: list[str]
    clusters: ClustersSummary | None = None
    is_divided: bool = True
    search: Search | None = None

    @property
    def is_searched(self) -> bool:
        """True if a search chose the attribute on the audited images, so that p-values are too small."""
        return self.search is not None and self.search.on_audited

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a."""
        if self.clusters is not None and not self.attributes:
            return self.clusters.groups(self.classes)
        return [(y, a) for y in self.classes for a in self.attributes]


RuleKind = Literal[
    "names without images",
    "doubted",
    "no test",
    "chance",
    "small difference",
    "class words",
    "other guesses",
    "doubted beyond",
    "chance beyond",
    "small difference beyond",
]
"""The conditions on a family; those from "class words" on ask whether it says more than the class names."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition that a family doesn't meet: its ``value`` and the ``limit``, None if it has none."""

    kind: RuleKind
    value: float | None = None
    limit: float | None = None


Finding = Literal[
    "proposed",
    "may be the class",
    "describes the classes",
    "doubted",
    "may be chance",
    "explains little",
    "no test",
    "too few images",
]


@dataclass(frozen=True, kw_only=True)
class TriedFamily:
    """A family of the catalogue, with the result of the search.

    ``attributes`` and ``attribute_template`` are what the options of these names take: the names with their wordings,
    without those that hardly any image got. ``explained`` is by the guesses, ``beyond`` by guesses without what the
    class names say. ``q_value`` corrects the p-value of ``explained`` for the number of families.
    ``difference`` is the largest one within a class, between two of the ``groups``. ``rule`` is the condition that set
    the family aside, with its figures; on a proposed family, the one that CLIP's guesses fail though the errors don't.
    ``agreement``, ``spread``, ``separation`` and ``nearer_words`` are those of `Trust`: whether CLIP sees the names in
    the images. ``class_words`` are the wordings that the family shares with the classes. ``doubts`` say the ``rule`` in
    words. ``like`` is a stronger proposed family whose guesses split the images in much the same way; then this one
    says nothing further.
    """

    name: str
    finding: Finding
    names: list[str]
    attributes: list[str]
    attribute_template: list[str]
    explained: ExplainedErrors | None
    q_value: Share | None
    beyond: ExplainedErrors | None
    agreement: float | None
    spread: float | None
    separation: float | None
    nearer_words: float | None
    groups: list[Group]
    difference: GroupDifference | None
    rule: Rule | None
    class_words: list[str]
    doubts: list[str]
    like: str | None = None

    @property
    def is_judged(self) -> bool:
        """True if CLIP sees the names, and the errors were found not to depend on them, or little."""
        return self.finding in ("may be chance", "explains little")

    @property
    def worst_and_best(self) -> tuple[Group, Group] | None:
        """The two groups of the difference, the worse one first; None if no class has two groups."""
        difference = self.difference
        return None if difference is None else (self.groups[difference.worse], self.groups[difference.better])

    @property
    def p_text(self) -> str:
        """The p-value, before the correction; the smallest one that the permutations allow is an upper bound."""
        return self._bound(None if self.explained is None else self.explained.p_value)

    @property
    def q_text(self) -> str:
        """The q-value, an upper bound if the p-value is one."""
        return self._bound(self.q_value)

    def _bound(self, value: float | None) -> str:
        if value is None or self.explained is None:
            return text.MISSING
        return f"{'≤ ' if self.explained.p_is_bound else ''}{value:.4f}"


BEYOND = "without what the class names say, "
CHANCE = "errors don't depend on it more than by chance (q = {value}, above {limit})"
DIFFERENCE = "accuracies differ by {value} points within a class, below {limit}"
IN_WORDS: dict[RuleKind, str] = {
    "names without images": "fewer than two of its names have images",
    "no test": "no class has both right and wrong images and two of its names",
    "chance": CHANCE,
    "small difference": DIFFERENCE,
    "class words": "it has words of the classes: {words}",
    "other guesses": f"{BEYOND}CLIP guesses differently (agreement {{value}}; at least {{limit}})",
    "doubted beyond": f"{BEYOND}CLIP can't tell its names apart",
    "chance beyond": f"{BEYOND}{CHANCE}",
    "small difference beyond": f"{BEYOND}{DIFFERENCE}",
}


def doubts_of(rule: Rule, guesses: Sequence[Caution], class_words: Sequence[str]) -> list[str]:
    """Return the reasons not to propose a family, or to doubt its names: the ``rule``, or doubts about its guesses."""
    if rule.kind == "doubted":
        return [doubt.sentence for doubt in guesses]
    scale, decimals = (100, 1) if rule.kind in ("small difference", "small difference beyond") else (1, 2)
    value, limit = scale * (rule.value or 0.0), scale * (rule.limit or 0.0)
    figures = {"value": short_of(value, limit, decimals), "limit": f"{limit:g}"}
    return [IN_WORDS[rule.kind].format(**figures, words=", ".join(class_words))]


def _explained_too(others: int) -> str:
    """Return in brackets how many ``others``, which split the images in another way, are proposed too, if any."""
    explain = "family that splits" if others == 1 else "families that split"
    verb = "explains" if others == 1 else "explain"
    return f" ({text.count(others)} other {explain} the images in another way {verb} errors too)" if others else ""


def families_in_words(families: Sequence[TriedFamily], title: str, errors: int, n: int) -> str:
    """Return the result in words; ``title`` says whose ``errors`` on ``n`` images they are."""
    if not errors or errors == n:
        return f"Nothing proposed: {title} is {'wrong' if errors else 'right'} on all {text.count(n)} images."
    be = "is" if errors == 1 else "are"
    accuracy = f"{text.count(errors)} of {text.count_of(n, 'image')} ({text.in_words(errors / n)}) "
    accuracy += f"{be} misclassified by {title}."
    best = families[0]
    if best.explained is None or best.finding not in ("proposed", "may be the class"):
        return f"Nothing proposed: {accuracy} {_set_aside(families)}"
    names, explain = " / ".join(best.names), f"explain {text.share_in_words(best.explained)} of them"
    if best.finding == "may be the class":
        return (
            f"Nothing proposed: {accuracy} CLIP's guesses of {names} {explain}, but CLIP may confuse these names with "
            f"the classes: {best.doubts[0]}. Look at the pictures."
        )
    also = _explained_too(sum(family.finding == "proposed" and family.like is None for family in families) - 1)
    confused = "" if best.rule is None else f" CLIP may confuse these names with the classes ({best.doubts[0]})."
    return (
        f"{accuracy} The errors go with {names}: CLIP's guesses of it {explain}{also}.{confused} Look at the pictures "
        "before you believe it."
    )


def _set_aside(families: Sequence[TriedFamily]) -> str:
    """Return how many of the families were set aside for each reason."""
    numbers = Counter(family.finding for family in families)
    untested = numbers["no test"] + numbers["too few images"]
    reasons = (
        (numbers["may be chance"], "explains no more errors than chance", "explain no more errors than chance"),
        (numbers["explains little"], "makes only small differences", "make only small differences"),
        (numbers["describes the classes"], "says little beyond the class names", "say little beyond the class names"),
        (numbers["doubted"], *2 * ("can't be judged, since CLIP doesn't see the names in these images",)),
        (untested, *2 * ("could not be tested",)),
    )
    parts = [f"{text.count(n)} {one if n == 1 else several}" for n, one, several in reasons if n]
    return f"Of {text.count_of(len(families), 'family', 'families')} of attributes, {'; '.join(parts)}."


SearchedImages = Literal["training and validation", "test", "audited", "not audited"]


def searched_errors(by: PredictionsBy, n: int, images: SearchedImages) -> str:
    """Name the classifier and the images whose errors are searched: "zero-shot CLIP in 500 test images"."""
    is_audit = images in ("audited", "not audited")
    where = f"{text.count_of(n, 'image')} that are {images}" if is_audit else f"{text.count(n)} {images} images"
    return f"{SUBJECTS[by]} in {where}"


def search_in_words(search: Search, errors: str) -> str:
    """Return the family that a search chose, and why; ``errors`` is from `searched_errors`."""
    family = f"{search.family} ({' / '.join(search.names)})"
    explains = f"as CLIP guesses it, explains {text.share_in_words(search.explained)} of the errors of {errors}"
    confused = "; CLIP may confuse these names with the classes, so look at the pictures"
    too_small = "; since it was chosen on these images, its p-value is too small: test it on others"
    also = f"{_explained_too(search.others)}{confused if search.may_be_class else ''}"
    return f"{family}, {explains}{also}{too_small if search.on_audited else ''}"


def doubts_in_words(guesses: FactorGuesses) -> str:
    """Return the doubts about the guesses of one suspect as a warning."""
    doubts = "; ".join(doubt.sentence for doubt in guesses.doubts)
    if guesses.provenance == "clusters":
        advice = "name attributes (--attributes NAME NAME), or look at the clusters with dbpt audit"
        return f"the clusters can't be trusted: {doubts}; {advice}"
    by_probe = guesses.provenance == "probe"
    advice = "label more images, " if by_probe else "use other words, give each name more wordings, "
    return (
        f"{text.guesser(guesses.provenance)}'s guesses of {_called(guesses)} can't be trusted: {doubts}; "
        f"{'' if guesses.leave_out else advice}or look at the guesses with dbpt audit"
    )


def _called(guesses: FactorGuesses) -> str:
    """Return the values of an attribute, in brackets after its name if it has one."""
    values = " / ".join(guesses.values)
    return values if guesses.name == UNNAMED else f"{guesses.name} ({values})"


StepKind = Literal[
    VerdictKind,
    WhyNothing,
    "lower confidence", "label more", "fewer names",
    "train", "train without weights", "compare",
]  # fmt: skip
ADVICE: dict[StepKind, str] = {
    "untrusted": "Audit again with words that name what can be seen in the images, or give the attribute as a column "
    "of the data.",
    "no evidence": "To look further, audit other suspected attributes, or more images.",
    "one attribute": "Add images of each class with another attribute: without them, neither this audit nor training "
    "can tell the class from the attribute.",
    "no errors": "Audit other images, which the classifier hasn't seen: only where it errs can an attribute be the "
    "reason of errors.",
    "whole classes": "Find out why the classifier gets whole classes wrong (the report shows which classes it takes "
    "them for), and audit again.",
    "lower confidence": "Audit again with a lower --min-confidence, so that more images have an attribute.",
    "label more": "Label the attribute of more images by hand, and audit again.",
}


@dataclass(frozen=True)
class FewerNames:
    """The names of an attribute to leave out, and those to keep, which raise no doubt."""

    leave_out: list[str]
    kept: list[str]


@dataclass(frozen=True)
class NextStep:
    """The advice that follows from a verdict, and the ``commands`` that it needs.

    Without a bias, ``kind`` is usually that of the verdict, or why there is nothing to compare. The ``sentence`` says
    it with the other fields: the ``fewer_names`` of each attribute that has too many, the factors ``doubted``, which
    may be the reason of errors, Cramér's V of class and attribute if it is too small for group weights to help, and the
    ``method`` by which a run was trained against such a bias already.
    """

    kind: StepKind
    sentence: str = ""
    commands: list[str] = field(default_factory=list)
    fewer_names: list[FewerNames] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    cramers_v: float | None = None
    method: str | None = None


def advice_of(
    step: NextStep, by: PredictionsBy, worse: Group | None, *, is_divided: bool, by_clusters: bool, is_known: bool
) -> str:
    """Return the sentence of a step.

    Args:
        step: kind and values.
        by: whose errors they are.
        worse: the worse group that the verdict names.
        is_divided: whether the data have splits.
        by_clusters: whether the groups are clusters, which nobody can label.
        is_known: whether the attributes are in the data or in a file.
    """
    if step.kind == "fewer names":
        parts = [
            f"{in_quotes(each.leave_out)}: {in_quotes(each.kept)} alone raise no doubt" for each in step.fewer_names
        ]
        return f"Audit again without {'; and without '.join(parts)}."
    if step.kind in ADVICE:
        return ADVICE[step.kind]
    if step.cramers_v is not None:
        sentence = _without_weights(step, by, worse, is_divided)
    elif step.method is not None:
        by_hand = "Use" if by_clusters else "Label a sample by hand, to correct wrong guesses; try other"
        sentence = (
            f"This run was trained against such a bias already, with the objective {step.method}; to do the same again "
            f"changes little. {by_hand} words for the attribute; add images of the groups that fail; or compare "
            "methods and heads on the same data:"
        )
    elif by != "file":
        sentence = "Train a classifier that relies less on the attribute:"
    else:
        groups = "of class and attribute, which are known," if is_known else "that dbpt guess writes"
        sentence = (
            "Let dbpt train a classifier that relies less on the attribute, or train your own again with group weights "
            f"or a sampler: dbpt.GroupSampler draws each group {groups} equally often."
        )
    return f"{_find_out_first(step.doubted)} {sentence}" if step.doubted else sentence


def _without_weights(step: NextStep, by: PredictionsBy, worse: Group | None, is_divided: bool) -> str:
    """Return advice against a bias that the training images can't teach, so that weights can't help."""
    images = "the training images" if is_divided else "these images"
    failing = f"of {worse.class_name!r} with {worse.attribute!r}" if worse else "of the groups that fail"
    advice = (
        f"Class and attribute are almost unrelated in {images} (Cramér's V {step.cramers_v:.2f}), so training on them "
        "doesn't make the attribute a shortcut to the class, and group weights have nothing to correct."
    )
    if by == "file":
        learnt = "If the classifier learnt the shortcut from other images, train it again on images like these; or"
        return f"{advice} {learnt} add more or clearer images {failing}, or compare it with CLIP:"
    others = (
        f"add more or clearer images {failing}, take a larger backbone (--model) or other wordings of the classes, or "
        "try prompts that name the attribute too (group-prompts):"
    )
    if by != "zero-shot":
        return f"{advice} Instead, {others}"
    return f"{advice} Ordinary training on them can lessen the bias of zero-shot CLIP; or {others}"


def _find_out_first(doubted: list[str]) -> str:
    """Return the advice to judge the ``doubted`` factors before a step that leaves them out."""
    called = " and ".join(doubted)
    its, columns = ("their", "columns") if doubted[1:] else ("its", "a column")
    return (
        f"First find out whether {called} is the reason: audit again with other words for {its} values, or with "
        f"{its} values as {columns} of the data. What follows leaves {called} out."
    )
