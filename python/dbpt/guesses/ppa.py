"""Groups without any name of an attribute: what a probe gets wrong once the words of the classes are taken out.

After Project-Probe-Aggregate (arXiv 2503.09487), from its poster; no code of the authors was found.
"""

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError

SCALE, STEPS = 10.0, 100
"""The features are multiplied by this, and the probe takes so many steps, which stops it before it fits every row."""
NAMES = ("probe right", "probe wrong")


def probe_errors(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_weights: NDArray[np.float32],
    fitted: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return for each row whether the probe gets its class wrong, which is its number among the groups of the class.

    The probe is softmax regression on features without the span of the class weights, so that it reads what goes with
    the classes and not the classes. The shares of the classes are inside the softmax in training only, so rare classes
    are not wrong for being rare. It takes `STEPS` steps of gradient descent from zero, of the largest stable size.

    Args:
        features: (N, D) float32, rows of length 1.
        labels: (N,) int64.
        class_weights: (C, D) float32, the text features of the classes.
        fitted: (n,) int64, the rows that it learns from.

    Returns:
        (N,) int64, 1 where the probe is wrong.

    Raises:
        InputError: if nothing is left without the class weights.
    """
    num_classes = len(class_weights)
    _, _, basis_CD = np.linalg.svd(class_weights.astype(np.float64), full_matrices=False)
    projected_ND = SCALE * (features - (features @ basis_CD.T) @ basis_CD)
    if np.abs(projected_ND[fitted]).max(initial=0) < 1e-4:
        told = f"the words of the {num_classes} classes span the features, so the probe has nothing left to read"
        raise InputError(f"--group-source ppa: {told}; use pseudo groups, with --attributes")
    inputs_nD, labels_n = projected_ND[fitted], labels[fitted]
    target_nC = np.eye(num_classes)[labels_n]
    log_shares_C = np.log(np.maximum(target_nC.mean(axis=0), 1e-12))
    curvature = np.linalg.norm(inputs_nD.T @ inputs_nD, 2) / len(fitted) + 1  # twice that of the loss, at most
    weights_CD, biases_C = np.zeros((num_classes, features.shape[1])), np.zeros(num_classes)
    for _ in range(STEPS):
        logits_nC = inputs_nD @ weights_CD.T + biases_C + log_shares_C
        probabilities_nC = np.exp(logits_nC - logits_nC.max(axis=1, keepdims=True))
        probabilities_nC /= probabilities_nC.sum(axis=1, keepdims=True)
        error_nC = (probabilities_nC - target_nC) / len(fitted)
        weights_CD -= 2 / curvature * (error_nC.T @ inputs_nD)
        biases_C -= 2 / curvature * error_nC.sum(axis=0)
    wrong: NDArray[np.bool_] = (projected_ND @ weights_CD.T + biases_C).argmax(axis=1) != labels
    return wrong.astype(np.int64)
