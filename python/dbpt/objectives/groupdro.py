"""Group DRO: minimise the worst group's mean loss (Sagawa et al., 2020, arXiv 1911.08731, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbpt.group_weights import GroupDRO
from dbpt.group_weights.bounds import MAX_WEIGHT, MIN_GROUP_COUNT
from dbpt.objectives.base import TrainingGroups
from dbpt.objectives.weighting import WeightingObjective

if TYPE_CHECKING:
    import torch


class GroupDro(WeightingObjective):
    """loss = sum_g q_g * L_g, where q_g <- q_g * exp(step_size * (L_g + C / sqrt(N_g))) at each step, then sum q = 1.

    q weighs the *means* L_g of groups. In q's step L_g is the mean over the batch's rows of the group; a group that the
    batch lacks is not multiplied. In the loss each row weighs w_g = q_g / N_g * sum N, which makes the mean over
    batches drawn from the training rows as they are an unbiased estimate of sum_g q_g * L_g, for groups too that many
    batches lack. C is the size adjustment of the paper's section 3.3.
    """

    name = "groupdro"
    title = "Group DRO"
    about = "weights that grow by exp(step size · mean loss of the group) at each step"
    settings = (*WeightingObjective.settings, "dro_step_size", "size_adjustment")

    def __init__(
        self,
        training: TrainingGroups,
        *,
        dro_step_size: float,
        size_adjustment: float,
        min_group_count: float = MIN_GROUP_COUNT,
        max_weight: float = MAX_WEIGHT,
        apply: str = "loss",
    ) -> None:
        rule = GroupDRO(
            training.counts, dro_step_size, size_adjustment, min_group_count=min_group_count, max_weight=max_weight
        )
        super().__init__(training, rule, apply=apply)

    def observe(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> None:
        """Move q by the batch's losses, before it weighs them."""
        self.observe_values(per_sample_loss, groups, labels)
        self.rule.step()
