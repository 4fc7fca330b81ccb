"""A plain linear probe (``--predictions probe``), which says what ordinary training would learn from the data."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.data.copies import first_copies
from dbpt.data.stored_features import StoredFeatures
from dbpt.errors import InputError
from dbpt.groups.permutation import first_of_unit
from dbpt.pseudo_attributes.linear_probe import import_scikit_learn, out_of_fold

OPTION = "--predictions probe"


def check_installed() -> None:
    """Raise `InputError` without scikit-learn."""
    import_scikit_learn(OPTION)


def probe_predictions(
    features: NDArray[np.float32] | StoredFeatures,
    labels: NDArray[np.int64],
    *,
    class_names: Sequence[str],
    seed: int,
) -> NDArray[np.float64]:
    """Return the `out_of_fold` probabilities (N, C) of the classes.

    ``features`` (N, D) and ``labels`` (N,) are those of all audited rows, of whatever split: each row is predicted by a
    probe that is fitted to the other folds, so that training rows count without flattering it. The smallest class needs
    two rows that are no copies. Raises `InputError`, also without scikit-learn.
    """
    check_installed()
    counts_C = np.bincount(labels, minlength=len(class_names))
    if np.count_nonzero(counts_C) < 2:
        raise InputError(f"{OPTION}: all images have the same class; a probe needs at least two")
    is_first = first_of_unit(first_copies(features), labels) == np.arange(len(labels))
    for alone in np.flatnonzero(np.bincount(labels[is_first], minlength=len(class_names)) == 1)[:1]:
        copies = f" in {counts_C[alone]} copies" if counts_C[alone] > 1 else ""
        needed = "a probe predicts each image from others, so it needs two; add images, or leave the class out"
        raise InputError(f"{OPTION}: class {class_names[alone]!r} has one image{copies}; {needed}")
    return out_of_fold(features, labels, num_classes=len(class_names), seed=seed)
