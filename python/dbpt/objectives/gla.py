"""Group logit adjustment: the share of each group in training, inside the softmax over groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.objectives.base import Objective, TrainingGroups, group_cross_entropy

if TYPE_CHECKING:
    import torch


class Gla(Objective):
    """l_i = -log softmax(z_i + tau * log beta)_g(i), with the logits z_i of the groups and their shares beta.

    With ``tau`` = 1 the softmax of z fits equally frequent groups: logit adjustment (Menon et al., 2021, arXiv
    2007.07314) with groups for classes. No row weighs more than another. The answer is the class with the largest sum
    of softmax(z) over its groups. A row of unknown group has the loss of its class, -log of the sum over its groups.

    A group of fewer than ``min_group_count`` rows counts as one of that size, and one without rows is left out. Rows of
    unknown group are taken to be distributed as the others of their class.
    """

    name = "gla"
    title = "GLA"
    uses_groups = True
    by_group = True
    prompts = ("group",)
    settings = ("tau", "min_group_count")

    def __init__(self, training: TrainingGroups, *, tau: float, min_group_count: float, apply: str = "loss") -> None:
        super().__init__(training, apply=apply)
        self.adjustment = tau * np.log(group_shares(training, min_group_count)) + training.offsets
        """(G,) float64, added to the logits."""

    def sample_losses(self, logits: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row."""
        adjusted = logits + logits.new_tensor(self.adjustment)
        return group_cross_entropy(adjusted, labels, groups, self.training.num_classes)


def group_shares(training: TrainingGroups, min_group_count: float) -> NDArray[np.float64]:
    """Return the share (G,) of each group in training; that of a group that is left out has no meaning.

    The rows of a class are divided among its groups as its rows of known group are, or else equally.
    """
    rows_C = np.bincount(training.labels, minlength=training.num_classes)
    counts_CA = training.counts.reshape(training.num_classes, -1)
    kept_CA = (training.offsets == 0).reshape(counts_CA.shape)
    parts_CA = np.where(counts_CA.any(axis=1, keepdims=True), counts_CA, kept_CA)
    rows_CA = rows_C[:, None] * parts_CA / np.maximum(parts_CA.sum(axis=1, keepdims=True), 1)
    floored_CA = np.maximum(rows_CA, max(min_group_count, 1.0))
    shares: NDArray[np.float64] = (floored_CA / floored_CA[kept_CA].sum()).reshape(-1)
    return shares
