"""Method "proportional": the largest logit plus offsets with which each attribute gets its share."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.cautions import caution
from dbpt.errors import InputError
from dbpt.guesses.base import Job, PseudoAttributes, PseudoMethod
from dbpt.guesses.mixture import TO_FIT, Array, estimate_shares

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
