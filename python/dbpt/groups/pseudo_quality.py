"""The quality of pseudo attributes, measured with true ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dbpt import arguments
from dbpt.groups.group_ids import check_sizes, checked_indices, class_and_attribute, group_counts, group_ids
from dbpt.groups.intervals import exact_interval

_MAX_CONFUSED = 2**12  # attributes, whose confusion matrix is (A, A)


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
    accuracy, low, high = _proportion(n_right, n)
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
