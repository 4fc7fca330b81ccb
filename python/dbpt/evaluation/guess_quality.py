"""The quality of guesses where the true attribute is known: accuracy, confusion, precision of pseudo-groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dbpt import arguments
from dbpt.evaluation.intervals import exact_interval
from dbpt.evaluation.short_repr import Brief, in_percent
from dbpt.groups.ids import (
    check_sizes,
    checked_indices,
    class_and_attribute,
    contingency_table,
    group_counts,
    group_ids,
)

_MAX_CONFUSED = 2**12  # attributes, whose confusion matrix is (A, A)


@dataclass(frozen=True)
class PseudoGroupQuality:
    """The rows of a pseudo-group that truly belong to it. Rates are fractions, and None over no rows.

    Attributes:
        group, label, attribute: the index g = y*A + a, the class y and the pseudo attribute a.
        n, n_right: the rows of the pseudo-group with a known true attribute, and those of them that have this
            attribute.
        n_true: the number of rows that truly belong to the group, unlabelled ones included.
        precision, precision_low, precision_high: ``n_right / n`` and its exact 95 % interval (`exact_interval`).
        recall, recall_low, recall_high: ``n_right / n_true`` and its exact 95 % interval.
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


@dataclass(frozen=True, kw_only=True, repr=False)
class PseudoQuality(Brief):
    """The result of `pseudo_attribute_quality`.

    Attributes:
        n, n_unlabelled: the number of rows with both attributes, and with only a true one.
        confusion: (A, A) counts of the ``n`` rows by pseudo attribute (row) and true attribute (column).
        n_right, accuracy, low, high: how many of the ``n`` rows have the true attribute, their fraction, and its exact
            95 % interval (`exact_interval`); None without rows.
        smallest_group, empty_groups: the index of the smallest non-empty pseudo-group, and those of true groups without
            one.
        groups: the quality of each of the G pseudo-groups.
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

    def _brief(self) -> str:
        right = f"{in_percent(self.accuracy, self.low, self.high)} of {self.n} right"
        if self.smallest_group is None:
            return right
        small = self.groups[self.smallest_group]
        precision = in_percent(small.precision, small.precision_low, small.precision_high)
        return f"{right}; smallest pseudo-group {small.group}, n={small.n}: precision {precision}"


def pseudo_attribute_quality(
    pseudo_attributes: ArrayLike, attributes: ArrayLike, labels: ArrayLike, *, num_classes: int, num_attributes: int
) -> PseudoQuality:
    """Compare pseudo attributes with true attributes.

    Args:
        pseudo_attributes, attributes: (N,) integers in 0..A, the guessed and the true ones; -1 where unknown.
        labels: (N,) integers in 0..C.
        num_classes, num_attributes: C and A.

    Returns:
        The accuracy of the pseudo attributes, their confusion, and the quality of each pseudo-group.

    Raises:
        InputError: for arrays of other shapes or values.

    >>> quality = pseudo_attribute_quality([0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1], num_classes=2, num_attributes=2)
    >>> quality.accuracy, quality.confusion, quality.groups[3].precision
    (0.75, [[2, 0], [1, 1]], 0.0)
    """
    num_classes, num_attributes = check_sizes(num_classes, num_attributes)
    arguments.integer("num_attributes", num_attributes, 1, _MAX_CONFUSED)
    arguments.check_same_order(pseudo_attributes=pseudo_attributes, attributes=attributes, labels=labels)
    pseudo_N = checked_indices(pseudo_attributes, "pseudo_attributes", -1, num_attributes)
    true_N = checked_indices(attributes, "attributes", -1, num_attributes, rows=pseudo_N.size)
    labels_N = checked_indices(labels, "labels", 0, num_classes, rows=pseudo_N.size)
    known, both = true_N >= 0, (true_N >= 0) & (pseudo_N >= 0)
    right = both & (true_N == pseudo_N)
    num_groups, groups_N = num_classes * num_attributes, group_ids(labels_N, true_N, num_attributes)
    n_G = group_counts(group_ids(labels_N, pseudo_N, num_attributes)[both], num_groups)
    n_true_G, n_right_G = group_counts(groups_N[known], num_groups), group_counts(groups_N[right], num_groups)
    confusion = contingency_table(pseudo_N[both], true_N[both], (num_attributes, num_attributes))
    n, n_right = int(both.sum()), int(right.sum())
    accuracy, low, high = _proportion(n_right, n)
    present = np.flatnonzero(n_G)
    return PseudoQuality(
        n=n,
        n_unlabelled=int((known & ~both).sum()),
        confusion=confusion.tolist(),
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
                *_proportion(right, n),
                *_proportion(right, n_true),
            )
            for g, (n, right, n_true) in enumerate(
                zip(n_G.tolist(), n_right_G.tolist(), n_true_G.tolist(), strict=True)
            )
        ],
    )


def _proportion(right: int, n: int) -> tuple[float | None, float | None, float | None]:
    """Return right / n and its exact 95 % interval, or None three times if n = 0."""
    return (right / n, *exact_interval(right, n)) if n else (None, None, None)
