"""The catalogue and the class names as text features: each sentence is embedded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.discovery.catalogue import Family
from dbpt.pseudo_attributes.trust import TEMPLATES

Array = NDArray[np.float32]
MOST_CLASS_DIRECTIONS = 0.25  # of the D directions; with as many classes as directions, nothing would be left
ZERO = 1e-5


@dataclass(frozen=True)
class EmbeddedFamily:
    """A family of K names with its zero-shot weights.

    ``weights`` (K, D) are those of its own sentences, ``by_template`` those of each of the `TEMPLATES`, and
    ``words`` the features (D,) of each wording.
    """

    family: Family
    weights: Array
    by_template: tuple[Array, ...]
    words: dict[str, Array]


def embed_families(backbone: Backbone, families: Sequence[Family]) -> list[EmbeddedFamily]:
    """Return the families with the text features of all their sentences."""
    every = [text for family in families for text in _filled((*family.templates, *TEMPLATES), family.wordings)]
    position = {text: row for row, text in enumerate(dict.fromkeys(every))}
    features_PD: Array = backbone.encode_text(list(position)).numpy()

    def mean(texts: Iterable[str]) -> Array:
        total: Array = features_PD[[position[text] for text in texts]].mean(axis=0)
        return np.asarray(total / np.linalg.norm(total))

    def weights(family: Family, templates: Sequence[str]) -> Array:
        return np.stack([mean(_filled(templates, wordings)) for wordings in family.attributes.values()])

    return [
        EmbeddedFamily(
            family,
            weights(family, family.templates),
            tuple(weights(family, (template,)) for template in TEMPLATES),
            {wording: mean(_filled(family.templates, (wording,))) for wording in family.wordings},
        )
        for family in families
    ]


def _filled(templates: Sequence[str], wordings: Sequence[str]) -> list[str]:
    return [template.replace("{}", wording) for wording in wordings for template in templates]


def without_classes(backbone: Backbone, words: Words) -> Array:
    """Return the projection (D, D) that removes all directions in which the wordings of the classes differ.

    A wording is the mean of its sentences, as templates don't tell classes apart. With many classes only the most
    important directions are removed, a quarter of the D directions.
    """
    features_PD: Array = backbone.encode_text(words.class_texts()[0]).numpy()
    wordings_WD = features_PD.reshape(-1, len(words.templates), backbone.embed_dim).mean(axis=1)
    _, lengths, directions = np.linalg.svd(wordings_WD - wordings_WD.mean(axis=0), full_matrices=False)
    directions = directions[lengths > ZERO][: int(MOST_CLASS_DIRECTIONS * backbone.embed_dim)]
    return np.asarray(np.eye(backbone.embed_dim, dtype=np.float32) - directions.T @ directions)
