"""Pseudo attributes: the spurious attribute of each row, guessed by CLIP's words or a probe. Needs no torch."""

from dbpt.guesses.apply_method import label_attributes
from dbpt.guesses.base import (
    PSEUDO_METHODS,
    Clusters,
    GuessedFactors,
    PseudoAttributes,
    PseudoMethod,
    register_pseudo_method,
)
from dbpt.guesses.clusters import ClassClusters
from dbpt.guesses.figures import Guesses
from dbpt.guesses.linear_probe import AttributeProbe

__all__ = [
    "PSEUDO_METHODS",
    "Clusters",
    "GuessedFactors",
    "PseudoAttributes",
    "PseudoMethod",
    "label_attributes",
    "register_pseudo_method",
]
