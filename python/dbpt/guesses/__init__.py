"""Pseudo attributes: the spurious attribute of each row, guessed by CLIP's words or a probe. Needs no torch."""

from dbpt.guesses.base import PSEUDO_METHODS, Clusters, PseudoAttributes, PseudoMethod, register_pseudo_method
from dbpt.guesses.label import label_attributes

__all__ = [
    "PSEUDO_METHODS",
    "Clusters",
    "PseudoAttributes",
    "PseudoMethod",
    "label_attributes",
    "register_pseudo_method",
]
