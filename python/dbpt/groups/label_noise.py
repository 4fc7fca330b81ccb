"""Wrong labels of the attribute: what they make of counts, weights and accuracies of the groups, and the way back.

`LabelNoise` says how often an attribute is labelled as another one. `MixedGroups` are the labelled groups of some rows,
each a mixture of true groups of its class. No function here knows which row is wrong.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dbpt.groups.bounds import Bounds

RIDGE = 0.1
"""Penalty on the squared weight of the labelled groups; without it, few rows could be given all of it."""
PULL = 1e-3
"""Pull of the true shares towards the labelled ones, which decides only if the rates leave a choice."""
LEAST_MASS = 0.01
"""Least weight of a labelled group within its class, relative to its rows, so that none is lost."""
LEAST_SINGULAR = 0.1
"""Singular values of a mixture below this fraction of the largest are not inverted: they would amplify chance."""


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """``rates`` (C, A, A): the fraction of class y's rows of attribute a that are labelled a', at [y, a, a'].

    They are the same for all rows, whatever the share of an attribute among them.
    """

    rates: NDArray[np.float64]

    def among(self, counts: NDArray[np.int64]) -> "MixedGroups":
        """Return what the noise makes of rows of which ``counts`` (G,) are labelled as each group."""
        counts_CA = counts.astype(np.float64).reshape(self.rates.shape[:2])
        mixtures = np.empty_like(self.rates)
        for rates_AA, counts_A, mixture_AA in zip(self.rates, counts_CA, mixtures, strict=True):
            labelled_A = counts_A / max(counts_A.sum(), 1.0)
            pull_AA = PULL * np.eye(len(labelled_A))
            matrix, target = np.vstack([rates_AA.T, pull_AA]), np.concatenate([labelled_A, PULL * labelled_A])
            shares_A = nonnegative_least_squares(matrix, target)
            shares_A[shares_A < PULL**2] = 0.0
            found_AA = (shares_A[:, None] * rates_AA).T
            total_A = found_AA.sum(axis=1, keepdims=True)
            mixture_AA[:] = np.where(total_A > 0, found_AA / np.where(total_A > 0, total_A, 1), np.eye(len(counts_A)))
        return MixedGroups(counts.astype(np.float64), mixtures)


@dataclass(frozen=True, eq=False)
class MixedGroups:
    """G labelled groups of ``counts`` (G,) rows. ``mixtures`` [y, a', a] is the true share of a in group (y, a').

    A class without noise comes out of every method with the bits that it went in with.
    """

    counts: NDArray[np.float64]
    mixtures: NDArray[np.float64]  # (C, A, A)

    def true(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rows, or their weight, of each true group, (G,), from those of each labelled group."""
        rows_CA: NDArray[np.float64] = np.einsum("ck,cka->ca", rows.reshape(self.mixtures.shape[:2]), self.mixtures)
        return rows_CA.reshape(-1)

    @cached_property
    def true_counts(self) -> NDArray[np.float64]:
        """(G,) estimated rows of each true group."""
        return self.true(self.counts)

    @cached_property
    def _noisy(self) -> NDArray[np.int64]:
        return np.flatnonzero((self.mixtures != np.eye(self.mixtures.shape[1])).any(axis=(1, 2)))

    def row_weights(self, weights: NDArray[np.float64], bounds: Bounds) -> NDArray[np.float64]:
        """Return the weight of one row of each labelled group, (G,), from that of one row of each true group.

        Within a class the weights are 0 or above and give the true groups their total weight ``true_counts * weights``,
        as nearly as the mixtures allow, in least squares with `RIDGE`. ``bounds`` then hold for the labelled groups.
        """
        if not self._noisy.size:
            return weights
        target_CA = (self.true_counts * weights).reshape(self.mixtures.shape[:2])
        mass_CA = target_CA.copy()
        for y in self._noisy.tolist():
            counts_A, target_A = self.counts.reshape(mass_CA.shape)[y], target_CA[y]
            rows, total = counts_A > 0, target_A.sum()
            if not rows.any() or not total > 0:
                continue
            ridge_KK = np.sqrt(RIDGE) * np.eye(int(rows.sum()))
            matrix = np.vstack([self.mixtures[y][rows].T, ridge_KK])
            mass_K = nonnegative_least_squares(matrix, np.append(target_A / total, np.zeros(len(ridge_KK))))
            mass_K = np.maximum(mass_K / mass_K.sum(), LEAST_MASS * counts_A[rows] / counts_A.sum())
            mass_CA[y] = 0.0
            mass_CA[y, rows] = total * mass_K / mass_K.sum()
        with np.errstate(divide="ignore"):
            log_mass = np.log(mass_CA.reshape(-1))
        floor = np.minimum(bounds.min_group_count, self.true_counts)  # a small true group has had its floor
        return bounds.weights(log_mass, self.counts, float(target_CA.sum()), floor)

    def true_accuracies(self, accuracies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the accuracy of each true group, (G,), from those of the labelled groups; NaN without rows.

        In each class the solution of ``accuracies = mixtures @ result``, in least squares, that is nearest to the mean
        accuracy of the rows that may belong to a true group.
        """
        result: NDArray[np.float64] = accuracies.reshape(self.mixtures.shape[:2]).copy()
        for y in self._noisy.tolist():
            counts_A = self.counts.reshape(result.shape)[y]
            seen = counts_A > 0
            rows_KA = counts_A[seen, None] * self.mixtures[y, seen]
            known = rows_KA.sum(axis=0) > 0
            mean_K, matrix_KJ = result[y, seen], self.mixtures[y][np.ix_(seen, known)]
            found_J = mean_K @ rows_KA[:, known] / rows_KA[:, known].sum(axis=0)
            found_J += np.linalg.lstsq(matrix_KJ, mean_K - matrix_KJ @ found_J, rcond=LEAST_SINGULAR)[0]
            result[y] = np.nan
            result[y, known] = found_J.clip(0.0, 1.0)
        return result.reshape(-1)


def nonnegative_least_squares(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x (n,) >= 0 with the least |matrix @ x - target|, by the active sets of Lawson and Hanson (1974).

    O(n) steps, each a least-squares problem of at most n unknowns.
    """
    n = matrix.shape[1]
    x, free = np.zeros(n), np.zeros(n, dtype=np.bool_)
    tolerance = 1e-12 * max(1.0, float(np.abs(target).max(initial=0.0))) * max(1.0, float(np.abs(matrix).max()))
    for _ in range(3 * n):
        slope = np.where(free, -np.inf, matrix.T @ (target - matrix @ x))
        if not slope.max() > tolerance:
            break
        free[slope.argmax()] = True
        while free.any():
            solved = np.zeros(n)
            solved[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
            below = free & (solved <= 0)
            if not below.any():
                x = solved
                break
            step = (x[below] / (x[below] - solved[below])).min()  # to the first bound
            x = np.where(free, x + step * (solved - x), 0.0)
            free &= (x > 1e-15) & ~(below & (x <= 1e-15))
            x[~free] = 0.0
    return x
