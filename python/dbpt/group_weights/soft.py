"""Soft membership: a sample of class y is in each group (y, a) to the share that the posterior gives a."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import _core, arguments
from dbpt.errors import InputError
from dbpt.group_weights.tensors import to_host

if TYPE_CHECKING:
    import torch

_MAX_CLASSES = 2**31 - 1
# Memberships are whole multiples of 2**-30, and how far a row may be from adding up to 1: as in the Rust core.
MEMBERSHIP_BITS = 30
_ONE = 2**MEMBERSHIP_BITS
_TOLERANCE = _ONE // 100


def soft_counts(
    posterior: ArrayLike, labels: ArrayLike, num_classes: int, *, num_threads: int | None = None
) -> NDArray[np.float64]:
    """Return N_g (C·A,) float64 under soft membership: the sum of the posteriors of each group g = label·A + a.

    Each row is divided by its sum, so that it counts as exactly one sample, in multiples of 2⁻³⁰, which are added up
    exactly: the same bits for any order of the rows. One-hot rows give the counts of hard groups.

    Args:
        posterior: (N, A) probabilities of the attributes, each row adding up to 1 (within 0.01), or NaN throughout for
            an unlabelled row, which doesn't count.
        labels: (N,) class of each row, integers from 0 to C - 1.
        num_classes: C.
        num_threads: by default that of the processors this process may use; the result doesn't depend on it.

    Raises:
        InputError: an argument is wrong; the message names it, the row, and what was expected.

    Example:
        >>> soft_counts([[0.75, 0.25], [0.5, 0.5], [float("nan")] * 2], [0, 0, 1], num_classes=2).tolist()
        [1.25, 0.75, 0.0, 0.0]
    """
    rows = arguments.matrix("posterior", to_host(posterior))
    num_classes = arguments.integer("num_classes", num_classes, 1, _MAX_CLASSES // rows.shape[1])
    labels_N = arguments.integers("labels", to_host(labels))
    return _core.soft_counts(rows, labels_N, num_classes, arguments.num_threads(num_threads))


def check_columns(shape: Sequence[int], num_groups: int) -> None:
    """Refuse posteriors whose columns cannot be the attributes of ``num_groups`` = C·A groups."""
    if shape[1] == 0 or num_groups % shape[1]:
        raise InputError(
            f"posterior has shape {tuple(shape)}; expected (N, A) where there are C·A = {num_groups} groups"
        )


def memberships_on(posterior_BA: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return memberships (B, A) in whole units, as the Rust core finds them; and which rows are proper and unlabelled.

    Of float64 posteriors, on their device, which isn't waited for. What the other rows get means nothing.
    """
    import torch

    inside_B = ((posterior_BA >= 0) & (posterior_BA <= 1)).all(dim=1)
    # What stands up to a column is rounded, and a membership is the difference of two: so they add up to exactly one.
    up_to_BA = (posterior_BA * float(_ONE)).round().to(torch.int64).cumsum(dim=1)
    total_B = up_to_BA[:, -1]
    proper_B = inside_B & ((total_B - _ONE).abs() <= _TOLERANCE)
    total_B1 = torch.where(proper_B, total_B, 1)[:, None]
    up_to_BA = (up_to_BA * _ONE + total_B1 // 2) // total_B1
    memberships_BA = torch.diff(up_to_BA, dim=1, prepend=torch.zeros_like(total_B1))
    return memberships_BA, proper_B, posterior_BA.isnan().all(dim=1)
