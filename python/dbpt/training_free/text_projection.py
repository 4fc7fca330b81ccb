"""Orthogonal projection of the class sentences (Chuang et al., 2023, arXiv 2302.00070), plain and calibrated."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dbpt.training_free.base import Inputs, TrainingFree
from dbpt.training_free.directions import name_features, span, without
from dbpt.training_free.group_prompts import group_weights

CALIBRATION = 1000.0
"""The default of the authors' code for the weight of the calibration, lambda."""


class Orthogonal(TrainingFree):
    """weights = P0 z, of length 1, where P0 projects onto the complement of the attributes' sentences."""

    name = "orthogonal"
    title = "orthogonal projection"

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        return _projected(inputs, inputs.class_weights.astype(np.float64))


class CalibratedOrthogonal(TrainingFree):
    """weights = P0 (I + lambda / |S| sum_(i, j) (z_i - z_j)(z_i - z_j)^T)^-1 z, of length 1.

    S are the pairs of sentences of the same class with two attributes, which should become alike.
    """

    name = "orthogonal-calibrated"
    title = "orthogonal projection (calibrated)"

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        groups_CAD = group_weights(inputs).astype(np.float64)
        pairs = [one - other for of_class in groups_CAD for one, other in combinations(of_class, 2)]
        differences_SD = np.array(pairs)
        system_DD = np.eye(groups_CAD.shape[2]) + CALIBRATION / len(pairs) * differences_SD.T @ differences_SD
        return _projected(inputs, np.linalg.solve(system_DD, inputs.class_weights.T.astype(np.float64)).T)


def _projected(inputs: Inputs, weights_CD: NDArray[np.float64]) -> NDArray[np.float32]:
    projected_CD = without(span(np.concatenate(name_features(inputs))), weights_CD, inputs)
    unit_CD: NDArray[np.float64] = projected_CD / np.linalg.norm(projected_CD, axis=1, keepdims=True)
    return unit_CD.astype(np.float32)
