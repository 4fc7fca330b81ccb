"""The fields of a search (``discover.json``): the families tried, with the result of each."""

from dataclasses import dataclass, field
from typing import Literal

from dbpt.cautions import Caution
from dbpt.data.dataset import Split
from dbpt.data.other_columns import Source
from dbpt.evaluation.accuracy_by_group import Group
from dbpt.evaluation.audit_fields import SIGNIFICANT
from dbpt.evaluation.explained_by_attribute import Distribution, ExplainedErrors
from dbpt.evaluation.intervals import GroupDifference
from dbpt.storage.typed_json import Share

RuleKind = Literal[
    "names without images",
    "doubted",
    "no test",
    "chance",
    "small difference",
    "no more than one",
    "words of the classes",
    "other guesses",
    "doubted beyond",
    "chance beyond",
    "small difference beyond",
]
"""The conditions on a family; those from "words of the classes" on ask whether it says more than the class names."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition that a family doesn't meet: its ``value`` and the ``limit``, None if it has none."""

    kind: RuleKind
    value: float | None = None
    limit: float | None = None


Finding = Literal[
    "proposed",
    "may be the class",
    "seen dimly",
    "describes the classes",
    "doubted",
    "may be chance",
    "explains little",
    "no test",
    "too few images",
]


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """The errors that a proposed family explains in images of another ``split``, which were not searched.

    ``p_value`` is that of ``explained``, times the number of families that were tested so. ``is_alike`` says whether
    the worse of the two groups that differ most in the searched images is worse there, too.
    """

    split: Split
    explained: ExplainedErrors
    p_value: Share | None
    is_alike: bool

    @property
    def holds(self) -> bool:
        """True if errors depend on the family there, too."""
        return self.is_alike and self.p_value is not None and self.p_value <= SIGNIFICANT


@dataclass(frozen=True, kw_only=True)
class TriedFamily:
    """A family, with the result of the search.

    ``attributes`` and ``attribute_template`` are what the options of these names take: the names with their wordings,
    without those that hardly any image got. ``explained`` is by the guesses, ``beyond`` by guesses without what the
    class names say. ``q_value`` corrects the p-value of ``explained`` for the number of families.
    ``difference`` is the largest one within a class, between two of the ``groups``. ``rule`` is the condition that set
    the family aside, with its figures; on a proposed family, the one that CLIP's guesses fail though the errors don't.
    ``agreement``, ``spread``, ``separation`` and ``nearer_words`` are those of `Trust`: whether CLIP sees the names in
    the images. ``class_words`` are the wordings that the family shares with the classes. ``doubts`` are the ``rule`` as
    a reason, or those about the guesses. ``like`` is the proposed family that splits the images in much the same way
    and is named first, and ``through`` one within whose names errors don't depend on this one; then it says nothing
    further. ``source`` says where the names come from, and ``parts`` are
    the two families of a pair. ``confirmation`` is the test in another split, if there is one, and ``distribution``
    that of a measured number.
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
    doubts: list[Caution]
    like: str | None = None
    through: str | None = None
    source: Source = "words"
    parts: list[str] = field(default_factory=list)
    confirmation: Confirmation | None = None
    distribution: Distribution | None = None

    @property
    def key(self) -> str:
        """The name, after its source if that isn't words, as ``like``, ``through`` and ``parts`` have it."""
        return self.name if self.source == "words" else f"{self.source}:{self.name}"

    @property
    def is_distinct(self) -> bool:
        """True for a proposed family that says more than those before it."""
        return self.finding == "proposed" and self.like is None and self.through is None

    @property
    def options(self) -> dict[str, list[str]]:
        """The settings of `dbpt.audit` and `dbpt.fit` that name the family; empty for captions and pairs."""
        if self.source == "words":
            return {"attributes": self.attributes, "attribute_template": self.attribute_template}
        return {"attributes": [f"{self.source}:{self.name}"]} if self.source in ("column", "measured") else {}

    @property
    def is_judged(self) -> bool:
        """True if CLIP sees the names, and the errors were found not to depend on them, or little."""
        return self.finding in ("may be chance", "explains little")

    @property
    def worst_and_best(self) -> tuple[Group, Group] | None:
        """The two groups of the difference, the worse one first; None if no class has two groups."""
        difference = self.difference
        return None if difference is None else (self.groups[difference.worse], self.groups[difference.better])
