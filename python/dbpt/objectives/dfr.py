"""Deep feature reweighting: refit the last layer on group-balanced validation rows (Kirichenko et al., 2023).

arXiv 2204.02937, by the procedure of the authors' code, but on CLIP's frozen features. scikit-learn fits the layer.
"""

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import worst_group_accuracy
from dbpt.groups.permutation import random_part
from dbpt.objectives.base import Objective
from dbpt.objectives.subsampling import balanced_subsets
from dbpt.pseudo_attributes.linear_probe import import_scikit_learn

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
PENALTIES = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""Values of scikit-learn's C; smaller ones penalise more."""
SUBSETS = 20
BLOCK_COLUMNS = 64
OPTION = "--objective dfr"


class Dfr(Objective):
    """L1-penalised logistic regression on standardised features of validation rows, as many of each group.

    Worst-group accuracy chooses the penalty: fitted on a balanced subset of one half of validation, judged on the
    other. The layer is then the mean of `SUBSETS` layers, each fitted on another balanced subset of all of validation:
    min_g N_g rows of each group that has any. Settings of the training loop, such as epochs, have no effect.
    """

    name = "dfr"
    title = "DFR"
    uses_groups = True
    leaves_unknown_out = True
    heads = ("linear",)
    trains_on = "val"
    refits = True

    @classmethod
    def check_installed(cls) -> None:
        """Raise `InputError` without scikit-learn."""
        import_scikit_learn(OPTION)

    def refit(
        self, train_features: NDArray[np.float32], features: NDArray[np.float32], seed: int
    ) -> tuple[dict[str, NDArray[np.float32]], str]:
        """Return the layer's weights (C, D) and bias (C,)."""
        rows = self.training
        (weights, bias), penalty = refit_layer(
            train_features, features, rows.labels, rows.groups, num_classes=rows.num_classes, seed=seed
        )
        how = f"C = {penalty:g} chosen on half of validation, {SUBSETS} balanced subsets averaged"
        return {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}, how


def refit_layer(
    train_features: NDArray[np.float32],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    num_classes: int,
    seed: int,
) -> tuple[Layer, float]:
    """Return weights (C, D) and bias (C,), and the penalty chosen, from ``features`` (N, D) of validation rows.

    ``labels`` and ``groups`` are (N,), -1 for an unknown group. The means and deviations of ``train_features`` (M, D)
    standardise the last fits. Each class has a row of known group, and some group has two. Raises `InputError` if
    scikit-learn is not installed.
    """
    known = groups >= 0
    features_ND, labels, groups = features[known].astype(np.float64), labels[known], groups[known]
    half = _half_of_each_group(groups, seed)
    penalty = _best_penalty(features_ND, labels, groups, num_classes, seed, half)
    mean_D, scale_D = _standard(train_features)
    standardised_ND = (features_ND - mean_D) / scale_D
    layers = [
        _fit(standardised_ND[rows], labels[rows], penalty, num_classes, seed)
        for rows in balanced_subsets(groups, seed, SUBSETS)
    ]
    weights_CD = np.mean([weights for weights, _ in layers], axis=0) / scale_D
    bias_C = np.mean([bias for _, bias in layers], axis=0) - weights_CD @ mean_D
    return (weights_CD, bias_C), penalty


def _best_penalty(
    features_ND: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_classes: int,
    seed: int,
    half: NDArray[np.bool_],
) -> float:
    """Return the first of `PENALTIES` with the best worst-group accuracy on the rows that are not in ``half`` (N,)."""
    (subset,) = balanced_subsets(groups[half], seed, 1)
    rows = np.flatnonzero(half)[subset]
    mean_D, scale_D = _standard(features_ND[rows])
    standardised_ND = (features_ND - mean_D) / scale_D
    scores = []
    for penalty in PENALTIES:
        weights_CD, bias_C = _fit(standardised_ND[rows], labels[rows], penalty, num_classes, seed)
        correct = (standardised_ND @ weights_CD.T + bias_C).argmax(axis=1) == labels
        scores.append(worst_group_accuracy(correct[~half], groups[~half]) or 0.0)
    return PENALTIES[int(np.argmax(scores))]


def _fit(
    features_ND: NDArray[np.float64], labels: NDArray[np.int64], penalty: float, num_classes: int, seed: int
) -> Layer:
    """Fit weights (C, D) and bias (C,) by liblinear, one regression for each of more than two classes."""
    regression = import_scikit_learn(OPTION).LogisticRegression
    # The argument for an L1 penalty has another name from scikit-learn 1.8 on.
    l1 = {"l1_ratio": 1.0} if regression().get_params()["l1_ratio"] is not None else {"penalty": "l1"}
    fits = []
    for target in range(num_classes) if num_classes > 2 else (1,):
        fit = regression(C=penalty, solver="liblinear", max_iter=1000, random_state=seed % 2**32, **l1)
        fits.append(fit.fit(features_ND, labels == target))
    weights_FD = np.concatenate([fit.coef_ for fit in fits])
    bias_F = np.concatenate([fit.intercept_ for fit in fits])
    if num_classes > 2:
        return weights_FD, bias_F
    return np.concatenate([-weights_FD, weights_FD]) / 2, np.concatenate([-bias_F, bias_F]) / 2


def _standard(features_ND: NDArray[np.floating]) -> Layer:
    """Return means and standard deviations (D,), 1 for a feature that is constant; in float64, some columns at once."""
    blocks = np.array_split(features_ND, -(-features_ND.shape[1] // BLOCK_COLUMNS), axis=1)
    figures = [(block.mean(axis=0), block.std(axis=0)) for block in (each.astype(np.float64) for each in blocks)]
    mean_D, deviation_D = (np.concatenate(parts) for parts in zip(*figures, strict=True))
    return mean_D, np.where(deviation_D > 1e-12, deviation_D, 1.0)


def _half_of_each_group(groups: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return (N,) bool: the rows of the half to fit on, the larger half of a group of odd size."""
    return random_part(groups, lambda n: -(-n // 2), seed)
