"""Empirical risk minimisation: the plain mean. The baseline that leans on what is spurious."""

import torch

from dbpt.objectives.base import Objective


class Erm(Objective):
    """loss = (1/B) * sum_i l_i. Uses no groups."""

    name = "erm"
    uses_groups = False

    def loss(self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean of ``per_sample_loss`` (B,)."""
        return per_sample_loss.mean()
