"""Raking: weights that balance several attributes at once, without a full share for each of their combinations."""

from collections.abc import Sequence
from warnings import warn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.bounds import MIN_GROUP_COUNT, not_negative
from dbpt.groups.tensors import to_host

MOST_STEPS = 1000
EXACT_TO = 1e-9
MET_TO = 1e-3
LEAST = 0.1
"""Of the product of what its values ask for: no combination gets less, though others lack samples."""


def raked_weights(
    counts: ArrayLike, sizes: Sequence[int], *, min_group_count: float = MIN_GROUP_COUNT
) -> NDArray[np.float64]:
    """Return the weight of one sample of each group, with which the classes x values of each factor get equal totals.

    Weights in proportion to 1 / N_g give each combination of class and values a full share, even one of two samples.
    These start from equal weights of all samples and multiply them by a factor for each class and value, until every
    class has the same total, and within a class every value of a factor (iterative proportional fitting, Deming and
    Stephan, 1940). So a rare combination weighs as much as the product of its values says, and only the margins need
    samples. A class or value with N < ``min_group_count`` samples gets N / ``min_group_count`` of a full share.

    Args:
        counts: (G,) N_g, 0 or above, in the order g = y·A + a, where a numbers the combinations of the factors' values
            with the first factor most significant; G = C·A.
        sizes: the number of values of each factor, whose product is A.

    Returns (G,) float64 with Σ N_g·w_g = Σ N_g, and 0 for an empty group. Combinations without samples may make equal
    totals impossible, or ask for no weight for a combination that has samples. Then the totals differ, and a warning
    (`UserWarning`) says by how much. Raises `InputError`.

    Example, two attributes in one class, with two images that have both rare values:
        >>> raked_weights([72, 18, 8, 2], [2, 2]).round(3).tolist()
        [0.347, 1.389, 3.125, 12.5]
    """
    counts_G = arguments.numbers("counts", to_host("counts", counts))
    arguments.check_each("counts", counts_G, np.isfinite(counts_G) & (counts_G >= 0), "a finite number, 0 or above")
    least = not_negative("min_group_count", min_group_count)
    num_combinations = int(np.prod(sizes, dtype=np.int64))
    if not sizes or min(sizes) < 1 or not len(counts_G) or len(counts_G) % num_combinations:
        raise InputError(f"sizes are {list(sizes)}; expected numbers of values whose product divides {len(counts_G)}")
    if not counts_G.any():
        raise InputError("the sum of counts is 0; expected at least one group with members")
    cells = counts_G.reshape(-1, *sizes)
    rows_C = cells.reshape(len(cells), -1).sum(axis=1)
    totals_C = _shares(rows_C[None], least)[0]
    of_class = np.divide(totals_C, rows_C, out=np.zeros_like(rows_C), where=rows_C > 0)
    targets = [totals_C[:, None] * _shares(_margin(cells, axis), least) for axis in range(1, cells.ndim)]
    fitted, error = _fit(cells * of_class.reshape(-1, *[1] * len(sizes)), targets)
    if error > MET_TO:
        warn(
            f"raking: combinations without samples make equal totals of all values impossible; they are met to "
            f"{100 * error:.2g} %",
            stacklevel=2,
        )
    weights_G = np.divide(fitted.reshape(-1), counts_G, out=np.zeros(len(counts_G)), where=counts_G > 0)
    found: NDArray[np.float64] = weights_G * (counts_G.sum() / (counts_G @ weights_G))
    return found


def _shares(counts: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return equal shares of each row of counts (n, m), smaller ones below ``least`` samples, with sum 1."""
    full = np.minimum(counts / max(least, 1e-300), 1.0)
    total = full.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.divide(full, total, out=np.zeros_like(full), where=total > 0)
    return found


def _margin(cells: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the sums (C, A_f) over all factors but that of ``axis``."""
    others = tuple(other for other in range(1, cells.ndim) if other != axis)
    found: NDArray[np.float64] = cells.sum(axis=others)
    return found


def _fit(mass: NDArray[np.float64], targets: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], float]:
    """Return the mass (C, A_1, ..., A_k) with these margins (C, A_f), and the largest error relative to a target.

    If there is none, the fits to each factor take turns for ever; then their mean.
    """
    ratios = [_ratio(mass, target, axis) for axis, target in enumerate(targets, start=1)]
    least = LEAST * mass
    for ratio in ratios:
        least = least * ratio
    for _ in range(MOST_STEPS):
        before, fits = mass, []
        for axis, target in enumerate(targets, start=1):
            mass = np.maximum(mass * _ratio(mass, target, axis), least)
            fits.append(mass)
        if (error := _error(mass, targets)) <= EXACT_TO:
            return mass, error
        if np.abs(mass - before).max() <= EXACT_TO:
            break
    mean: NDArray[np.float64] = np.mean(fits, axis=0)
    return mean, _error(mean, targets)


def _ratio(mass: NDArray[np.float64], target: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the factor that gives the sums over the other axes their target, to multiply ``mass`` by."""
    margin = _margin(mass, axis)
    ratio = np.divide(target, margin, out=np.zeros_like(target), where=margin > 0)
    return np.expand_dims(ratio, tuple(other for other in range(1, mass.ndim) if other != axis))


def _error(mass: NDArray[np.float64], targets: Sequence[NDArray[np.float64]]) -> float:
    errors = [
        (np.abs(_margin(mass, axis) - target)[target > 0] / target[target > 0]).max()
        for axis, target in enumerate(targets, start=1)
    ]
    return float(max(errors))
