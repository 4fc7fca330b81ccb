"""Pseudo attributes: the spurious attribute of each row, as CLIP sees it; no true attribute and no torch in here."""

from dbpt.pseudo_attributes.job import Clusters, PseudoAttributes
from dbpt.pseudo_attributes.label import label_attributes

__all__ = ["Clusters", "PseudoAttributes", "label_attributes"]
