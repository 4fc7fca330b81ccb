"""Accuracy by (class, attribute) group, worst-group accuracy, and the averages that the literature confuses.

Also the quality of pseudo attributes, measured with true ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, first_few
from dbpt.groups.group_ids import check_sizes, checked_indices, class_and_attribute, group_counts, group_ids
from dbpt.groups.intervals import proportion, simultaneous_intervals, worst_group_interval

SMALL_GROUP = 30
"""The accuracy of a group with fewer rows gets a warning."""
MOST_NAMED = 3
"""As many groups without images are named in a warning."""
_MAX_CONFUSED = 2**12  # attributes, whose confusion matrix is (A, A)


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy of one group g = y*A + a with its 95 % interval; all three are None if the group has no rows.

    The intervals of all groups hold at once (`simultaneous_intervals`).
    """

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
    """The result of `group_metrics`. Fractions in 0..1; None means missing, never 0.

    - ``n``: all rows, including those of unknown attribute; ``average``: accuracy over them.
    - ``worst_group_accuracy``: the lowest accuracy of a non-empty group, biased downward; ``worst_group``: its index,
      the first if tied; ``worst_group_low``, ``worst_group_high``: its 95 % interval (`worst_group_interval`).
    - ``adjusted_average``: the mean of group accuracies weighted by training counts, the adjusted average accuracy of
      WILDS; ``group_mean``: their unweighted mean.
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


@dataclass(frozen=True)
class PseudoGroupQuality:
    """A pseudo-group: ``n_right`` of its ``n`` rows truly belong to it (``precision``).

    ``recall`` is the fraction of the ``n_true`` rows that belong to it, unlabelled ones included. Each has an
    exact 95 % interval (`exact_interval`), None over no rows.
    """

    group: int
    label: int
    attribute: int
    n: int
    n_right: int
    n_true: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None


@dataclass(frozen=True, kw_only=True)
class PseudoQuality:
    """The result of `pseudo_attribute_quality`.

    ``n``, ``n_right`` and ``accuracy`` (with ``low`` and ``high``) count the rows with both attributes, and
    ``n_unlabelled`` those with only a true one. ``confusion`` (A, A) counts the former by pseudo attribute (row) and
    true attribute (column). ``groups`` has an entry for each pseudo-group. ``smallest_group`` is the index of the
    smallest non-empty pseudo-group. ``empty_groups`` are true groups that got no row.
    """

    n: int
    n_unlabelled: int
    confusion: list[list[int]]
    n_right: int
    accuracy: float | None
    low: float | None
    high: float | None
    smallest_group: int | None
    empty_groups: list[int]
    groups: list[PseudoGroupQuality]


def group_metrics(
    predictions: ArrayLike,
    labels: ArrayLike,
    attributes: ArrayLike,
    *,
    num_classes: int,
    num_attributes: int,
    train_counts: ArrayLike | None = None,
    group_names: Sequence[str] | None = None,
    occurring: ArrayLike | None = None,
) -> GroupMetrics:
    """Return accuracy by group g = y*A + a, worst-group accuracy, averages, intervals and warnings.

    ``predictions`` and ``labels`` are (N,) integers in 0..C, ``attributes`` (N,) integers in 0..A or -1 where unknown.
    Rows of unknown attribute count only in ``average``. ``train_counts`` (G,) are the training rows of each group. The
    adjusted average leaves out groups that are empty here and scales the other proportions up to a sum of 1 (None if
    all are 0). ``group_names`` (G,) are used in warnings. ``occurring`` (G,) booleans, by default all true, are
    False for groups without a warning if they are empty. Raises `InputError`.

    >>> m = group_metrics([0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0], num_classes=2, num_attributes=2)
    >>> m.average, m.worst_group_accuracy, m.worst_group, m.gap
    (0.75, 0.0, 2, 0.75)
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    predictions_N = checked_indices(predictions, "predictions", 0, num_classes)
    labels_N = checked_indices(labels, "labels", 0, num_classes, rows=predictions_N.size)
    attributes_N = checked_indices(attributes, "attributes", -1, num_attributes, rows=predictions_N.size)
    if predictions_N.size == 0:
        raise InputError("predictions has no rows; there is nothing to evaluate")
    num_groups = num_classes * num_attributes
    if group_names is not None and len(group_names) != num_groups:
        raise InputError(f"group_names has {len(group_names)} names; expected {num_groups} (classes x attributes)")

    def name_of(group: int) -> str:
        if group_names is not None:
            return group_names[group]
        return f"{group} (class {group // num_attributes}, attribute {group % num_attributes})"

    occurs_G = np.ones(num_groups, bool) if occurring is None else np.asarray(occurring, bool)
    if occurs_G.shape != (num_groups,):
        raise InputError(f"occurring has shape {occurs_G.shape}; expected ({num_groups},)")

    right_N = predictions_N == labels_N
    groups_N = group_ids(labels_N, attributes_N, num_attributes)
    counts_G, correct_G = group_counts(groups_N, num_groups), group_counts(groups_N[right_N], num_groups)
    groups = _accuracies(correct_G, counts_G, num_attributes)
    accuracies = {entry.group: entry.accuracy for entry in groups if entry.accuracy is not None}
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
        warnings=tuple(_warnings(groups, figures["worst_group"], name_of, int((attributes_N < 0).sum()), occurs_G)),
        **figures,
    )


def merged_metrics(metrics: GroupMetrics, merged: NDArray[np.int64], num_attributes: int) -> GroupMetrics:
    """Return the metrics over larger groups y*A + a of ``num_attributes`` A; group g becomes part of ``merged[g]``.

    The averages stay as they are. Warnings, which name groups, are left out.
    """
    num_groups = int(merged.max()) + 1
    counts_G = np.bincount(merged, [each.n for each in metrics.groups], num_groups).astype(np.int64)
    correct_G = np.bincount(merged, [each.correct for each in metrics.groups], num_groups).astype(np.int64)
    groups = _accuracies(correct_G, counts_G, num_attributes)
    figures = _worst_and_mean(groups, metrics.average, metrics.adjusted_average)
    return replace(metrics, groups=groups, warnings=(), **figures)


def _accuracies(
    correct_G: NDArray[np.int64], counts_G: NDArray[np.int64], num_attributes: int
) -> tuple[GroupAccuracy, ...]:
    rows = zip(counts_G.tolist(), correct_G.tolist(), simultaneous_intervals(correct_G, counts_G), strict=True)
    return tuple(
        GroupAccuracy(
            g,
            *class_and_attribute(g, num_attributes),
            n,
            correct,
            correct / n if n else None,
            *(bounds or (None, None)),
        )
        for g, (n, correct, bounds) in enumerate(rows)
    )


def _worst_and_mean(groups: Sequence[GroupAccuracy], average: float, adjusted: float | None) -> dict[str, Any]:
    """Return the fields of `GroupMetrics` about the worst group and the mean of groups."""
    correct_G, counts_G = (np.array([getattr(each, name) for each in groups]) for name in ("correct", "n"))
    accuracies = [each.accuracy for each in groups if each.accuracy is not None]
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
    groups: Sequence[GroupAccuracy],
    worst: int | None,
    name_of: Callable[[int], str],
    unknown: int,
    occurs_G: NDArray[np.bool_],
) -> list[str]:
    empty = [name_of(entry.group) for entry in groups if entry.n == 0 and occurs_G[entry.group]]
    missing = "missing from worst-group accuracy and group mean, not counted as 0"
    warnings = [f"{len(empty)} groups have no images: {first_few(empty, MOST_NAMED)}; {missing}"] if empty else []
    if len(empty) == 1:
        warnings = [f"group {empty[0]}: no images; {missing}"]
    if unknown:
        images = (
            "1 image of unknown attribute counts" if unknown == 1 else f"{unknown} images of unknown attribute count"
        )
        warnings.append(f"{images} in the average only")
    if worst is not None and groups[worst].n < SMALL_GROUP:
        n = groups[worst].n
        images = "1 image" if n == 1 else f"{n} images"
        warnings.append(f"worst group {name_of(worst)}: only {images}, one image moves it by {100 / n:.1f} points")
    return warnings


def worst_group(correct: NDArray[np.int64], counts: NDArray[np.int64]) -> int | None:
    """Return the group with the lowest accuracy (the first if tied) from (G,) right and all rows; None without rows."""
    present = np.flatnonzero(counts)
    return int(present[(correct[present] / counts[present]).argmin()]) if present.size else None


def worst_group_accuracy(correct: NDArray[np.bool_], groups: NDArray[np.int64]) -> float | None:
    """Return the lowest accuracy of a non-empty group; None if every row of ``groups`` (N,) is -1, unknown."""
    return worst_group_mean(correct, groups)


def worst_group_mean(values: NDArray[Any], groups: NDArray[np.int64]) -> float | None:
    """Return the lowest mean of ``values`` (N,) in a non-empty group; None if all ``groups`` (N,) are -1, unknown."""
    known = groups >= 0
    if not known.any():
        return None
    counts_G = np.bincount(groups[known])
    sums_G = np.bincount(groups[known], weights=values[known])
    occurring = counts_G > 0
    return float((sums_G[occurring] / counts_G[occurring]).min())


def pseudo_attribute_quality(
    pseudo_attributes: ArrayLike, attributes: ArrayLike, labels: ArrayLike, *, num_classes: int, num_attributes: int
) -> PseudoQuality:
    """Compare pseudo attributes with true attributes.

    All arrays are (N,) integers; -1 marks an unknown attribute in either. Raises `InputError`.

    >>> quality = pseudo_attribute_quality([0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1], num_classes=2, num_attributes=2)
    >>> quality.accuracy, quality.confusion, quality.groups[3].precision
    (0.75, [[2, 0], [1, 1]], 0.0)
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    arguments.integer("num_attributes", num_attributes, 1, _MAX_CONFUSED)
    pseudo_N = checked_indices(pseudo_attributes, "pseudo_attributes", -1, num_attributes)
    true_N = checked_indices(attributes, "attributes", -1, num_attributes, rows=pseudo_N.size)
    labels_N = checked_indices(labels, "labels", 0, num_classes, rows=pseudo_N.size)
    known, both = true_N >= 0, (true_N >= 0) & (pseudo_N >= 0)
    right = both & (true_N == pseudo_N)
    num_groups, groups_N = num_classes * num_attributes, group_ids(labels_N, true_N, num_attributes)
    n_G = group_counts(group_ids(labels_N, pseudo_N, num_attributes)[both], num_groups)
    n_true_G, n_right_G = group_counts(groups_N[known], num_groups), group_counts(groups_N[right], num_groups)
    pairs = group_counts(group_ids(pseudo_N, true_N, num_attributes)[both], num_attributes**2)
    n, n_right = int(both.sum()), int(right.sum())
    accuracy, low, high = proportion(n_right, n)
    present = np.flatnonzero(n_G)
    return PseudoQuality(
        n=n,
        n_unlabelled=int((known & ~both).sum()),
        confusion=pairs.reshape(num_attributes, num_attributes).tolist(),
        n_right=n_right,
        accuracy=accuracy,
        low=low,
        high=high,
        smallest_group=int(present[np.argmin(n_G[present])]) if present.size else None,
        empty_groups=[int(g) for g in np.flatnonzero((n_G == 0) & (n_true_G > 0))],
        groups=[
            PseudoGroupQuality(
                g,
                *class_and_attribute(g, num_attributes),
                n,
                right,
                n_true,
                *proportion(right, n),
                *proportion(right, n_true),
            )
            for g, (n, right, n_true) in enumerate(
                zip(n_G.tolist(), n_right_G.tolist(), n_true_G.tolist(), strict=True)
            )
        ],
    )
