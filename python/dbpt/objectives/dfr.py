"""Deep feature reweighting: a last layer anew, on group-balanced validation rows (Kirichenko et al., 2022).

arXiv 2204.02937. Their features are those of a network trained by ERM; ours are CLIP's, frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt._core import GroupIndex, GroupStream
from dbpt.objectives.base import Draws, Objective

if TYPE_CHECKING:
    import torch


class Dfr(Objective):
    """loss = (1/B) * sum_i l_i over a balanced subset of one half of the validation split; the other chooses the epoch.

    A subset has min_g N_g rows of each group that has any, without repetition. The paper averages the last layers of
    ten random subsets; here each epoch draws another, so that every row of the half takes part. Rows of unknown group
    are in the half that chooses. The penalty is the run's weight decay (AdamW's, or L2 with SGD), where the paper
    has L1.
    """

    name = "dfr"
    title = "DFR"
    about = "plain mean over a balanced half of the validation split; the other half chooses the epoch"
    uses_groups = True
    heads = ("linear",)
    trains_on = "val"

    def loss(
        self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Mean of ``per_sample_loss`` (B,)."""
        return per_sample_loss.mean()

    def draws(self, seed: int, epoch: int) -> Draws:
        """The epoch's subset, in random order."""
        index = GroupIndex(self.training.groups, self.training.num_groups)
        present = index.counts > 0
        return GroupStream(index, np.where(present, index.counts[present].min(), 0), seed, epoch)

    @classmethod
    def choose_rows(
        cls, train: NDArray[np.int64], val: NDArray[np.int64], groups: NDArray[np.int64], seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Half of each group of validation, the larger one where it is odd, and the rest of validation."""
        known = val[groups[val] >= 0]
        halves = []
        for group in np.unique(groups[known]):
            members = known[groups[known] == group]
            stream = GroupStream(GroupIndex(np.zeros_like(members), 1), np.array([len(members)]), seed, 0)
            halves.append(members[stream.indices(0, -(-len(members) // 2))])
        half = np.sort(np.concatenate(halves)) if halves else known
        return half, np.setdiff1d(val, half)
