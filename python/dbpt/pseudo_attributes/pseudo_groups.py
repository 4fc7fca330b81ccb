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


def pseudo_groups(dataset: Dataset, pseudo: PseudoAttributes) -> NDArray[np.int64]:
    """Return the pseudo-group (N,) of each row; -1 where its attribute is unknown."""
    if pseudo.names is None:
        return dataset.groups(pseudo.pseudo_attributes)
    return group_ids(dataset.labels, pseudo.pseudo_attributes, len(pseudo.names[0]))
