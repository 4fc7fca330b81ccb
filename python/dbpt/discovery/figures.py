"""The content of ``discover.json``, and single words near to errors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Words
from dbpt.discovery.catalogue import EmbeddedFamily
from dbpt.discovery.scoring import BLOCK, Images
from dbpt.report.findings import AuditedData, TriedFamily
from dbpt.runs.metrics import BackboneSummary, PredictionsBy
from dbpt.storage.typed_json import Count


@dataclass(frozen=True, kw_only=True)
class WordScore:
    """A wording of the catalogue: its mean similarity to a class's errors, minus that to its correct images."""

    word: str
    family: str
    score: float


def word_scores(
    families: Sequence[EmbeddedFamily], images: Images, right: NDArray[np.bool_], words: Words
) -> list[list[WordScore]]:
    """Return for each class the scores of all wordings, the highest first; none if it lacks errors or correct images.

    Wordings with one of the ``words`` of the classes in them are left out: they say little about the errors.

    The similarity is the cosine of an image's features and the mean of the wording's sentences in its family. A word in
    two families is that of the first one.
    """
    of_classes = [text for wordings in words.classes.values() for text in wordings] + list(words.classes)
    has_class = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, of_classes))})(?:e?s)?(?!\w)", re.IGNORECASE)
    owners = {word: each for each in reversed(families) for word in each.words if not has_class.search(word)}
    if not owners:
        return [[] for _ in range(images.num_classes)]
    weights_PD = np.stack([owners[word].words[word] for word in owners])
    sums = np.zeros((2 * images.num_classes, images.features.shape[1]))
    groups = 2 * images.labels + right
    for start in range(0, len(groups), BLOCK):
        block = slice(start, start + BLOCK)
        sums += np.eye(len(sums))[groups[block]].T @ images.features[block]
    counts = np.bincount(groups, minlength=len(sums))
    found: list[list[WordScore]] = []
    for wrong in range(0, len(sums), 2):
        if not counts[wrong : wrong + 2].all():
            found.append([])
            continue
        means = sums[wrong : wrong + 2] / counts[wrong : wrong + 2, None]
        scores = weights_PD @ (means[0] - means[1])
        each = zip(owners, scores.tolist(), strict=True)
        scored = [WordScore(word=word, family=owners[word].family.name, score=score) for word, score in each]
        found.append(sorted(scored, key=lambda word: -word.score))
    return found


SCHEMA_VERSION = 3


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
