"""The fields of an audit (``audit.json``), and those that it shares with a search: data, verdict, next step."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dbpt.cautions import Caution
from dbpt.data.dataset import Average
from dbpt.evaluation.accuracy_by_group import Group, GroupedData, GroupMetrics
from dbpt.evaluation.explained_by_attribute import ExplainedErrors
from dbpt.evaluation.results import BackboneSummary
from dbpt.evaluation.short_repr import Brief
from dbpt.guesses.base import BY_VALUES, GroupKind
from dbpt.guesses.figures import Guesses
from dbpt.storage.typed_json import Count, Share

SCHEMA_VERSION = 7
PredictionsBy = Literal["zero-shot", "run", "file", "probe"]
SearchedImages = Literal["training and validation", "test", "audited", "not audited"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """The ``family`` that ``--attributes auto`` chose, with the ``names`` that occur, and why it is the first.

    The errors of ``by`` in ``n`` of the ``images`` were searched. ``others``, which split the images in another way,
    explain errors too. ``may_be_class`` says that CLIP may confuse the names with the classes. The ``sentence`` says
    all.
    """

    family: str
    names: list[str]
    explained: ExplainedErrors
    others: Count
    may_be_class: bool
    by: PredictionsBy
    n: Count
    images: SearchedImages
    sentence: str = ""

    @property
    def on_audited(self) -> bool:
        """True if p-values are too small, as the family was chosen on the images that are audited."""
        return self.images == "audited"


@dataclass(frozen=True, kw_only=True)
class AuditedData(GroupedData):
    """The audited images: those of ``split`` (``all`` is every split), with a known label.

    ``is_divided`` is False for data without splits, whose images are
    all in the training split. ``search`` is the one that chose the attribute, if any did.
    """

    split: Literal["train", "val", "test", "all"]
    n: Count
    failed_images: Count
    is_divided: bool = True
    search: Search | None = None

    @property
    def is_searched(self) -> bool:
        """True if a search chose the attribute on the audited images, so that p-values are too small."""
        return self.search is not None and self.search.on_audited


VerdictKind = Literal["bias", "no evidence", "nothing to compare", "untrusted"]
BiasSize = Literal["small", "clear", "strong"]
WhyNothing = Literal["one attribute", "no errors", "whole classes"]
"""Why there is nothing to compare: no class has two attributes, or none has both right and wrong images."""
Pair = tuple[Count, Count]
"""The `Group.index` of two groups of one class, the worse one first."""
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdict(Brief):
    """The result: a kind with its figures, and the sentences that `dbpt.report.audit_sentences` makes of them.

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

    def _brief(self) -> str:
        return f"{self.kind}: {self.sentence}"

    def __str__(self) -> str:
        reasons = [f"{doubt.sentence[:1].upper()}{doubt.sentence[1:]}." for doubt in self.doubts]
        return " ".join([self.sentence, *reasons, *self.lead])


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


def classes_of_one_attribute(groups: Sequence[Group]) -> list[str]:
    """Return the classes whose images all have the same attribute."""
    attributes_of = Counter(group.class_name for group in groups if group.n)
    return [name for name, attributes in attributes_of.items() if attributes == 1]


StepKind = Literal[
    VerdictKind,
    WhyNothing,
    "lower confidence", "label more", "fewer names",
    "train", "train without weights", "compare",
]  # fmt: skip


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
    ``method`` by which a run was trained against such a bias already. The commands in ``label`` draw a sample of the
    guesses for people to label, if the groups are guessed.
    """

    kind: StepKind
    sentence: str = ""
    commands: list[str] = field(default_factory=list)
    fewer_names: list[FewerNames] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    cramers_v: float | None = None
    method: str | None = None
    label: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SubjectFigures:
    """Figures that audits and searches have in common: the images, whose predictions of them, and the command.

    ``settings`` are names and values for the report.
    """

    schema_version: int
    dbpt_version: str
    data: AuditedData
    backbone: BackboneSummary
    predictions_by: PredictionsBy
    predictions_from: str
    warnings: list[Caution]
    command: str
    settings: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Suspicious:
    """The number of audited images that look like each kind in suspicious.csv; the others are predicted correctly.

    ``share_wrong`` is the expected share of wrong labels among all, which no image need look like.
    """

    share_wrong: Share
    wrong_labels: Count
    rare_cases: Count
    hard_cases: Count


@dataclass(frozen=True, kw_only=True, repr=False)
class AuditFigures(Brief, SubjectFigures):
    """The content of ``audit.json``.

    ``group_kind`` says which attributes define the groups, and ``metrics`` are those of a run, without empty groups.
    ``confusion`` has for each true class the images that are taken for each class, without zeros. ``average`` is the
    one in the tables; ``gap_low`` and ``gap_high`` are the interval of its gap. ``cramers_v`` is the association of
    class and attribute in the audited images, corrected for bias, and ``training_cramers_v`` that in the training
    images. ``keeps_known`` says that only unknown attributes were guessed.
    ``suspicious`` counts the images of ``suspicious.csv``.
    ``factors`` is empty with a single attribute; else all other figures are about their combinations.
    """

    verdict: Verdict
    group_kind: GroupKind
    average: Average
    metrics: GroupMetrics
    gap_low: float | None
    gap_high: float | None
    confusion: dict[str, dict[str, Count]]
    cramers_v: float | None
    training_cramers_v: float | None
    explained: ExplainedErrors | None
    guesses: Guesses
    words: dict[str, list[str]]
    templates: list[str]
    attribute_templates: list[str]
    next_step: NextStep
    suspicious: Suspicious
    factors: list[AuditedFactor] = field(default_factory=list)
    keeps_known: bool = False

    def _brief(self) -> str:
        return f"{self.data.name!r}, {self.verdict.kind}, {self.metrics._brief()}"

    @property
    def groups(self) -> list[Group]:
        """The groups that have images, in the order g = y*A + a."""
        return list(self.metrics.groups)

    @property
    def known_factors(self) -> list[str]:
        """The factors that are judged by their true values, while the combinations need guesses of others."""
        return [factor.name for factor in self.factors if factor.group_kind == "true" and self.group_kind == "pseudo"]

    @property
    def by_clusters(self) -> bool:
        """True if the groups are clusters within each class."""
        return self.group_kind == "pseudo" and self.guesses.provenance == "clusters"

    @property
    def by_values(self) -> bool:
        """True if the groups are over the values of a column or a measured property."""
        return self.group_kind == "pseudo" and self.guesses.provenance in BY_VALUES

    @property
    def is_flawless(self) -> bool:
        """True if no group has an error."""
        return self.metrics.worst_group_accuracy == 1

    @property
    def named_group(self) -> Group | None:
        """The worse group that the verdict names."""
        return next((group for group in self.groups if group.index == self.verdict.group), None)

    @property
    def worst_group(self) -> Group | None:
        """The group of the lowest accuracy, among equals the one that the verdict names; None without any error."""
        if self.is_flawless or not self.groups:
            return None
        return min(self.groups, key=lambda group: (group.accuracy or 0.0, group.index != self.verdict.group))

    @property
    def has_doubts(self) -> bool:
        """True if the attribute, or one of several factors, can't be trusted."""
        return "untrusted" in (self.verdict.kind, *(factor.verdict.kind for factor in self.factors))
