"""Single words that come with a classifier's errors, scored as B2T does (Kim et al., CVPR 2024)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Words
from dbpt.discovery.embedded import EmbeddedFamily
from dbpt.discovery.scoring import BLOCK, Images


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
