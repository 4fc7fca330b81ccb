"""How good pseudo attributes are, where true ones exist to compare them with."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dbpt.groups.checked_rows import check_sizes, checked_indices, group_counts, join_groups
from dbpt.groups.intervals import proportion


def pseudo_attribute_quality(
    pseudo_attributes: ArrayLike,
    attributes: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    num_attributes: int,
) -> dict[str, Any]:
    """Compare pseudo attributes with true attributes; return a dict fit for JSON.

    All arrays are (N,) integers; -1 marks an attribute that is unknown, in either. ``n``, ``n_right`` and ``accuracy``
    (with ``low``, ``high``) are over the rows where both are known, ``n_unlabelled`` counts those with a true but no
    pseudo attribute. ``confusion`` (A, A) counts the former by pseudo (row) and true attribute (column).

    ``groups`` has an entry for each pseudo-group: of its ``n`` rows, ``n_right`` belong to it in
    truth (``precision``); of the ``n_true`` rows that belong to it, those are the ones found (``recall``; an
    unlabelled row is not found). Each has a Wilson 95 % interval (``precision_low`` and so on), None over no rows.
    ``smallest_group`` is the index of the smallest non-empty pseudo-group, the first to be spoilt by wrong attributes:
    a few strays from a large neighbour can be half of it. ``empty_groups`` are those that exist but were given no row.

    Raises `InputError` for other shapes, values out of range or NaN.

    >>> quality = pseudo_attribute_quality([0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1], num_classes=2, num_attributes=2)
    >>> quality["accuracy"], quality["confusion"], quality["groups"][3]["precision"]
    (0.75, [[2, 0], [1, 1]], 0.0)
    """
    check_sizes(num_classes, num_attributes)
    pseudo_N = checked_indices(pseudo_attributes, "pseudo_attributes", -1, num_attributes)
    true_N = checked_indices(attributes, "attributes", -1, num_attributes, rows=pseudo_N.size)
    labels_N = checked_indices(labels, "labels", 0, num_classes, rows=pseudo_N.size)
    known, both = true_N >= 0, (true_N >= 0) & (pseudo_N >= 0)
    right = both & (true_N == pseudo_N)
    num_groups = num_classes * num_attributes
    n_G = group_counts(join_groups(labels_N, pseudo_N, num_attributes)[both], num_groups)
    n_true_G = group_counts(join_groups(labels_N, true_N, num_attributes)[known], num_groups)
    n_right_G = group_counts(join_groups(labels_N, true_N, num_attributes)[right], num_groups)
    pairs = group_counts(join_groups(pseudo_N, true_N, num_attributes)[both], num_attributes**2)
    n, n_right = int(both.sum()), int(right.sum())
    accuracy, low, high = proportion(n_right, n)
    present = np.flatnonzero(n_G)
    return {
        "n": n,
        "n_unlabelled": int((known & ~both).sum()),
        "confusion": pairs.reshape(num_attributes, num_attributes).tolist(),
        "n_right": n_right,
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "smallest_group": int(present[np.argmin(n_G[present])]) if present.size else None,
        "empty_groups": [int(g) for g in np.flatnonzero((n_G == 0) & (n_true_G > 0))],
        "groups": [
            _quality_of_group(g, num_attributes, int(n_G[g]), int(n_right_G[g]), int(n_true_G[g]))
            for g in range(num_groups)
        ],
    }


def _quality_of_group(group: int, num_attributes: int, n: int, n_right: int, n_true: int) -> dict[str, Any]:
    label, attribute = divmod(group, num_attributes)
    entry: dict[str, Any] = {"group": group, "label": label, "attribute": attribute}
    entry |= {"n": n, "n_right": n_right, "n_true": n_true}
    for name, total in (("precision", n), ("recall", n_true)):
        entry[name], entry[f"{name}_low"], entry[f"{name}_high"] = proportion(n_right, total)
    return entry
