"""Families of the catalogue with what a search found of each, as fields."""

from dataclasses import dataclass
from typing import Literal

from dbpt.cautions import Caution
from dbpt.evaluation.accuracy import Group
from dbpt.evaluation.association import ExplainedErrors
from dbpt.evaluation.intervals import GroupDifference
from dbpt.storage.typed_json import Share

RuleKind = Literal[
    "names without images",
    "doubted",
    "no test",
    "chance",
    "small difference",
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
    the images. ``class_words`` are the wordings that the family shares with the classes. ``doubts`` are the ``rule`` as
    a reason, or those about the guesses. ``like`` is a stronger proposed family whose guesses split the images in much
    the same way; then this one says nothing further.
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

    @property
    def is_judged(self) -> bool:
        """True if CLIP sees the names, and the errors were found not to depend on them, or little."""
        return self.finding in ("may be chance", "explains little")

    @property
    def worst_and_best(self) -> tuple[Group, Group] | None:
        """The two groups of the difference, the worse one first; None if no class has two groups."""
        difference = self.difference
        return None if difference is None else (self.groups[difference.worse], self.groups[difference.better])
