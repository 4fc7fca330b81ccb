"""Pseudo attributes: the spurious attribute of each row, as CLIP sees it, from cached zero-shot logits.

`label_attributes` is the whole of it; each method is a file, which labels the parts of a `Job`: all rows, or the rows
of each class. No true attribute comes in here, and no torch.
"""

from dbpt.pseudo_attributes.label import label_attributes
from dbpt.pseudo_attributes.prompts import average_prompts
from dbpt.pseudo_attributes.result import Clustering, Proportions, PseudoAttributes

__all__ = ["Clustering", "Proportions", "PseudoAttributes", "average_prompts", "label_attributes"]
