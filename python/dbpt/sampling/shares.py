"""What the user says about the groups' shares of an epoch, as one number for each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt._core import quotas
from dbpt.errors import InputError, nearest


def group_shares(
    shares: str | ArrayLike, group_weights: ArrayLike | None, counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (G,) shares on any scale from "balanced", "natural", numbers, or what one sample of each group weighs."""
    if group_weights is not None:
        if not (isinstance(shares, str) and shares == "balanced"):
            raise InputError("shares and group_weights are both given; expected one of the two")
        return shares_of_weights(group_weights, counts)
    if isinstance(shares, str):
        if shares not in ("balanced", "natural"):
            hint = nearest(shares, ["balanced", "natural"])
            raise InputError(f"shares is {shares!r}; expected 'balanced', 'natural' or an array (G,){hint}")
        return counts.astype(np.float64) if shares == "natural" else (counts > 0).astype(np.float64)
    return arguments.group_numbers("shares", shares, len(counts))


def shares_of_weights(group_weights: ArrayLike, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (G,) shares N_g·w_g, from what one sample of each group weighs."""
    weights = arguments.group_numbers("group_weights", group_weights, len(counts))
    with np.errstate(over="ignore"):  # an infinite sum is refused
        shares = counts * weights
        total = shares.sum()
    if not 0 < total < np.inf:
        raise InputError(f"the sum of N_g * group_weights[g] is {total}; expected a finite number above 0")
    return shares


def batches_of_groups(
    shares: NDArray[np.float64], counts: NDArray[np.int64], groups_per_batch: int, num_batches: int
) -> NDArray[np.int64]:
    """Return in how many batches of an epoch each group is (G,), by its share and at most in all of them."""
    num_groups = np.count_nonzero(shares)
    if num_groups < groups_per_batch:
        raise InputError(
            f"groups_per_batch is {groups_per_batch}; expected up to {num_groups}, the groups with a share"
        )
    left, always = groups_per_batch * num_batches, np.zeros(len(shares), np.bool_)
    found = quotas(shares, counts, left)
    while (found > num_batches).any():
        always |= found > num_batches
        rest = left - num_batches * np.count_nonzero(always)
        others = quotas(np.where(always, 0.0, shares), counts, rest) if rest else np.zeros(len(shares), np.int64)
        found = np.where(always, num_batches, others)
    return found
