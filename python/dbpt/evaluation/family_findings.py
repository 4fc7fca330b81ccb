"""From scores of families to findings; the images to search."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt.cautions import Caution, caution
from dbpt.data import Dataset, StoredFeatures, Words, entries_of
from dbpt.evaluation.accuracy_by_group import Group, counted_groups
from dbpt.evaluation.discovery_fields import Finding, Rule, RuleKind, TriedFamily
from dbpt.evaluation.family_guesses import Images
from dbpt.evaluation.family_proposal import Score
from dbpt.evaluation.family_ranking import group_tables


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
        correct_CA, counts_CA = group_tables(guessed, images, right)
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


FINDINGS: dict[RuleKind, Finding] = {
    "names without images": "too few images",
    "doubted": "doubted",
    "no test": "no test",
    "chance": "may be chance",
    "small difference": "explains little",
    "no more than one": "explains little",
}
"""The finding for a family that fails one of these conditions; the others are about the class names."""


def images_to_search(
    backbone: "clip.Backbone", dataset: Dataset, features: StoredFeatures, rows: NDArray[np.int64], seed: int
) -> Images:
    """Return the ``rows`` (n,) of a data set with their part of its ``features`` (N, D); ``seed`` halves them."""
    features, labels = features.take(rows), dataset.labels[rows]
    return Images(backbone=backbone, features=features, labels=labels, num_classes=dataset.num_classes, seed=seed)


def zero_shot_right(images: Images, words: Words) -> NDArray[np.bool_]:
    """Return (n,) bool: the images that CLIP predicts right by the ``words`` of the classes."""
    weights_CD = clip.zero_shot_weights(images.backbone, *words.class_texts())
    right: NDArray[np.bool_] = images.logits(weights_CD).argmax(axis=1) == images.labels
    return right
