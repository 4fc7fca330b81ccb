"""Groups of rows (class and attribute): their ids, their weights, and the accuracy of a classifier in each.

Functions take arrays and return numbers; nothing here knows a model or a file. Arrays (N,) may be lists, tensors, whose
gradients are ignored, or columns of data frames, taken in the order of their rows. A column (N, 1), a dict or a set is
refused. Where -1 means unknown, None, NaN and pandas' NA do too.
"""

from dbpt.groups.accuracy import (
    SMALL_GROUP,
    Group,
    GroupMetrics,
    group_metrics,
    merged_metrics,
    worst_group,
    worst_group_accuracy,
    worst_group_mean,
)
from dbpt.groups.association import (
    ExplainedErrors,
    PseudoGroupQuality,
    PseudoQuality,
    cramers_v,
    explained_errors,
    pseudo_attribute_quality,
    random_part,
)
from dbpt.groups.ids import class_and_attribute, group_codes, group_counts, group_ids, group_name
from dbpt.groups.intervals import (
    MAX_WEIGHT,
    MIN_GROUP_COUNT,
    exact_interval,
    gap_interval,
    simultaneous_intervals,
    worst_group_difference_interval,
    worst_group_interval,
)
from dbpt.groups.rules import GroupDRO, GroupWeights, raked_weights, sample_weights
from dbpt.groups.weights import GroupWeighting

__all__ = [
    "MAX_WEIGHT",
    "MIN_GROUP_COUNT",
    "SMALL_GROUP",
    "ExplainedErrors",
    "Group",
    "GroupDRO",
    "GroupMetrics",
    "GroupWeighting",
    "GroupWeights",
    "PseudoGroupQuality",
    "PseudoQuality",
    "class_and_attribute",
    "cramers_v",
    "exact_interval",
    "explained_errors",
    "gap_interval",
    "group_codes",
    "group_counts",
    "group_ids",
    "group_metrics",
    "group_name",
    "merged_metrics",
    "pseudo_attribute_quality",
    "raked_weights",
    "sample_weights",
    "simultaneous_intervals",
    "worst_group",
    "worst_group_accuracy",
    "worst_group_difference_interval",
    "worst_group_interval",
    "worst_group_mean",
]
