"""Groups of rows, class by attribute: what a sample of each weighs, and how accurate a classifier is in each.

Arrays in, numbers out: nothing here knows a model, a file or how a figure is shown.
"""

from dbpt.groups.accuracy import (
    SMALL_GROUP,
    GroupAccuracy,
    GroupMetrics,
    group_metrics,
    worst_group,
    worst_group_accuracy,
)
from dbpt.groups.checked_rows import group_counts
from dbpt.groups.group_dro import GroupDRO
from dbpt.groups.intervals import wilson_interval, worst_group_difference_interval, worst_group_interval
from dbpt.groups.pseudo_quality import pseudo_attribute_quality
from dbpt.groups.rule import GroupWeighting
from dbpt.groups.self_adjusting import GroupWeights
from dbpt.groups.soft import soft_counts

__all__ = [
    "SMALL_GROUP",
    "GroupAccuracy",
    "GroupDRO",
    "GroupMetrics",
    "GroupWeighting",
    "GroupWeights",
    "group_counts",
    "group_metrics",
    "pseudo_attribute_quality",
    "soft_counts",
    "wilson_interval",
    "worst_group",
    "worst_group_accuracy",
    "worst_group_difference_interval",
    "worst_group_interval",
]
