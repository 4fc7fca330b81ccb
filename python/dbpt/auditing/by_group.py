"""The figures of each audited group: right and wrong predictions with intervals, and calibration."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.auditing.figures import AuditedGroup
from dbpt.groups import class_and_attribute, group_counts, group_ids, simultaneous_intervals


def audited_groups(
    predictions: NDArray[np.int64],
    labels: NDArray[np.int64],
    attributes: NDArray[np.int64],
    probabilities: NDArray[np.float64] | None,
    *,
    class_names: Sequence[str],
    attribute_names: Sequence[str],
) -> list[AuditedGroup]:
    """Return the figures of each group that has images, in the order g = y*A + a.

    ``predictions`` and ``labels`` are (N,) class indices, ``attributes`` (N,) attribute indices or -1 for rows that
    count in no group, ``probabilities`` (N, C).
    """
    shape, num_attributes = (len(class_names), len(attribute_names)), len(attribute_names)
    groups_N, is_right_N = group_ids(labels, attributes, num_attributes), predictions == labels
    predicted_N = group_ids(predictions, attributes, num_attributes)
    counts_G = group_counts(groups_N, shape[0] * shape[1])
    correct_G = group_counts(groups_N[is_right_N], counts_G.size)
    false_positives_G = group_counts(predicted_N[~is_right_N], counts_G.size)
    others_CA = counts_G.reshape(shape).sum(axis=0) - counts_G.reshape(shape)
    confidence_N = (
        np.zeros(len(labels)) if probabilities is None else probabilities[np.arange(len(labels)), predictions]
    )
    known_N = groups_N >= 0
    confidence_G = np.bincount(groups_N[known_N], confidence_N[known_N], minlength=counts_G.size)
    found = []
    for group, interval in enumerate(simultaneous_intervals(correct_G, counts_G)):
        if interval is None:
            continue
        label, attribute = class_and_attribute(group, num_attributes)
        n, correct = int(counts_G[group]), int(correct_G[group])
        found.append(
            AuditedGroup(
                index=group,
                class_name=class_names[label],
                attribute=attribute_names[attribute],
                n=n,
                correct=correct,
                accuracy=correct / n,
                low=interval[0],
                high=interval[1],
                false_positives=int(false_positives_G[group]),
                n_others=int(others_CA[label, attribute]),
                confidence=float(confidence_G[group]) / n if probabilities is not None else None,
            )
        )
    return found
