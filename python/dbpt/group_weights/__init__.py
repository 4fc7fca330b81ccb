"""What one sample of each group weighs, for any training loop: a file for each rule, and what all rules share."""

from dbpt.group_weights.group_dro import GroupDRO
from dbpt.group_weights.rule import GroupWeighting
from dbpt.group_weights.self_adjusting import GroupWeights
from dbpt.group_weights.soft import soft_counts

__all__ = ["GroupDRO", "GroupWeighting", "GroupWeights", "soft_counts"]
