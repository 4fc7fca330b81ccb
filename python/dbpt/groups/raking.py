"""Raking: weights that keep the values of several attributes balanced where their combinations are small."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError
from dbpt.groups.bounds import MIN_GROUP_COUNT, not_negative
from dbpt.groups.tensors import to_host

MOST_STEPS = 10_000
EXACT_TO = 1e-9


def raked_weights(
    counts: ArrayLike, sizes: Sequence[int], *, min_group_count: float = MIN_GROUP_COUNT
) -> NDArray[np.float64]:
    """Return the weight of one sample of each group, which makes up for the small shares of small combinations.

    Weights in proportion to 1 / max(N_g, n₀) give a combination below n₀ = ``min_group_count`` samples less than a full
    share, so its values get less in total. These start there and multiply the weights within a class by a factor for
    each value (iterative proportional fitting, Deming and Stephan, 1940), until each value has the total that it would
    have if all its combinations with samples had a full share. A value with N < n₀ samples in the class gets N / n₀ of
    that. The weights of a class without a small combination stay in proportion to 1 / N_g.

    Args:
        counts: (G,) N_g, 0 or above, in the order g = y·A + a, where a numbers the combinations of the factors' values
            with the first factor most significant; G = C·A.
        sizes: the number of values of each factor, whose product is A.

    Returns (G,) float64 with Σ N_g·w_g = Σ N_g, and 0 for an empty group. Raises `InputError`.

    Example, two attributes in one class, with two images that have both rare values:
        >>> raked_weights([72, 18, 8, 2], [2, 2]).round(3).tolist()
        [0.269, 1.702, 3.829, 9.686]
    """
    counts_G = arguments.numbers("counts", to_host("counts", counts))
    arguments.check_each("counts", counts_G, np.isfinite(counts_G) & (counts_G >= 0), "a finite number, 0 or above")
    least = not_negative("min_group_count", min_group_count)
    sizes = [arguments.integer(f"sizes[{i}]", size, 0) for i, size in enumerate(sizes)]
    if not sizes or 0 in sizes or not len(counts_G) or len(counts_G) % math.prod(sizes):
        raise InputError(f"sizes are {sizes}; expected numbers of values whose product divides {len(counts_G)}")
    if not counts_G.any():
        raise InputError("the sum of counts is 0; expected at least one group with members")
    cells = counts_G.reshape(-1, *sizes)
    mass_G = _raked(_floored(cells, least), _full_shares(cells, least)).reshape(-1)
    weights_G = np.divide(mass_G, counts_G, out=np.zeros(len(counts_G)), where=counts_G > 0)
    found: NDArray[np.float64] = weights_G * (counts_G.sum() / (counts_G @ weights_G))
    return found


def _floored(counts: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return each count's part of a full share."""
    found: NDArray[np.float64] = np.minimum(counts / max(least, 1e-10), 1.0)
    return found


def _full_shares(cells: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return a full share for each combination with samples, less if one of its values is below ``least``.

    Their margins are those to rake to. A table has them, with the same zeros: so raking to them always converges.
    """
    shares = np.minimum(cells, 1.0)
    for axis in range(1, cells.ndim):
        shares = np.minimum(shares, _floored(_margin(cells, axis), least))
    return shares


def _margin(cells: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the sums over the other factors than that of ``axis``, with their axes kept at length 1."""
    others = tuple(other for other in range(1, cells.ndim) if other != axis)
    found: NDArray[np.float64] = cells.sum(axis=others, keepdims=True)
    return found


def _raked(mass: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``mass`` (C, A_1, ..., A_k), times a number for each class and value, with the margins of ``shares``."""
    for _ in range(MOST_STEPS):
        before = mass
        for axis in range(1, mass.ndim):
            margin = _margin(mass, axis)
            ratio = np.divide(_margin(shares, axis), margin, out=np.ones_like(margin), where=margin > 0)
            mass = mass * ratio
        if np.abs(mass - before).max() <= EXACT_TO:
            break
    return mass
