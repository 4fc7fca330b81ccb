"""A linear probe: logistic regression on standardised features, for audits and for guesses of attributes.

`probe_errors` gives groups without any name of an attribute: what a probe gets wrong once the words of the classes are
taken out, after Project-Probe-Aggregate (arXiv 2503.09487), from its poster; no code of the authors was found.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.cautions import Caution, caution
from dbpt.data.stored_features import BLOCK_ROWS, Features, first_copies, map_blocks
from dbpt.data.words import Factor
from dbpt.errors import InputError, optional_module
from dbpt.groups import group_name
from dbpt.groups.ids import first_of_unit
from dbpt.guesses.mixture import softmax
from dbpt.storage.typed_json import Count, Share

PENALTY = 0.1
"""scikit-learn's C. 1.0 is overconfident where images are few, 0.01 misses what small groups need."""
MOST_ROWS_TO_FIT = 50_000
"""Rows that the probes are fitted to; more hardly change them, but take memory and time."""
FEWEST_OF_CLASS = 100
"""Rows of a class that are taken even if its share of `MOST_ROWS_TO_FIT` is smaller."""
FOLDS = 5
SETTINGS = {"C": PENALTY, "tol": 1e-3, "max_iter": 1000}

LOWEST_AGREEMENT = 0.8
FEWEST_OF_GROUP = 5


@dataclass(frozen=True, kw_only=True)
class KnownOfGroup:
    """The number of known images of a class and an attribute."""

    group: str
    n: Count


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """The guesses of one attribute by a probe, for the ``n_known`` images that it learns from, each out of fold.

    Copies of an image count once. ``counts`` (A,) of the images have each attribute, and ``groups`` are those of each
    class that has images and of each attribute that it may have. ``accuracy`` is the share of right guesses. ``kappa``
    is Cohen's within a class, the mean over the classes of which more than one attribute is known; None without any. Of
    the ``n_guessed`` (A,) images that were guessed to have an attribute, the share ``precision`` (A,) has it; None if
    there are none.
    """

    n_known: Count
    counts: list[Count]
    groups: list[KnownOfGroup]
    accuracy: Share
    kappa: float | None
    n_guessed: list[Count]
    precision: list[Share | None]

    @classmethod
    def of(
        cls,
        guessed: NDArray[np.int64],
        known: NDArray[np.int64],
        labels: NDArray[np.int64],
        suspect: Factor,
        classes: Mapping[int, str],
    ) -> "CrossValidated":
        """Compare guessed attributes with known ones.

        The groups are those of each class with each value of the suspect that the class may have. A class that may have
        only one value has none to guess, and is left out.

        Args:
            guessed: (n,) attribute index.
            known: (n,) the same.
            labels: (n,) class index.
            suspect: the attribute.
            classes: the names of the classes that have images, by index.
        """
        names = list(suspect.values)
        possible = {label: suspect.possible(name) for label, name in classes.items()}
        groups = [
            KnownOfGroup(group=group_name(name, names[value]), n=int(((labels == label) & (known == value)).sum()))
            for label, name in classes.items()
            for value in possible[label]
            if len(possible[label]) > 1
        ]
        num_attributes = len(names)
        n_guessed = np.bincount(guessed, minlength=num_attributes).tolist()
        right = np.bincount(guessed[guessed == known], minlength=num_attributes).tolist()
        by_class = [labels == label for label in np.unique(labels)]
        kappas = [kappa(guessed[of], known[of], num_attributes) for of in by_class if len(np.unique(known[of])) > 1]
        return cls(
            n_known=len(known),
            counts=np.bincount(known, minlength=num_attributes).tolist(),
            groups=groups,
            accuracy=float((guessed == known).mean()),
            kappa=float(np.mean(kappas)) if kappas else None,
            n_guessed=n_guessed,
            precision=[of / n if n else None for of, n in zip(right, n_guessed, strict=True)],
        )

    @property
    def doubts(self) -> list[Caution]:
        """Reasons not to trust the guesses, as those of `Trust`."""
        doubts, fewest = [], min(self.groups, key=lambda group: group.n, default=None)
        if fewest is not None and fewest.n < FEWEST_OF_GROUP:
            doubts.append(caution("few known", group=fewest.group, n=fewest.n, limit=FEWEST_OF_GROUP))
        if self.kappa is not None and self.kappa < LOWEST_AGREEMENT:
            doubts.append(caution("out of fold", value=self.kappa, limit=LOWEST_AGREEMENT, n=self.n_known))
        return doubts


def kappa(one: NDArray[np.int64], other: NDArray[np.int64], num_attributes: int) -> float:
    """Return Cohen's kappa of two labellings (N,); 1 if both give all rows the same label, as then they agree."""
    shares = [np.bincount(labels, minlength=num_attributes) / len(labels) for labels in (one, other)]
    by_chance = float(shares[0] @ shares[1])
    return 1.0 if by_chance == 1 else (float((one == other).mean()) - by_chance) / (1 - by_chance)


@dataclass(frozen=True)
class AttributeProbe:
    """Linear probes of all suspects, as one layer with an output for each of the K values of all suspects.

    ``weights`` (K, D) and ``biases`` (K,) are float32. ``figures`` has the cross-validation of each suspect.
    """

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]
    figures: tuple[CrossValidated, ...]

    def logits(self, features: Features, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the scores (n, K) of ``rows`` (n,), by default all, of the ``features`` (N, D)."""
        return map_blocks(features, lambda block: block @ self.weights.T + self.biases, rows)


def import_scikit_learn(option: str) -> Any:
    """Return ``sklearn.linear_model``. Raises `InputError` if scikit-learn, an extra of dbpt, is not installed."""
    return optional_module("sklearn.linear_model", option, "scikit-learn")


def out_of_fold(features: Features, labels: NDArray[np.int64], *, num_classes: int, seed: int) -> NDArray[np.float64]:
    """Return probabilities (N, C) of the ``labels`` (N,) by multinomial logistic regression on standardised features.

    ``features`` are (N, D). Each row is predicted by a probe that is fitted to the other folds. ``seed`` deals the rows
    of each class to `FOLDS`, rows with equal features to the same one, since a probe knows the class of what it was
    fitted to. A class has two different rows or more, or none, and then probability 0. Of more than 50,000 rows
    a random sample of this size, with the shares of the classes, is fitted to. The same arguments give the same bytes
    on one machine.
    """
    first_N = first_of_unit(first_copies(features), labels)
    is_first_N = first_N == np.arange(len(labels))
    fold_N = np.empty(len(labels), dtype=np.int64)
    for members in _shuffled(labels, seed):
        dealt = members[is_first_N[members]]
        fold_N[dealt] = np.arange(len(dealt)) % FOLDS
    # Copies get the fold of the first one.
    fold_N = fold_N[first_N]
    rows = _sample(labels, seed)
    features_RD, mean_D, deviation_D = _standardised(features[rows])
    fits = {}
    for fold in np.unique(fold_N).tolist():
        others = fold_N[rows] != fold
        fits[fold] = _fit(features_RD[others], labels[rows][others])
    probabilities_NC = np.zeros((len(labels), num_classes))
    for start in range(0, len(labels), BLOCK_ROWS):
        block = np.arange(start, min(start + BLOCK_ROWS, len(labels)))
        features_BD = (features[block] - mean_D) / deviation_D
        for fold, fit in fits.items():
            held = fold_N[block] == fold
            if held.any():
                probabilities_NC[np.ix_(block[held], fit.classes_)] = fit.predict_proba(features_BD[held])
    return probabilities_NC


def fitted_layer(
    features: Features, labels: NDArray[np.int64], *, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weights (C, D) and biases (C,) of the probe that is fitted to all rows, for features as they are.

    ``features`` are (N, D), ``labels`` (N,); each of the C classes has a row. The softmax of the scores are the
    probabilities. Of many rows, a sample is fitted to, drawn by the ``seed`` as in `out_of_fold`.
    """
    rows = _sample(labels, seed)
    features_RD, mean_D, deviation_D = _standardised(features[rows])
    fit = _fit(features_RD, labels[rows])
    weights, biases = fit.coef_ / deviation_D, fit.intercept_
    # The standardisation moves into the layer, which then takes features as they are.
    biases = biases - weights @ mean_D
    weights, biases = row_for_each_class(weights, biases)
    return weights.astype(np.float32), biases.astype(np.float32)


def row_for_each_class(
    weights: NDArray[np.floating[Any]], biases: NDArray[np.floating[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a layer of scikit-learn with an output for each class; of two classes, it has only the difference."""
    if len(biases) > 1:
        return weights, biases
    return np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2


def _shuffled(labels: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each class that has any, in random order."""
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        yield rng.permutation(np.flatnonzero(labels == label))


def _sample(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the rows to fit to, sorted: at most `MOST_ROWS_TO_FIT`, with the shares of the classes."""
    total = max(len(labels), MOST_ROWS_TO_FIT)
    parts = [each[: max(FEWEST_OF_CLASS, MOST_ROWS_TO_FIT * len(each) // total)] for each in _shuffled(labels, seed)]
    return np.sort(np.concatenate(parts))


def _standardised(
    features_RD: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the features with mean 0 and deviation 1, and the means and deviations (D,) before; in place."""
    mean_D = features_RD.mean(axis=0)
    features_RD -= mean_D
    deviation_D = features_RD.std(axis=0)
    deviation_D = np.where(deviation_D > 1e-12, deviation_D, np.float32(1))
    features_RD /= deviation_D
    return features_RD, mean_D, deviation_D


def _fit(features_RD: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the last digits of convergence
        return import_scikit_learn("a linear probe").LogisticRegression(**SETTINGS).fit(features_RD, labels)


PPA_SCALE, PPA_STEPS = 10.0, 5
"""The features are multiplied by this, and the probe takes so many steps; later ones learn the classes themselves."""
PPA_NAMES = ("probe right", "probe wrong")


def probe_errors(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_weights: NDArray[np.float32],
    fitted: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return for each row whether the probe gets its class wrong: the number of its group within the class.

    The probe is softmax regression on features without the span of the class weights, so that it reads what goes with
    the classes and not the classes. The shares of the classes are inside the softmax in training only, so rare classes
    are not wrong for being rare. It takes `PPA_STEPS` steps of gradient descent from zero, of the largest stable size.
    The origin is the mean of the class means, so that the first steps already find where to divide the classes.

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
    projected_ND = PPA_SCALE * (features - (features @ basis_CD.T) @ basis_CD)
    if np.abs(projected_ND[fitted]).max(initial=0) < 1e-4:
        raise InputError(
            f"--group-source ppa: the words of the {num_classes} classes span the features, so the probe has nothing "
            "left to read; use pseudo groups, with --attributes"
        )
    target_nC = np.eye(num_classes)[labels[fitted]]
    means_CD = target_nC.T @ projected_ND[fitted] / np.maximum(target_nC.sum(axis=0), 1)[:, None]
    projected_ND -= means_CD.mean(axis=0)
    inputs_nD = projected_ND[fitted]
    log_shares_C = np.log(np.maximum(target_nC.mean(axis=0), 1e-12))
    # The loss bends by at most half of this (Böhning, 1992), so steps of 2 / curvature never diverge; + 1 is the bias.
    curvature = np.linalg.norm(inputs_nD.T @ inputs_nD, 2) / len(fitted) + 1
    weights_CD, biases_C = np.zeros((num_classes, features.shape[1])), np.zeros(num_classes)
    for _ in range(PPA_STEPS):
        logits_nC = inputs_nD @ weights_CD.T + biases_C + log_shares_C
        error_nC = (softmax(logits_nC)[0] - target_nC) / len(fitted)
        weights_CD -= 2 / curvature * (error_nC.T @ inputs_nD)
        biases_C -= 2 / curvature * error_nC.sum(axis=0)
    return np.asarray((projected_ND @ weights_CD.T + biases_C).argmax(axis=1) != labels, np.int64)
