"""Metrics over (class, attribute) groups and their intervals.

Arrays in, numbers out: nothing here knows a model, a file or how a figure is shown (that is `dbpt.report`).
"""

from dbpt.metrics.groups import (
    SMALL_GROUP,
    GroupAccuracy,
    GroupMetrics,
    group_metrics,
    worst_group,
    worst_group_accuracy,
)
from dbpt.metrics.intervals import wilson_interval, worst_group_difference_interval, worst_group_interval
from dbpt.metrics.pseudo_quality import pseudo_attribute_quality
from dbpt.metrics.rows import group_counts

__all__ = [
    "SMALL_GROUP",
    "GroupAccuracy",
    "GroupMetrics",
    "group_counts",
    "group_metrics",
    "pseudo_attribute_quality",
    "wilson_interval",
    "worst_group",
    "worst_group_accuracy",
    "worst_group_difference_interval",
    "worst_group_interval",
]
