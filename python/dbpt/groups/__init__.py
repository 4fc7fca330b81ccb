"""Groups of rows (class and attribute): their ids, their weights, and the worst one.

Functions take arrays and return numbers; nothing here knows a model or a file. Arrays (N,) may be lists, tensors, whose
gradients are ignored, or columns of data frames, taken in the order of their rows. Labels and attributes with one
index in different orders are refused, and so is a column (N, 1), a dict or a set. Where -1 means unknown, None, NaN and
pandas' NA do too. Accuracy by group is in `dbpt.evaluation`.
"""

from dbpt.groups.ids import (
    SMALL_GROUP,
    class_and_attribute,
    group_codes,
    group_counts,
    group_ids,
    group_name,
    worst_group,
    worst_group_accuracy,
    worst_group_mean,
)
from dbpt.groups.weight_updates import GroupDRO, GroupWeights, raked_weights, sample_weights
from dbpt.groups.weights import MAX_WEIGHT, MIN_GROUP_COUNT, GroupWeighting

__all__ = [
    "MAX_WEIGHT",
    "MIN_GROUP_COUNT",
    "SMALL_GROUP",
    "GroupDRO",
    "GroupWeighting",
    "GroupWeights",
    "class_and_attribute",
    "group_codes",
    "group_counts",
    "group_ids",
    "group_name",
    "raked_weights",
    "sample_weights",
    "worst_group",
    "worst_group_accuracy",
    "worst_group_mean",
]
