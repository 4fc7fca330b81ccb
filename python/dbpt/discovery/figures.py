"""The schema of ``discover.json``. Fractions are in 0..1; None means missing, which is never 0."""

from dataclasses import dataclass
from typing import Literal

from dbpt.discovery.differences import Difference
from dbpt.discovery.scoring import Rule
from dbpt.discovery.words import WordScore
from dbpt.files.typed_json import Count, Share
from dbpt.groups import Group
from dbpt.groups.association import ExplainedErrors
from dbpt.report.text import MISSING
from dbpt.runs.audited import AuditedData, PredictionsBy
from dbpt.runs.metrics import BackboneSummary

SCHEMA_VERSION = 3
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
    ``agreement``, ``spread``, ``separation`` and ``outranked`` are those of `Trust`: whether CLIP sees the names in the
    images. ``doubts`` say the ``rule`` in words. ``like`` is a stronger proposed family whose guesses split the
    images in much the same way; then this one says nothing further.
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
    outranked: float | None
    groups: list[Group]
    difference: Difference | None
    rule: Rule | None
    doubts: list[str]
    like: str | None = None

    @property
    def is_judged(self) -> bool:
        """True if CLIP sees the names, and the errors were found not to depend on them, or little."""
        return self.finding in ("may be chance", "explains little")

    @property
    def worst_and_best(self) -> tuple[Group, Group] | None:
        """The two groups of the difference, the worse one first; None if no class has two groups."""
        found = self.difference
        return None if found is None else (self.groups[found.worse], self.groups[found.better])

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
            return MISSING
        return f"{'≤ ' if self.explained.p_is_bound else ''}{value:.4f}"


@dataclass(frozen=True, kw_only=True)
class ClassWords:
    """The words of the catalogue for a class, those nearest to its ``errors`` first."""

    class_name: str
    errors: Count
    words: list[WordScore]

    @property
    def nearer(self) -> list[WordScore]:
        """The words that are more similar to the errors than to the correct images."""
        return [word for word in self.words if word.score > 0]


@dataclass(frozen=True, kw_only=True)
class DiscoveryFigures:
    """The content of ``discover.json``.

    ``families`` are all families, the proposed ones first, the strongest first. ``catalogue`` is the file that the user
    named, or None. The commands repeat the search, and go on with the first proposed family: audit it in images that
    were not searched, if there are any, and in those that were, and train. Without one, they audit the first family
    that may be the class.
    """

    schema_version: int
    dbpt_version: str
    verdict: str
    data: AuditedData
    backbone: BackboneSummary
    predictions_by: PredictionsBy
    predictions_from: str
    errors: Count
    catalogue: str | None
    families: list[TriedFamily]
    words: list[ClassWords]
    warnings: list[str]
    command: str
    check_command: str | None
    audit_command: str | None
    fit_command: str | None
    settings: dict[str, str]

    @property
    def proposed(self) -> list[TriedFamily]:
        """The proposed families."""
        return [family for family in self.families if family.finding == "proposed"]

    @property
    def to_look_at(self) -> list[TriedFamily]:
        """The families that a foreign classifier's errors go with, but that CLIP may confuse with the classes."""
        return [family for family in self.families if family.finding == "may be the class"]

    @property
    def distinct(self) -> list[TriedFamily]:
        """The proposed families without those that split the images like a stronger one."""
        return [family for family in self.proposed if family.like is None]

    def split_alike(self, family: TriedFamily) -> list[TriedFamily]:
        """Return the proposed families that split the images like ``family``, which is stronger."""
        return [other for other in self.proposed if other.like == family.name]
