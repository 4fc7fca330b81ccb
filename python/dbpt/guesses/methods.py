"""The methods that guess attributes: argmax, proportional, kmeans, and a probe of images with known attributes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import assign_nearest, kmeans
from dbpt.cautions import caution
from dbpt.data import Words
from dbpt.data.stored_features import Features, StoredFeatures, first_copies
from dbpt.errors import InputError
from dbpt.groups.ids import random_part
from dbpt.guesses.base import Clusters, GuessedFactors, Job, PseudoAttributes, PseudoMethod
from dbpt.guesses.clusters import MAX_ITER, best_of_starts, starting_points
from dbpt.guesses.linear_probe import AttributeProbe, CrossValidated, fitted_layer, import_scikit_learn, out_of_fold
from dbpt.guesses.mixture import TO_FIT, Array, best_assignment, estimate_shares


class Argmax(PseudoMethod):
    """The largest logit, CLIP's plain zero-shot label. The posterior is the softmax of the logits."""


MAX_ROUNDS = 50
EXACT_TO = 1e-4  # of the rows; only matters for more than two attributes
MET_TO = 0.01
ROWS_FOR_A_PAIR = 2  # of attributes: each cluster has a mean for each attribute


class Proportional(PseudoMethod):
    """The largest logit plus an offset for each attribute, so that each gets its given or estimated share."""

    settings = ("proportions",)

    @classmethod
    def label(cls, job: Job) -> PseudoAttributes:
        """Label the rows. The posterior is the softmax of logits plus offsets."""
        shares_A, offsets_A = checked_proportions(job.proportions, job.logits.shape[1]), None
        logits_NA = job.sample()
        if shares_A is None:
            shares_A = _estimate(job, logits_NA)
        if shares_A is not None:
            offsets_A = fit_offsets(logits_NA, shares_A)
            met_A = _counts(logits_NA, offsets_A) / len(logits_NA)
            if np.abs(met_A - shares_A).max() > max(MET_TO, 1 / len(logits_NA)):
                shares, met = shares_A.round(4).tolist(), met_A.round(4).tolist()
                job.warnings.append(caution("shares not met", shares=shares, met=met))
        return job.largest(cls.name, offsets_A, shares=shares_A, offsets=offsets_A)


def fit_offsets(logits_NA: Array, shares_A: Array) -> Array:
    """Return offsets (A,) of the logits with which each attribute has the largest logit in its share of the rows.

    They minimise a convex function, the dual of the assignment with the largest sum of logits, by coordinate descent:
    given the offsets of the others, an attribute wins the rows whose gap is below its own offset.
    """
    num_rows = len(logits_NA)
    offsets_A = np.where(shares_A > 0, 0.0, -np.inf)
    wanted_A = np.rint(shares_A * num_rows).astype(np.int64)
    (present,) = np.nonzero(shares_A)
    if len(present) == 1:
        return offsets_A
    for _ in range(MAX_ROUNDS):
        for a in present:
            others = present[present != a]
            # The attribute wins the rows whose gap is below its offset.
            gaps_N = (logits_NA[:, others] + offsets_A[others]).max(axis=1) - logits_NA[:, a]
            below, above = max(wanted_A[a] - 1, 0), min(wanted_A[a], num_rows - 1)
            ordered_N = np.partition(gaps_N, (below, above))
            # Halfway between the last row that the attribute should win and the first that it should not.
            offsets_A[a] = (ordered_N[below] + ordered_N[above]) / 2
        if np.abs(_counts(logits_NA, offsets_A) - wanted_A).max() <= max(1, EXACT_TO * num_rows):
            break
    # Equal offsets for all change no label; with mean 0 they can be compared.
    offsets_A[present] -= offsets_A[present].mean()
    return offsets_A


def _counts(logits_NA: Array, offsets_A: Array) -> NDArray[np.int64]:
    """Return the number of rows that each attribute wins, (A,)."""
    return np.bincount((logits_NA + offsets_A).argmax(axis=1), minlength=len(offsets_A))


def _estimate(job: Job, logits_NA: Array) -> Array | None:
    num_rows, num_attributes = logits_NA.shape
    if num_attributes > 2 and num_rows < ROWS_FOR_A_PAIR * num_attributes**2:
        job.warnings.append(caution("few images for shares", n=num_rows, attributes=num_attributes))
        return None
    shares_A, converged = estimate_shares(logits_NA)
    if shares_A is None:
        job.warnings.append(caution("one cluster"))
    elif not converged:
        job.warnings.append(caution("moving shares", n=TO_FIT[0], shares=shares_A.round(4).tolist()))
    return shares_A


def checked_proportions(proportions: ArrayLike | str, num_attributes: int) -> Array | None:
    """Return shares (A,) with sum 1; None if they are to be estimated."""
    if isinstance(proportions, str) and proportions == "estimated":
        return None
    if isinstance(proportions, str):
        raise InputError(f"proportions is {proportions!r}; expected 'estimated' or numbers")
    shares_A = arguments.group_numbers("proportions", proportions, num_attributes, per="attribute")
    with np.errstate(over="ignore"):
        total = float(shares_A.sum())
    if not 0 < total < np.inf:
        raise InputError(f"proportions add up to {total}; expected a finite number above 0")
    return np.asarray(shares_A / total)


class KMeans(PseudoMethod):
    """The nearest of A centres, matched one to one with the attributes."""

    @classmethod
    def label(cls, job: Job) -> PseudoAttributes:
        """Label the rows. The posterior is that of equally weighted spherical Gaussians with the pooled variance."""
        num_attributes, sample_NA = job.logits.shape[1], job.sample()
        starts = starting_points(sample_NA - sample_NA.mean(axis=1, keepdims=True), num_attributes, job.seed)
        start = best_of_starts(sample_NA, starts, job.num_threads)
        centers, counts, inertia, iterations = kmeans(
            job.logits, start, rows=job.fit_rows, max_iter=MAX_ITER, num_threads=job.num_threads
        )
        centers, counts = centers[counts > 0], counts[counts > 0]
        if len(centers) < num_attributes:
            job.warnings.append(caution("few clusters", n=len(centers), attributes=num_attributes))
        if iterations >= MAX_ITER:
            job.warnings.append(caution("moving centres", n=MAX_ITER))
        # A cluster belongs to the attribute whose logit its centre raises, but each attribute gets one at most.
        names = best_assignment(centers)
        centers_AA, counts_A = np.full((num_attributes, num_attributes), np.inf), np.zeros(num_attributes, np.int64)
        centers_AA[names], counts_A[names] = centers, counts
        # Rows are centred, so A logits vary in A - 1 directions.
        variance = inertia / (int(counts.sum()) * (num_attributes - 1))
        assign_nearest(job.logits, centers_AA, variance, **job.assign_arguments)
        return job.result(cls.name, clusters=Clusters(centers_AA, counts_A, inertia, iterations))


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
        for suspect, of_suspect in zip(words.suspects, known.factors, strict=True):
            is_known = of_suspect.pseudo_attributes >= 0
            _check_learnable(is_known, may_learn, suspect.name)
            rows = np.flatnonzero(may_learn & is_known)
            # A copy in another fold would be judged by a probe that has seen it.
            rows = rows[first_copies(_taken(features, rows)) == np.arange(len(rows))]
            codes, names, of_rows = of_suspect.pseudo_attributes[rows], list(suspect.values), _taken(features, rows)
            _check_counts(codes, names, hint)
            layers.append(fitted_layer(of_rows, codes, seed=seed))
            guessed = out_of_fold(of_rows, codes, num_classes=len(names), seed=seed).argmax(axis=1)
            figures.append(CrossValidated.of(guessed, codes, labels[rows], suspect, classes))
        weights, biases = zip(*layers, strict=True)
        return AttributeProbe(np.concatenate(weights), np.concatenate(biases), tuple(figures))


def drawn_known(known: GuessedFactors, may_learn: NDArray[np.bool_], number: int, *, seed: int) -> GuessedFactors:
    """Return ``number`` of the ``known`` attributes, of rows that a probe ``may_learn`` from, drawn by the seed.

    All other rows, the test rows too, are then unknown, -1. Raises `InputError` if fewer are known.
    """
    is_known = np.any([factor.pseudo_attributes >= 0 for factor in known.factors], axis=0)
    _check_learnable(is_known, may_learn, "attribute")
    is_known &= may_learn
    rows = np.flatnonzero(is_known)
    if number > len(rows):
        raise InputError(
            f"--probe-rows {number}: only {len(rows)} training and validation images have a known attribute; lower it"
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
