"""`Score`: the share of errors that a family explains, what must hold before it is proposed, and the finding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data import entries_of
from dbpt.evaluation.accuracy_by_group import Group, counted_groups
from dbpt.evaluation.discovery_fields import Finding, Rule, RuleKind, TriedFamily
from dbpt.evaluation.explained_by_attribute import ExplainedErrors
from dbpt.evaluation.family_guesses import GuessedFamily, Images
from dbpt.evaluation.intervals import GroupDifference
from dbpt.guesses.linear_probe import LOWEST_AGREEMENT

LARGEST_Q = 0.05
SMALLEST_DIFFERENCE = 0.1
"""The accuracies of two groups of a class must differ by this much."""
DIM_DOUBTS = frozenset(("separation", "other words"))
"""Doubts that a graded attribute raises too, whose guesses by a middling CLIP are mostly right."""
FINDINGS: dict[RuleKind, Finding] = {
    "names without images": "too few images",
    "doubted": "doubted",
    "no test": "no test",
    "chance": "may be chance",
    "small difference": "explains little",
    "no more than one": "explains little",
}
"""The finding for a family that fails one of these conditions; the others are about the class names."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The errors that guesses explain, and the largest difference that they make within a class.

    The q-value corrects the p-value for the number of families.
    """

    errors: ExplainedErrors
    q_value: float | None
    difference: GroupDifference | None

    def failing(self, *, beyond: bool = False) -> Rule | None:
        """Return why the guesses, which may be those ``beyond`` the class names, don't explain errors; None if they do.

        Errors must depend on them, and accuracies differ by a tenth or more in a class.
        """
        if self.q_value is None or self.difference is None:
            return Rule(kind="doubted beyond" if beyond else "no test")
        if self.q_value > LARGEST_Q:
            return Rule(kind="chance beyond" if beyond else "chance", value=self.q_value, limit=LARGEST_Q)
        if self.difference.value < SMALLEST_DIFFERENCE:
            kind: RuleKind = "small difference beyond" if beyond else "small difference"
            return Rule(kind=kind, value=self.difference.value, limit=SMALLEST_DIFFERENCE)
        return None


@dataclass(frozen=True, kw_only=True)
class Score:
    """The errors that guesses of a family explain, also those ``beyond`` the class names; None without guesses.

    ``is_foreign`` says that the predictions don't come from the features by which CLIP guesses. Errors can then go with
    guesses that repeat the class names only if they depend on something that the images show. A pair must have a larger
    share or difference than one of its families ``alone``. ``like`` is the proposed family that splits the images in
    much the same way and is named first, and ``through`` the first of those within whose names errors don't depend on
    this one; then it is no further finding.
    """

    of: GuessedFamily
    explained: Explained | None
    beyond: Explained | None
    is_foreign: bool = False
    alone: tuple[float, float] = (0.0, 0.0)
    like: str | None = None
    through: str | None = None

    @property
    def rule(self) -> Rule | None:
        """The first condition that the family doesn't meet; None if it meets all."""
        return self.own_rule or (self._not_beyond if self.may_be_class else self.like_classes)

    @property
    def own_rule(self) -> Rule | None:
        """Why the guesses can't be trusted or don't explain errors, whether or not they repeat the class names."""
        if self.of.guessed is None or self.explained is None:
            return Rule(kind="names without images")
        if (rule := Rule(kind="doubted") if self.of.doubts else self.explained.failing()) is not None:
            return rule
        difference, low = self.explained.difference, self.explained.errors.share_low
        if not self.of.of_pair or low is None or difference is None or difference.low > self.alone[1]:
            return None
        return None if low > self.alone[0] else Rule(kind="no more than one", value=low, limit=self.alone[0])

    @property
    def like_classes(self) -> Rule | None:
        """Why the guesses may repeat the class names; None if they stay the same without what the class names say."""
        if self.of.source != "words":
            return None
        if self.of.class_words:
            return Rule(kind="words of the classes")
        if self.of.beyond is None or self.beyond is None or self.of.beyond.doubts:
            return Rule(kind="doubted beyond")
        if self.of.agreement < LOWEST_AGREEMENT:
            return Rule(kind="other guesses", value=self.of.agreement, limit=LOWEST_AGREEMENT)
        return self._not_beyond

    @property
    def _not_beyond(self) -> Rule | None:
        """Why the guesses without what the class names say don't explain errors; None if they do."""
        return Rule(kind="doubted beyond") if self.beyond is None else self.beyond.failing(beyond=True)

    @property
    def is_proposed(self) -> bool:
        """True if the family explains errors, the guesses can be trusted, and they say more than the class names.

        Errors of a foreign classifier decide that: guesses without what the class names say explain them too. Words
        of the classes and changed guesses, which say how CLIP works, then don't count.
        """
        beyond_too = self.is_foreign and self._not_beyond is None
        return self.own_rule is None and (beyond_too or self.like_classes is None)

    @property
    def may_be_class(self) -> bool:
        """True if errors of a foreign classifier go with the family, but CLIP may take the class for it."""
        return self.own_rule is None and self.is_foreign and not self.is_proposed

    @property
    def is_dim(self) -> bool:
        """True if errors go with the family, and CLIP sees the names, but only as an attribute without clear limits."""
        kinds = {doubt.kind for doubt in self.of.doubts}
        if not kinds or not kinds <= DIM_DOUBTS or self.of.class_words or self._not_beyond is not None:
            return False
        return self.explained is not None and self.explained.failing() is None

    @property
    def is_distinct(self) -> bool:
        """True for a proposed family that says more than those before it."""
        return self.is_proposed and self.like is None and self.through is None

    @property
    def tier(self) -> tuple[bool, ...]:
        """False for what puts a family before others: proposed, may be the class, seen dimly, no rule, no pair."""
        is_pair = self.of.source == "pair"
        return not self.is_proposed, not self.may_be_class, not self.is_dim, self.rule is not None, is_pair

    @property
    def share(self) -> float:
        """The share of the errors."""
        return 0.0 if self.explained is None else self.explained.errors.share or 0.0

    @property
    def least_share(self) -> float:
        """The lower limit of the share of the errors; 0 without an interval."""
        return 0.0 if self.explained is None else self.explained.errors.share_low or 0.0

    @property
    def separation(self) -> float:
        """The separation of two names in the images, by CLIP; infinite if the data say the names."""
        trust = None if self.of.guessed is None else self.of.guessed.trust
        return np.inf if trust is None else trust.separation


def tried_family(score: Score, images: Images, right: NDArray[np.bool_], class_names: Sequence[str]) -> TriedFamily:
    """Return a family with its finding and its groups of images.

    Args:
        score: the score of the family.
        images: the n images that were searched.
        right: (n,) bool, which of them the classifier predicts correctly.
        class_names: (C,).
    """
    guessed, explained, family, rule = score.of.guessed, score.explained, score.of.family, score.rule
    trust = None if guessed is None else guessed.trust
    kept = family if guessed is None else family.only(guessed.kept)
    finding: Finding = "proposed"
    if rule is not None and not score.is_proposed:
        finding = FINDINGS.get(rule.kind, "may be the class" if score.may_be_class else "describes the classes")
        finding = "seen dimly" if score.is_dim else finding
    groups: tuple[Group, ...] = ()
    if guessed is not None:
        correct_CA, counts_CA = guessed.tables(images, right)
        groups = counted_groups(list(product(class_names, kept.names)), counts_CA.ravel(), correct_CA.ravel())
    return TriedFamily(
        name=family.name,
        finding=finding,
        names=kept.names,
        attributes=list(entries_of(kept.attributes, family.name)) if score.of.source == "words" else [],
        attribute_template=list(family.templates),
        explained=None if explained is None else explained.errors,
        q_value=None if explained is None else explained.q_value,
        beyond=None if score.beyond is None else score.beyond.errors,
        agreement=None if trust is None else trust.agreement,
        spread=None if trust is None else trust.spread,
        separation=None if trust is None else max(trust.separation, 0.0),
        nearer_words=None if trust is None else trust.nearer_words,
        groups=list(groups),
        difference=None if explained is None else explained.difference,
        rule=rule,
        class_words=score.of.class_words,
        doubts=_doubts_of(rule, trust.doubts if trust else (), score.of.class_words),
        like=score.like,
        through=score.through,
        source=score.of.source,
        parts=[part.key for part in score.of.of_pair],
    )


def _doubts_of(rule: Rule | None, guesses: Sequence[Caution], class_words: Sequence[str]) -> list[Caution]:
    """Return the reasons not to propose a family, or to doubt its names: the ``rule``, or doubts about its guesses."""
    if rule is None or rule.kind == "doubted":
        return [] if rule is None else list(guesses)
    if rule.kind == "words of the classes":
        return [caution(rule.kind, words=list(class_words))]
    scale = 100 if rule.kind in ("small difference", "small difference beyond", "no more than one") else 1
    figures = {} if rule.value is None or rule.limit is None else {"value": rule.value, "limit": rule.limit}
    return [caution(rule.kind, **{name: scale * figure for name, figure in figures.items()})]
