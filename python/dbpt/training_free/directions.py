"""Directions of the embedding space, and what is left of weights without them."""

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import sentences
from dbpt.errors import InputError
from dbpt.training_free.base import Inputs

NOTHING = 1e-5
"""A length that float32 text features of length 1 have by rounding alone is far below this."""


def name_features(inputs: Inputs) -> list[NDArray[np.float64]]:
    """Return the text features (V, D), of length 1, of the V names of each factor, or of the one attribute.

    The sentences of all wordings of a name are averaged, as in zero-shot classification.
    """
    templates = inputs.words.attribute_templates
    suspects = [list(suspect.values.values()) for suspect in inputs.words.suspects]
    return [inputs.encode(*sentences(wordings, templates)).astype(np.float64) for wordings in suspects]


def span(directions_RD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis (R', D) of the span of the directions (R, D); collinear ones count once."""
    _, lengths, basis_RD = np.linalg.svd(directions_RD, full_matrices=False)
    found: NDArray[np.float64] = basis_RD[lengths > NOTHING]
    return found


def without(basis_RD: NDArray[np.float64], weights_CD: NDArray[np.float64], inputs: Inputs) -> NDArray[np.float64]:
    """Return the weights (C, D) of the classes, projected onto the complement of an orthonormal basis (R, D).

    Raises `InputError` if nothing is left of a class.
    """
    projected_CD = weights_CD - (weights_CD @ basis_RD.T) @ basis_RD
    lengths_C = np.linalg.norm(projected_CD, axis=1) / np.linalg.norm(weights_CD, axis=1)
    for name, length in zip(inputs.words.classes, lengths_C, strict=True):
        if length < NOTHING:
            attributes = " / ".join(inputs.words.attributes)
            raise InputError(
                f"class {name!r}: nothing of its sentences is left without the directions of {attributes}; use other "
                "words, or leave the method out"
            )
    return np.asarray(projected_CD, dtype=np.float64)
