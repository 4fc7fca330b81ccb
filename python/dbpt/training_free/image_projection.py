"""Projection of the image features onto the complement of attribute directions.

Both methods project the features and normalise them again. A projection moves from the features to the class weights,
and normalisation divides all logits of an image by one number, so weights (C, D) give the same predictions. The
probabilities are less sure than with normalised features.
"""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.training_free.base import Inputs, TrainingFree
from dbpt.training_free.directions import name_features, span, without


class RoboShot(TrainingFree):
    """RoboShot's rejection (Adila et al., 2024, arXiv 2309.04344): without the differences between attribute sentences.

    The words replace the insights that the authors ask of a language model. The helpful directions, which the authors
    amplify, are left out.
    """

    name = "roboshot"
    title = "RoboShot (rejection)"

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        # the differences of all pairs span the same as those from the mean
        differences = [names_VD - names_VD.mean(axis=0) for names_VD in name_features(inputs)]
        basis_RD = span(np.concatenate(differences))
        return without(basis_RD, inputs.class_weights.astype(np.float64), inputs).astype(np.float32)


class MeanDifference(TrainingFree):
    """Without the differences between the mean features of the pseudo attributes, within class.

    The direction of two attributes is the mean over the classes whose training rows have both.
    """

    name = "mean-difference"
    title = "mean difference"
    uses_guesses = True

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        differences = [
            np.mean(of_classes, axis=0)
            for pair in combinations(range(len(inputs.words.attributes)), 2)
            if (of_classes := _differences(inputs, *pair))
        ]
        if not differences:
            raise InputError("no class has training rows of two pseudo attributes; leave mean-difference out")
        basis_RD = span(np.array(differences))
        return without(basis_RD, inputs.class_weights.astype(np.float64), inputs).astype(np.float32)


def _differences(inputs: Inputs, one: int, other: int) -> list[NDArray[np.float64]]:
    """Return the difference (D,) of the mean features of two attributes in each class that has both."""
    labels, pseudo, differences = inputs.labels[inputs.training], inputs.pseudo_attributes[inputs.training], []
    for label in range(len(inputs.words.classes)):
        both = [inputs.training[(labels == label) & (pseudo == attribute)] for attribute in (one, other)]
        if all(map(len, both)):
            first, second = (inputs.features[rows].mean(axis=0, dtype=np.float64) for rows in both)
            differences.append(first - second)
    return differences
