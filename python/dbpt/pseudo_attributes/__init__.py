"""Pseudo attributes: the spurious attribute of each row, predicted by CLIP. Uses no true attributes and no torch."""

from dbpt.pseudo_attributes.job import Clusters, PseudoAttributes
from dbpt.pseudo_attributes.label import label_attributes

__all__ = ["Clusters", "PseudoAttributes", "label_attributes"]
