"""Predictions to figures: accuracy by group, intervals, explained errors, verdicts as fields, the schema of results.

Nothing here makes sentences or writes files. The functions below take arrays, as those of `dbpt.groups` do.
"""

from dbpt.evaluation.accuracy_by_group import Group, GroupMetrics, group_metrics, merged_metrics
from dbpt.evaluation.explained_by_attribute import (
    ExplainedErrors,
    cramers_v,
    explained_errors,
)
from dbpt.evaluation.guess_quality import PseudoGroupQuality, PseudoQuality, pseudo_attribute_quality
from dbpt.evaluation.intervals import exact_interval, gap_interval, simultaneous_intervals, worst_group_interval
from dbpt.evaluation.row_differences import worst_group_difference_interval
from dbpt.evaluation.wrong_labels import LabelQuality, label_quality

__all__ = [
    "ExplainedErrors",
    "Group",
    "GroupMetrics",
    "LabelQuality",
    "PseudoGroupQuality",
    "PseudoQuality",
    "cramers_v",
    "exact_interval",
    "explained_errors",
    "gap_interval",
    "group_metrics",
    "label_quality",
    "merged_metrics",
    "pseudo_attribute_quality",
    "simultaneous_intervals",
    "worst_group_difference_interval",
    "worst_group_interval",
]
