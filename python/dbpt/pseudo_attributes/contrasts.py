"""From contrasts, in which the core clusters, back to row-centred logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def contrast_matrix(num_attributes: int) -> NDArray[np.float64]:
    """Return the (A - 1, A) Helmert contrasts, orthonormal: row-centred logits are contrasts times this.

    Number j compares the mean of the first j logits with the next one, as `Matrix::contrasts` of the crate does.
    """
    matrix = np.zeros((num_attributes - 1, num_attributes))
    for j in range(1, num_attributes):
        matrix[j - 1, :j] = 1 / np.sqrt(j * (j + 1))
        matrix[j - 1, j] = -np.sqrt(j / (j + 1))
    return matrix
