"""The schema of ``audit.json``, the result of an audit. Fractions are in 0..1; None means missing, which is never 0."""

from dataclasses import dataclass, field
from typing import Literal

from dbpt.files.typed_json import Count, Share
from dbpt.groups import Group, GroupMetrics
from dbpt.groups.association import ExplainedErrors
from dbpt.pseudo_attributes.doubt import Doubt
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.report.templates import sentence as as_sentence
from dbpt.runs.audited import AuditedData, PredictionsBy
from dbpt.runs.metrics import Average, BackboneSummary, GroupKind

SCHEMA_VERSION = 3
VerdictKind = Literal["bias", "no evidence", "nothing to compare", "untrusted"]
BiasSize = Literal["small", "clear", "strong"]
WhyNothing = Literal["one attribute", "no errors", "whole classes"]
"""Why there is nothing to compare: no class has two attributes, or none has both right and wrong images."""
StepKind = (
    VerdictKind
    | WhyNothing
    | Literal["lower confidence", "label more", "fewer names", "train", "train without weights", "compare"]
)
LOOK_FIRST = (
    "Look at the pictures: if they don't show the attribute, the errors go with something else that CLIP takes for it."
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result: a kind with its figures, and the sentences that say them.

    ``sentence`` is the headline, and ``lead`` are the sentences below it: how strong and how certain the result is,
    what it is not about, and the most frequent mistake overall. ``doubts`` about the guesses make a verdict untrusted,
    if they are not wrong guesses alone. ``why_nothing`` says why there is nothing to compare. ``group`` is the
    `Group.index` of the worse group that a verdict of bias names, ``size`` says how large the bias is, and
    ``by_words`` that it is one over groups that CLIP guessed by words. Without evidence of one, ``detectable`` is the
    smallest difference in accuracy that the images would probably have shown.
    """

    kind: VerdictKind
    sentence: str
    lead: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    why_nothing: WhyNothing | None = None
    group: Count | None = None
    size: BiasSize | None = None
    by_words: bool = False
    detectable: Share | None = None

    @property
    def caution(self) -> str:
        """The last sentence, for a bias over groups that CLIP guessed by words."""
        return LOOK_FIRST if self.by_words else ""

    def __str__(self) -> str:
        reasons = [as_sentence(doubt.sentence) for doubt in self.doubts]
        return " ".join([self.sentence, *reasons, *self.lead, self.caution]).rstrip()


@dataclass(frozen=True)
class NextStep:
    """The advice that follows from a verdict, and the ``commands`` that it needs.

    Without a bias, ``kind`` is usually that of the verdict, or why there is nothing to compare.
    """

    kind: StepKind
    sentence: str
    commands: list[str] = field(default_factory=list)


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


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """The content of ``audit.json``.

    ``group_kind`` says which attributes define the groups, and ``metrics`` are those of a run, without empty groups.
    ``confusion`` has for each true class the images that are taken for each class, without zeros. ``average`` is the
    one in the tables. ``cramers_v`` is the association of class and attribute in the audited images, corrected for
    bias, and ``training_cramers_v`` that in the training images. ``settings`` are names and values for the report.
    ``factors`` is empty with a single attribute; else all other figures are about their combinations.
    """

    schema_version: int
    dbpt_version: str
    verdict: Verdict
    data: AuditedData
    backbone: BackboneSummary
    predictions_by: PredictionsBy
    predictions_from: str
    group_kind: GroupKind
    average: Average
    metrics: GroupMetrics
    confusion: dict[str, dict[str, Count]]
    cramers_v: float | None
    training_cramers_v: float | None
    explained: ExplainedErrors | None
    guesses: Guesses
    warnings: list[str]
    words: dict[str, list[str]]
    templates: list[str]
    attribute_templates: list[str]
    command: str
    next_step: NextStep
    settings: dict[str, str]
    factors: list[AuditedFactor] = field(default_factory=list)

    @property
    def groups(self) -> list[Group]:
        """The groups that have images, in the order g = y*A + a."""
        return list(self.metrics.groups)

    @property
    def known_factors(self) -> list[str]:
        """The factors that are judged by their true values, while the combinations need guesses of others."""
        return [each.name for each in self.factors if each.group_kind == "true" and self.group_kind == "pseudo"]

    @property
    def by_clusters(self) -> bool:
        """True if the groups are clusters within each class."""
        return self.group_kind == "pseudo" and self.guesses.by_clusters

    @property
    def is_flawless(self) -> bool:
        """True if no group has an error."""
        return self.metrics.worst_group_accuracy == 1

    @property
    def named_group(self) -> Group | None:
        """The worse group that the verdict names."""
        return next((each for each in self.groups if each.index == self.verdict.group), None)

    @property
    def worst_group(self) -> Group | None:
        """The group of the lowest accuracy, among equals the one that the verdict names; None without any error."""
        if self.is_flawless or not self.groups:
            return None
        return min(self.groups, key=lambda each: (each.accuracy or 0.0, each.index != self.verdict.group))

    @property
    def has_doubts(self) -> bool:
        """True if the attribute, or one of several factors, can't be trusted."""
        return "untrusted" in (self.verdict.kind, *(factor.verdict.kind for factor in self.factors))
