"""Empirical risk minimisation: the plain mean. The baseline that leans on what is spurious."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbpt.objectives.base import Objective

if TYPE_CHECKING:
    import torch


class Erm(Objective):
    """loss = (1/B) * sum_i l_i. Uses no groups."""

    name = "erm"
    title = "ERM"
    about = "plain mean, no groups"

    def loss(
        self, per_sample_loss: torch.Tensor, groups: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        """Mean of ``per_sample_loss`` (B,)."""
        return per_sample_loss.mean()
