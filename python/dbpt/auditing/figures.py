"""The schema of ``audit.json``, the result of an audit. Fractions are in 0..1; None means missing, which is never 0."""

from dataclasses import dataclass, field
from typing import Literal

from dbpt.files.typed_json import Count, Share
from dbpt.groups import Group, GroupMetrics
from dbpt.groups.association import ExplainedErrors
from dbpt.pseudo_attributes.trust import Guesses
from dbpt.runs.audited import AuditedData, PredictionsBy
from dbpt.runs.metrics import Average, BackboneSummary, GroupKind

SCHEMA_VERSION = 3
VerdictKind = Literal["bias", "no evidence", "nothing to compare", "untrusted"]
BiasSize = Literal["small", "clear", "strong"]
WhyNothing = Literal["one attribute", "no errors", "whole classes"]
"""Why there is nothing to compare: no class has two attributes, or none has both right and wrong images."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result in one short sentence, and ``details`` that give its reasons.

    ``lead`` are the sentences below that headline: how strong and how certain the result is, what it is not about, and
    the most frequent mistake overall. ``group`` is the `Group.index` of the worse group that a verdict of bias
    names, and ``size`` says how large the bias is. Without evidence of one, ``detectable`` is the smallest difference
    in accuracy that the images would probably have shown. ``caution`` is the last sentence, for a bias over groups that
    CLIP guessed by words.
    """

    kind: VerdictKind
    sentence: str
    details: list[str] = field(default_factory=list)
    lead: list[str] = field(default_factory=list)
    group: Count | None = None
    caution: str = ""
    size: BiasSize | None = None
    detectable: Share | None = None

    def __str__(self) -> str:
        sentence = self.sentence
        if self.details:
            sentence = f"{sentence.removesuffix('.')}: {'; '.join(self.details)}."
        return " ".join([sentence, *self.lead, self.caution]).rstrip()


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
    bias, and ``training_cramers_v`` that in the training images. ``next_step`` is the advice that follows from the
    verdict, ``next_commands`` are those that it needs. ``settings`` are names and values for the report. ``factors`` is
    empty with a single attribute; else all other figures are about their combinations.
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
    next_step: str
    next_commands: list[str]
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
