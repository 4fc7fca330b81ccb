"""Pseudo attributes: the spurious attribute of each row, predicted by CLIP. Uses no true attributes and no torch."""

from dbpt.pseudo_attributes.base import PSEUDO_METHODS, PseudoMethod, register_pseudo_method
from dbpt.pseudo_attributes.job import Clusters, PseudoAttributes
from dbpt.pseudo_attributes.label import label_attributes

__all__ = [
    "PSEUDO_METHODS",
    "Clusters",
    "PseudoAttributes",
    "PseudoMethod",
    "label_attributes",
    "register_pseudo_method",
]
