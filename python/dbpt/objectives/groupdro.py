"""Group DRO: minimise the worst group's mean loss (Sagawa et al., 2020, arXiv 1911.08731, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dbpt.groups import MAX_WEIGHT, MIN_GROUP_COUNT, GroupDRO, GroupWeights
from dbpt.objectives.base import TrainingGroups
from dbpt.objectives.weighting import WeightingObjective, drawn_shares

if TYPE_CHECKING:
    import torch


class GroupDro(WeightingObjective):
    """loss = sum_g q_g * L_g, where q_g <- q_g * exp(step_size * L_g) at each step, then sum q = 1.

    q weighs the *means* L_g of groups. Both in q's step and in the loss L_g is estimated without bias from each batch,
    for groups too that many batches lack: see `dbpt.GroupDRO`. With ``apply="loss"`` rows are drawn as they are, and
    each weighs w_g = q_g / N_g * sum N. With ``"sampling"`` groups are drawn uniformly, as the authors and WILDS do, by
    the weights of `Balanced`, and a row weighs q_g times the number of groups: so no group is ever out of the draws.
    """

    name = "groupdro"
    title = "Group DRO"
    about = "weights that grow by exp(step size · mean loss of the group) at each step"
    settings = (*WeightingObjective.settings, "dro_step_size")

    def __init__(
        self,
        training: TrainingGroups,
        *,
        dro_step_size: float,
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
        apply: str = "loss",
    ) -> None:
        bounds = {"min_group_count": min_group_count, "max_weight": max_weight}
        drawn_by = GroupWeights(training.counts, 0.0, 0.0, **bounds) if apply == "sampling" else None
        shares: str | NDArray[np.float64] = "natural" if drawn_by is None else drawn_shares(training, drawn_by)
        rule = GroupDRO(training.counts, dro_step_size, shares=shares, **bounds)
        super().__init__(training, rule, drawn_by=drawn_by, apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Move q by the batch's losses, before it weighs them."""
        self.observe_values(per_sample_loss, groups, labels)
        self.rule.step()
