"""What the user says about the groups' shares of an epoch, as one number for each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
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
