"""Accuracy by (class, attribute) group, the worst of them, and the averages that the literature confuses."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt.errors import InputError
from dbpt.groups.checked_rows import check_sizes, checked_indices, group_counts, join_groups
from dbpt.groups.intervals import proportion, worst_group_interval

SMALL_GROUP = 30
"""Below this many rows the accuracy of a group is warned about."""


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy of one group g = y*A + a with its Wilson 95 % interval; None throughout where the group has no rows."""

    group: int
    label: int
    attribute: int
    n: int
    correct: int
    accuracy: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GroupMetrics:
    """What `group_metrics` returns. Fractions in 0..1; None means missing, which is never the same as 0.

    - ``n``: all rows, those of unknown attribute included; ``average``: accuracy over them.
    - ``worst_group_accuracy``: the least accuracy of a non-empty group, ``worst_group`` its index (the first, if tied).
      It is biased downward: among groups of like accuracy, chance alone makes one the worst.
    - ``worst_group_low``, ``worst_group_high``: its 95 % interval, see `worst_group_interval`.
    - ``adjusted_average``: group accuracies weighted by training counts, which WILDS calls adjusted average accuracy;
      ``group_mean``: their unweighted mean.
    - ``gap``, ``adjusted_gap``: ``average`` and ``adjusted_average`` minus ``worst_group_accuracy``.
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
    groups: tuple[GroupAccuracy, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same fields as a dict of plain numbers, strings, lists and None."""
        values = asdict(self)
        return {**values, "groups": list(values["groups"]), "warnings": list(self.warnings)}


def group_metrics(
    predictions: ArrayLike,
    labels: ArrayLike,
    attributes: ArrayLike,
    *,
    num_classes: int,
    num_attributes: int,
    train_counts: ArrayLike | None = None,
    group_names: Sequence[str] | None = None,
) -> GroupMetrics:
    """Return accuracy by group g = y*A + a, worst-group accuracy, averages, intervals and warnings.

    ``predictions`` and ``labels`` are (N,) integers in 0..C, ``attributes`` (N,) integers in 0..A or -1 where unknown.
    Rows of unknown attribute count in ``average`` only. ``train_counts`` (G,) are the training rows of each group;
    groups that are empty here are dropped from the adjusted average and the other proportions scaled up to sum to one
    (None if they are all zero). ``group_names`` (G,) are used in warnings.

    >>> m = group_metrics([0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0], num_classes=2, num_attributes=2)
    >>> m.average, m.worst_group_accuracy, m.worst_group, m.gap
    (0.75, 0.0, 2, 0.75)

    Raises `InputError` for no rows, other shapes, values out of range, NaN, or negative training counts.
    """
    check_sizes(num_classes, num_attributes)
    predictions_N = checked_indices(predictions, "predictions", 0, num_classes)
    labels_N = checked_indices(labels, "labels", 0, num_classes, rows=predictions_N.size)
    attributes_N = checked_indices(attributes, "attributes", -1, num_attributes, rows=predictions_N.size)
    if predictions_N.size == 0:
        raise InputError("predictions has no rows; there is nothing to evaluate")
    num_groups = num_classes * num_attributes
    names = _names(group_names, num_groups, num_attributes)
    weights_G = None if train_counts is None else _train_counts(train_counts, num_groups)

    right_N = predictions_N == labels_N
    groups_N = join_groups(labels_N, attributes_N, num_attributes)
    counts_G = group_counts(groups_N, num_groups)
    correct_G = group_counts(groups_N[right_N], num_groups)
    groups = tuple(_group_accuracy(g, num_attributes, int(counts_G[g]), int(correct_G[g])) for g in range(num_groups))
    interval = worst_group_interval(correct_G, counts_G)
    average = float(right_N.mean())
    accuracy_by_group = {entry.group: entry.accuracy for entry in groups if entry.accuracy is not None}
    adjusted = _weighted(accuracy_by_group, weights_G)
    worst = worst_group(correct_G, counts_G)
    wga = None if worst is None else accuracy_by_group[worst]
    return GroupMetrics(
        n=int(predictions_N.size),
        worst_group_accuracy=wga,
        worst_group=worst,
        worst_group_low=interval[0] if interval else None,
        worst_group_high=interval[1] if interval else None,
        average=average,
        adjusted_average=adjusted,
        group_mean=sum(accuracy_by_group.values()) / len(accuracy_by_group) if accuracy_by_group else None,
        gap=None if wga is None else average - wga,
        adjusted_gap=None if wga is None or adjusted is None else adjusted - wga,
        groups=groups,
        warnings=tuple(_warnings(groups, worst, names, int((attributes_N < 0).sum()))),
    )


def worst_group(correct: NDArray[np.int64], counts: NDArray[np.int64]) -> int | None:
    """Return the group with the least accuracy (the first, if tied) from (G,) right and all rows; None without rows."""
    present = np.flatnonzero(counts)
    return int(present[(correct[present] / counts[present]).argmin()]) if present.size else None


def worst_group_accuracy(correct: NDArray[np.bool_], groups: NDArray[np.int64]) -> float | None:
    """Return the least accuracy of a group that has rows, None if no row has a group.

    ``correct`` is (N,) bool, which rows were classified rightly, ``groups`` (N,) int64 of the same rows, -1 unknown.
    """
    num_groups = int(groups.max(initial=-1)) + 1
    correct_G, counts_G = group_counts(groups[correct], num_groups), group_counts(groups, num_groups)
    worst = worst_group(correct_G, counts_G)
    return None if worst is None else float(correct_G[worst] / counts_G[worst])


def _group_accuracy(group: int, num_attributes: int, n: int, correct: int) -> GroupAccuracy:
    label, attribute = divmod(group, num_attributes)
    return GroupAccuracy(group, label, attribute, n, correct, *proportion(correct, n))


def _weighted(accuracy_by_group: dict[int, float], weights_G: NDArray[np.float64] | None) -> float | None:
    if weights_G is None:
        return None
    total = sum(float(weights_G[g]) for g in accuracy_by_group)
    return sum(float(weights_G[g]) * acc for g, acc in accuracy_by_group.items()) / total if total else None


def _warnings(groups: Sequence[GroupAccuracy], worst: int | None, names: Sequence[str], unknown: int) -> list[str]:
    warnings = [
        f"group {names[entry.group]}: no rows; missing from worst-group accuracy and group mean, not counted as 0"
        for entry in groups
        if entry.n == 0
    ]
    if unknown:
        warnings.append(f"{unknown} rows of unknown attribute count in the average only")
    if worst is None:
        return warnings
    n = groups[worst].n
    if n < SMALL_GROUP:
        rows = "1 row" if n == 1 else f"{n} rows"
        warnings.append(f"worst group {names[worst]}: only {rows}, one image moves it by {100 / n:.1f} points")
    return warnings


def _names(group_names: Sequence[str] | None, num_groups: int, num_attributes: int) -> Sequence[str]:
    if group_names is None:
        return [f"{g} (class {g // num_attributes}, attribute {g % num_attributes})" for g in range(num_groups)]
    if len(group_names) != num_groups:
        raise InputError(f"group_names has {len(group_names)} names; expected {num_groups} (classes x attributes)")
    return group_names


def _train_counts(train_counts: ArrayLike, num_groups: int) -> NDArray[np.float64]:
    weights = np.asarray(train_counts, dtype=np.float64)
    if weights.shape != (num_groups,):
        raise InputError(f"train_counts has shape {weights.shape}; expected ({num_groups},), a count for each group")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise InputError(f"train_counts[{bad[0]}] is {weights[bad[0]]}; expected a finite count of at least 0")
    return weights
