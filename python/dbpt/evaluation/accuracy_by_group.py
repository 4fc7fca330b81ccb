"""Accuracy by (class, attribute) group, worst-group accuracy, and the averages that the literature confuses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.cautions import MOST_NAMED, Caution, caution
from dbpt.data.other_columns import CodedSource
from dbpt.errors import InputError
from dbpt.evaluation.intervals import simultaneous_intervals, worst_group_interval
from dbpt.evaluation.short_repr import Brief, in_percent, in_points
from dbpt.groups import SMALL_GROUP, group_name, ids, worst_group


@dataclass(frozen=True, kw_only=True)
class ClustersSummary:
    """The ``names`` (C, K) of clusters, and their ``separation`` (C,), None for a class with too few images for it."""

    names: list[list[str]]
    separation: list[float | None]


@dataclass(frozen=True, kw_only=True)
class CodedSummary:
    """The column of the data, or the measured property of the images, whose ``values`` (A,) divide the classes."""

    source: CodedSource
    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class GroupedData:
    """A data set whose groups are over the ``attributes``, ``clusters`` or ``coded`` values; else over the classes."""

    name: str
    root: str
    classes: list[str]
    attributes: list[str]
    notes: list[str]
    clusters: ClustersSummary | None = None
    coded: CodedSummary | None = None

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a; "" without attributes."""
        return [(y, a) for y in self.classes for a in self.attributes] or self.pseudo_groups

    @property
    def pseudo_groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each pseudo-group, in the order g = y*A + a; "" without attributes."""
        if self.clusters is None:
            values = self.coded.values if self.coded is not None else self.attributes or [""]
            return [(y, a) for y in self.classes for a in values]
        return [(y, a) for y, names in zip(self.classes, self.clusters.names, strict=True) for a in names]


@dataclass(frozen=True, kw_only=True, repr=False)
class Group(Brief):
    """The images of a class with an attribute, and how a classifier does on them. None means not known, never 0.

    In a comparison all figures are means over the seeds, with counts rounded.

    Attributes:
        index: the number g = y*A + a of the group.
        class_name: the name of the class y.
        attribute: the name of the attribute a; "" if no attribute is named.
        n: the number of its images.
        correct: how many of them are classified correctly.
        accuracy: their fraction, which is also the class's true positive rate here; None without images.
        low, high: exact 95 % bounds of the accuracy that hold for all groups at once (`simultaneous_intervals`).
        false_positives: how many of the ``n_others`` images are taken for this class. None if each class has attributes
            of its own.
        n_others: the number of images of other classes with this attribute; None as for ``false_positives``.
        confidence: the mean probability of the predicted class.
    """

    index: int
    class_name: str
    attribute: str
    n: int
    correct: int
    accuracy: float | None
    low: float | None
    high: float | None
    false_positives: int | None = None
    n_others: int | None = None
    confidence: float | None = None

    def _brief(self) -> str:
        accuracy = in_percent(self.accuracy, self.low, self.high)
        return f"{group_name(self.class_name, self.attribute)}: {accuracy}, n={self.n}"

    @property
    def false_positive_rate(self) -> float | None:
        """False positives per image of other classes with this attribute; None without such images."""
        return self.false_positives / self.n_others if self.false_positives is not None and self.n_others else None

    @property
    def calibration_gap(self) -> float | None:
        """Mean confidence minus accuracy, which is positive if the classifier is overconfident."""
        return None if self.confidence is None or self.accuracy is None else self.confidence - self.accuracy


def are_apart(worse: Group, better: Group) -> bool:
    """Return whether the intervals of the two groups are apart."""
    return worse.high is not None and better.low is not None and worse.high < better.low


@dataclass(frozen=True, repr=False)
class GroupMetrics(Brief):
    """The result of `group_metrics`. Fractions in 0..1; None means missing, never 0.

    Attributes:
        n: the number of rows, including those of unknown attribute.
        worst_group_accuracy: the lowest accuracy of a non-empty group, biased downward.
        worst_group: the index of that group, the first if tied.
        worst_group_low, worst_group_high: the 95 % interval of the worst-group accuracy (`worst_group_interval`).
        average: the accuracy over all rows.
        adjusted_average: the mean of group accuracies weighted by training counts, the adjusted average accuracy of
            WILDS.
        group_mean: the unweighted mean of group accuracies.
        gap, adjusted_gap: ``average`` and ``adjusted_average`` minus ``worst_group_accuracy``.
        groups: all G groups in the order of their index.
        warnings: about groups that are empty or have few rows.
    """

    n: int
    worst_group_accuracy: float | None
    worst_group: int | None
    worst_group_low: float | None
    worst_group_high: float | None
    average: float
    adjusted_average: float | None
    group_mean: float | None
    gap: float | None
    adjusted_gap: float | None
    groups: tuple[Group, ...]
    warnings: tuple[Caution, ...]

    def _brief(self, average: float | None = None, gap: float | None = None) -> str:
        """Return the figures, with another average and gap than the plain ones if a table shows these."""
        average, gap = (self.average, self.gap) if average is None else (average, gap)
        worst = in_percent(self.worst_group_accuracy, self.worst_group_low, self.worst_group_high)
        names = [group_name(each.class_name, each.attribute) for each in worst_first(self.groups)[:1]]
        of_group, of_all = f"worst group {' '.join([*names, worst])}", f"average {in_percent(average)}"
        unknown = self.n - sum(each.n for each in self.groups)
        of_no_group = f", {unknown} of unknown attribute" if unknown else ""
        return f"{of_group}, {of_all}, gap {in_points(gap)}, n={self.n}{of_no_group}"


def group_metrics(
    *,
    predictions: ArrayLike,
    labels: ArrayLike,
    attributes: ArrayLike,
    num_classes: int,
    num_attributes: int,
    confidence: ArrayLike | None = None,
    train_counts: ArrayLike | None = None,
    group_names: Sequence[tuple[str, str]] | None = None,
    shared_attributes: bool = True,
    occurring: ArrayLike | None = None,
) -> GroupMetrics:
    """Return accuracy by group g = y*A + a, worst-group accuracy, averages, intervals and warnings.

    Args:
        predictions: (N,) integers in 0..C, the predicted classes.
        labels: (N,) integers in 0..C, the true classes.
        attributes: (N,) integers in 0..A, or -1 where unknown. Such rows count only in ``average``.
        num_classes, num_attributes: C and A.
        confidence: (N,) probabilities of the predicted classes, of which the groups have the mean.
        train_counts: (G,) training rows of each group. The adjusted average leaves out groups that are empty here and
            scales the other proportions up to a sum of 1 (None if all are 0).
        group_names: (G,) pairs of class name and attribute, by default such as ("class 1", "attribute 0").
        shared_attributes: False if each class has attributes of its own, such as clusters within each class. There are
            no false positives then.
        occurring: (G,) booleans, by default all true; False for groups without a warning if they are empty.

    Returns:
        The metrics, with all G groups.

    Raises:
        InputError: for arrays of other shapes or values, and without rows.

    >>> rows = {"predictions": [0, 0, 1, 0], "labels": [0, 0, 1, 1], "attributes": [0, 1, 1, 0]}
    >>> m = group_metrics(**rows, num_classes=2, num_attributes=2)
    >>> m.average, m.worst_group_accuracy, m.worst_group, m.gap
    (0.75, 0.0, 2, 0.75)
    """
    num_classes, num_attributes = ids.check_sizes(num_classes, num_attributes)
    arguments.check_same_order(predictions=predictions, labels=labels, attributes=attributes, confidence=confidence)
    predictions_N = ids.checked_indices(predictions, "predictions", 0, num_classes)
    labels_N = ids.checked_indices(labels, "labels", 0, num_classes, rows=predictions_N.size)
    attributes_N = ids.checked_indices(attributes, "attributes", -1, num_attributes, rows=predictions_N.size)
    if predictions_N.size == 0:
        raise InputError("predictions has no rows; there is nothing to evaluate")
    num_groups, is_named = num_classes * num_attributes, group_names is not None
    if group_names is None:
        group_names = [(f"class {y}", f"attribute {a}") for y in range(num_classes) for a in range(num_attributes)]
    if len(group_names) != num_groups or any(isinstance(name, str) or len(name) != 2 for name in group_names):
        expected = f"{num_groups} pairs of class and attribute"
        raise InputError(f"group_names has {len(group_names)} names such as {group_names[:1]}; expected {expected}")
    occurs_G = arguments.vector("occurring", [True] * num_groups if occurring is None else occurring, "b", num_groups)
    right_N = predictions_N == labels_N
    groups_N = ids.group_ids(labels_N, attributes_N, num_attributes)
    counts_G, correct_G = ids.group_counts(groups_N, num_groups), ids.group_counts(groups_N[right_N], num_groups)
    more = dict[str, NDArray[Any]]()
    if shared_attributes:
        # A false positive of group (y, a) is an image with attribute a of another class that is taken for y.
        predicted_N = ids.group_ids(predictions_N, attributes_N, num_attributes)
        counts_CA = counts_G.reshape(num_classes, num_attributes)
        more["false_positives"] = ids.group_counts(predicted_N[~right_N], num_groups)
        more["n_others"] = (counts_CA.sum(axis=0) - counts_CA).ravel()
    if confidence is not None:
        confidence_N = arguments.vector("confidence", confidence, "iuf", labels_N.size, per="row")
        known_N = groups_N >= 0
        sums_G = np.bincount(groups_N[known_N], confidence_N[known_N], minlength=num_groups)
        more["confidence"] = np.where(counts_G > 0, sums_G / np.maximum(counts_G, 1), np.array(None))
    groups = counted_groups(group_names, counts_G, correct_G, **more)
    accuracies = {entry.index: entry.accuracy for entry in groups if entry.accuracy is not None}
    average, adjusted = float(right_N.mean()), None
    if train_counts is not None:
        weights = arguments.group_numbers("train_counts", train_counts, num_groups).tolist()
        total = sum(weights[g] for g in accuracies)
        adjusted = sum(weights[g] * accuracy for g, accuracy in accuracies.items()) / total if total else None
    figures = _worst_and_mean(groups, average, adjusted)
    return GroupMetrics(
        n=int(predictions_N.size),
        average=average,
        adjusted_average=adjusted,
        groups=groups,
        warnings=tuple(_warnings(groups, figures["worst_group"], is_named, int((attributes_N < 0).sum()), occurs_G)),
        **figures,
    )


def counted_groups(
    names: Sequence[tuple[str, str]], counts: NDArray[np.int64], correct: NDArray[np.int64], **more: NDArray[Any]
) -> tuple[Group, ...]:
    """Return the G groups from their ``names``, (class, attribute), and their figures, each (G,).

    ``more`` are those of `Group` that may be unknown: false positives, the number of others, and the confidence.
    """
    more_lists = {figure: values.tolist() for figure, values in more.items()}
    rows = zip(names, counts.tolist(), correct.tolist(), simultaneous_intervals(correct, counts), strict=True)
    return tuple(
        Group(
            index=g,
            class_name=class_name,
            attribute=attribute,
            n=n,
            correct=right,
            accuracy=right / n if n else None,
            low=bounds and bounds[0],
            high=bounds and bounds[1],
            **{figure: values[g] for figure, values in more_lists.items()},
        )
        for g, ((class_name, attribute), n, right, bounds) in enumerate(rows)
    )


def worst_first(groups: Sequence[Group]) -> list[Group]:
    """Return the groups that have images, those of the lowest accuracy first."""
    return sorted((group for group in groups if group.n), key=lambda group: group.accuracy or 0.0)


def also_worst(groups: Sequence[Group]) -> int:
    """Return how many other groups have the lowest accuracy too."""
    accuracies = [group.accuracy for group in worst_first(groups)]
    return accuracies.count(accuracies[0]) - 1 if accuracies else 0


def merged_groups(
    groups: Sequence[Group], merged: NDArray[np.int64], names: Sequence[tuple[str, str]]
) -> tuple[Group, ...]:
    """Return larger groups, as many as ``names``; ``groups[g]`` becomes part of number ``merged[g]``."""
    merged = arguments.integers("merged", merged, len(groups))

    def total(figure: str) -> NDArray[np.int64]:
        return np.bincount(merged, [getattr(group, figure) for group in groups], len(names)).astype(np.int64)

    is_known = all(group.false_positives is not None for group in groups)
    more = {figure: total(figure) for figure in ("false_positives", "n_others") if is_known}
    counts = total("n")
    # Of means over seeds the accuracies are exact, the counts rounded.
    right = np.bincount(merged, [group.n * (group.accuracy or 0.0) for group in groups], len(names)).round(6)
    correct = np.rint(right).astype(np.int64)
    larger = counted_groups(names, counts, correct, **more)
    return tuple(
        replace(group, accuracy=value / group.n if group.n else None)
        for group, value in zip(larger, right.tolist(), strict=True)
    )


def merged_metrics(metrics: GroupMetrics, merged: NDArray[np.int64], names: Sequence[tuple[str, str]]) -> GroupMetrics:
    """Return the metrics over larger groups. The averages stay as they are; warnings, which name groups, go.

    Args:
        metrics: the metrics over G groups.
        merged: (G,) int64, the number of the larger group that each group becomes a part of.
        names: class and attribute of each larger group.

    Returns:
        The metrics over as many groups as there are ``names``.
    """
    groups = merged_groups(metrics.groups, merged, names)
    return replace(
        metrics, groups=groups, warnings=(), **_worst_and_mean(groups, metrics.average, metrics.adjusted_average)
    )


def _worst_and_mean(groups: Sequence[Group], average: float, adjusted: float | None) -> dict[str, Any]:
    """Return the fields of `GroupMetrics` about the worst group and the mean of groups."""
    correct_G, counts_G = (np.array([getattr(group, name) for group in groups]) for name in ("correct", "n"))
    accuracies = [group.accuracy for group in groups if group.accuracy is not None]
    worst = worst_group(correct_G, counts_G)
    wga = None if worst is None else groups[worst].accuracy
    low, high = worst_group_interval(correct_G, counts_G) or (None, None)
    return {
        "worst_group_accuracy": wga,
        "worst_group": worst,
        "worst_group_low": low,
        "worst_group_high": high,
        "group_mean": sum(accuracies) / len(accuracies) if accuracies else None,
        "gap": None if wga is None else average - wga,
        "adjusted_gap": None if wga is None or adjusted is None else adjusted - wga,
    }


def _warnings(
    groups: Sequence[Group],
    worst: int | None,
    is_named: bool,
    unknown: int,
    occurs_G: NDArray[np.bool_],
) -> list[Caution]:
    def name_of(group: Group) -> str:
        if is_named:
            return ids.group_name(group.class_name, group.attribute)
        return f"{group.index} ({group.class_name}, {group.attribute})"

    empty = [name_of(entry) for entry in groups if entry.n == 0 and occurs_G[entry.index]]
    warnings = [caution("empty groups", n=len(empty), groups=empty[:MOST_NAMED])] if empty else []
    if unknown:
        warnings.append(caution("unknown attributes", n=unknown))
    if worst is not None and groups[worst].n < SMALL_GROUP:
        n = groups[worst].n
        warnings.append(caution("small worst group", group=name_of(groups[worst]), n=n, points=100 / n))
    return warnings
