"""What the group samplers ask of their users: a group for each row, and what each group gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError, nearest


def checked_groups(groups: ArrayLike) -> NDArray[np.int64]:
    """Return `groups` as contiguous int64 (N,), N and every group at least 1 and 0."""
    array = arguments.array("groups", groups)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"groups has shape {array.shape}; expected (N,) with at least one row")
    if array.dtype.kind not in "iu":
        raise InputError(f"groups has dtype {array.dtype}; expected integers")
    outside = np.flatnonzero(array < 0)
    if outside.size:
        row = int(outside[0])
        raise InputError(
            f"groups[{row}] is {array[row]}, one of {outside.size} rows without a group; "
            "expected 0 or above: leave those rows out (torch.utils.data.Subset) or give them a group"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def draws_per_group(
    shares: str | ArrayLike, group_weights: ArrayLike | None, counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (G,) float64 numbers that the groups' draws are proportional to."""
    if group_weights is not None:
        if not (isinstance(shares, str) and shares == "balanced"):
            raise InputError("shares and group_weights are both given; expected one of the two")
        return counts * arguments.group_numbers("group_weights", group_weights, len(counts))
    if not isinstance(shares, str):
        return arguments.group_numbers("shares", shares, len(counts))
    if shares not in ("balanced", "natural"):
        hint = nearest(shares, ["balanced", "natural"])
        raise InputError(f"shares is {shares!r}; expected 'balanced', 'natural' or an array (G,){hint}")
    return counts.astype(np.float64) if shares == "natural" else (counts > 0).astype(np.float64)
