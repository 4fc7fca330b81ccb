"""Guesses of attributes by a probe of the images whose attribute is known (``--pseudo-method probe``)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dbpt.data import StoredFeatures, Words, first_copies
from dbpt.errors import InputError
from dbpt.groups.rows import random_part
from dbpt.guesses.base import GuessedFactors, PseudoMethod
from dbpt.guesses.doubts import CrossValidated
from dbpt.guesses.linear_probe import AttributeProbe, Features, fitted_layer, import_scikit_learn, out_of_fold

OPTION = "--pseudo-method probe"


class Probe(PseudoMethod):
    """A linear probe of the images whose attribute is known, which guesses that of the others."""

    settings = ("probe_rows",)
    learns = True

    @classmethod
    def check_installed(cls) -> None:
        """Refuse a machine without scikit-learn."""
        import_scikit_learn(OPTION)

    @classmethod
    def fit(
        cls,
        features: Features,
        known: GuessedFactors,
        labels: NDArray[np.int64],
        may_learn: NDArray[np.bool_],
        words: Words,
        *,
        seed: int,
        hint: str,
    ) -> AttributeProbe:
        """Fit a probe of each suspect. Rows with equal features are copies of an image, which counts once.

        Args:
            features: (N, D) of all images.
            known: their known attributes, -1 where unknown.
            labels: (N,) int64 class index.
            may_learn: (N,) bool, the rows that the probe may be fitted to.
            words: the classes and the suspected attributes.
            seed: deals the folds of the cross-validation.
            hint: how to get more known images, for error messages.

        Raises:
            InputError: if an attribute is known of fewer than two images.
        """
        layers, figures = [], []
        classes = {label: list(words.classes)[label] for label in np.unique(labels[may_learn]).tolist()}
        for suspect, known_factor in zip(words.suspects, known.factors, strict=True):
            is_known = known_factor.pseudo_attributes >= 0
            _check_learnable(is_known, may_learn, suspect.name)
            rows = np.flatnonzero(may_learn & is_known)
            # A copy in another fold would be judged by a probe that has seen it.
            rows = rows[first_copies(_taken(features, rows)) == np.arange(len(rows))]
            codes = known_factor.pseudo_attributes[rows]
            names = list(suspect.values)
            known_features = _taken(features, rows)
            _check_counts(codes, names, hint)
            layers.append(fitted_layer(known_features, codes, seed=seed))
            guessed = out_of_fold(known_features, codes, num_classes=len(names), seed=seed).argmax(axis=1)
            figures.append(CrossValidated.of(guessed, codes, labels[rows], suspect, classes))
        weights, biases = zip(*layers, strict=True)
        return AttributeProbe(np.concatenate(weights), np.concatenate(biases), tuple(figures))

    @classmethod
    def drawn_known(
        cls, known: GuessedFactors, may_learn: NDArray[np.bool_], number: int, *, seed: int
    ) -> GuessedFactors:
        """Return ``number`` of the ``known`` attributes, of rows that a probe ``may_learn`` from, drawn by the seed.

        All other rows, the test rows too, are then unknown, -1.
        """
        is_known = np.any([factor.pseudo_attributes >= 0 for factor in known.factors], axis=0)
        _check_learnable(is_known, may_learn, "attribute")
        is_known &= may_learn
        rows = np.flatnonzero(is_known)
        if number > len(rows):
            raise InputError(
                f"--probe-rows {number}: only {len(rows)} training and validation images have a known attribute; "
                "lower it"
            )
        drawn = np.zeros(len(is_known), np.bool_)
        drawn[rows[random_part(np.zeros(len(rows), np.int64), lambda _: number, seed)]] = True
        return known.only([drawn] * len(known.factors))


def _taken(features: Features, rows: NDArray[np.int64]) -> Features:
    """Return the features of ``rows``; stored ones are not read yet, so that they are never in memory as a whole."""
    return features.take(rows) if isinstance(features, StoredFeatures) else features[rows]


def _check_learnable(is_known: NDArray[np.bool_], may_learn: NDArray[np.bool_], name: str) -> None:
    if not (is_known & may_learn).any():
        n = int(is_known.sum())
        of_test = f": those that are known ({n}) are of the test split, which the probe does not learn from"
        raise InputError(
            f"{OPTION}: no training or validation image has a known {name}{of_test if n else ''}; label some by hand"
        )


def _check_counts(codes: NDArray[np.int64], names: Sequence[str], hint: str) -> None:
    counts = np.bincount(codes, minlength=len(names))
    if (fewest := int(counts.min())) < 2:
        raise InputError(
            f"{OPTION}: {fewest} of the {len(codes)} training and validation images that it learns from have the "
            f"attribute {names[int(counts.argmin())]!r}; it needs at least 2 of each, copies not counted: {hint}"
        )
