"""The pseudo-groups: class and pseudo attribute of each row. Without an attribute they are the classes."""

import numpy as np
from numpy.typing import NDArray

from dbpt.data import Dataset
from dbpt.groups import group_ids
from dbpt.pseudo_attributes.job import PseudoAttributes

NO_ATTRIBUTE = "none"


def no_attributes(dataset: Dataset) -> PseudoAttributes:
    """Return a single attribute without a name for all rows of ``dataset``; the method is "none"."""
    rows, ones = np.zeros(len(dataset), np.int64), np.ones((len(dataset), 1), np.float32)
    return PseudoAttributes(rows, ones, ones[:, 0], NO_ATTRIBUTE, names=(("",),) * dataset.num_classes)


def group_pairs(dataset: Dataset, pseudo: PseudoAttributes | None) -> list[tuple[str, str]]:
    """Return class and attribute (G,) of each pseudo-group, or without ``pseudo`` of each true group."""
    names = None if pseudo is None else pseudo.names
    names = (dataset.attribute_names,) * dataset.num_classes if names is None else names
    return [(y, a) for y, of_class in zip(dataset.class_names, names, strict=True) for a in of_class]


def names_of_rows(dataset: Dataset, pseudo: PseudoAttributes) -> list[str]:
    """Return the name of the pseudo attribute of each of N rows; "" where it is unknown."""
    pairs = group_pairs(dataset, pseudo)
    return [pairs[group][1] if group >= 0 else "" for group in pseudo_groups(dataset, pseudo).tolist()]


def pseudo_groups(dataset: Dataset, pseudo: PseudoAttributes) -> NDArray[np.int64]:
    """Return the pseudo-group (N,) of each row; -1 where its attribute is unknown."""
    if pseudo.names is None:
        return dataset.groups(pseudo.pseudo_attributes)
    return group_ids(dataset.labels, pseudo.pseudo_attributes, len(pseudo.names[0]))


def comparable_attributes(dataset: Dataset, pseudo: PseudoAttributes, judged: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pseudo attributes (N,) as true ones: a cluster is the commonest one of its ``judged`` rows.

    A cluster without a known true attribute stays unknown, -1.
    """
    if pseudo.class_clusters is None:
        return pseudo.pseudo_attributes
    groups, num_groups = pseudo_groups(dataset, pseudo), pseudo.class_clusters.biases.size
    known = judged[(groups[judged] >= 0) & (dataset.attributes[judged] >= 0)]
    counts_GA = np.zeros((num_groups, max(dataset.num_attributes, 1)), np.int64)
    np.add.at(counts_GA, (groups[known], dataset.attributes[known]), 1)
    commonest_G = np.where(counts_GA.any(axis=1), counts_GA.argmax(axis=1), -1)
    return np.where(groups >= 0, commonest_G[groups], -1)
