"""Pseudo attributes: the spurious attribute of each row, as CLIP sees it, from cached zero-shot logits.

`label_attributes` is the whole of it; each method is a file. No true attribute comes in here, and no torch.
"""

from dbpt.pseudo_attributes.label import label_attributes
from dbpt.pseudo_attributes.result import Clusters, PseudoAttributes

__all__ = ["Clusters", "PseudoAttributes", "label_attributes"]
