"""Pseudo attributes: the spurious attribute of each row, as CLIP sees it, from cached zero-shot logits.

`label_attributes` does all of it. No true attribute comes in here, and no torch.
"""

from dbpt.pseudo_attributes.job import Clusters, PseudoAttributes
from dbpt.pseudo_attributes.label import label_attributes

__all__ = ["Clusters", "PseudoAttributes", "label_attributes"]
