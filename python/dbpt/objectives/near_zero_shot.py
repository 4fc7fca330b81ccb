"""Prompt tuning that stays near zero-shot: KgCoOp (Yao et al., 2023) and ProGrad (Zhu et al., 2023).

arXiv 2303.13283 and 2205.14865, by the authors' code; both are ERM otherwise, and use no attribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dbpt.objectives.base import Objective

if TYPE_CHECKING:
    import torch

KGCOOP_WEIGHT = 8.0
"""The authors' weight of the distance, for all data sets."""


class KgCoOp(Objective):
    """loss = (1/B) * sum_i l_i + 8 * (1/C) * sum_y (1 - cos(w_y, z_y)).

    w_y is the class weight that the context gives, and z_y that of the zero-shot classifier.
    """

    name = "kgcoop"
    title = "KgCoOp"
    heads = ("prompt",)

    def penalty(self, head: torch.nn.Module) -> torch.Tensor | None:
        """Return the weighted mean distance of the class weights of the last step's forward pass."""
        cosines_C = (head.last_weights * head.zero_shot).sum(dim=1)  # type: ignore[operator]
        return KGCOOP_WEIGHT * (1 - cosines_C.mean())


class ProGrad(Objective):
    """ERM whose gradient never opposes that of the cross-entropy to the zero-shot probabilities q.

    The loss is (1/B) * sum_i l_i, its gradient g, and h that of -(1/B) * sum_i sum_y q_iy log p_iy. If g·h < 0, the
    step uses g - (g·h / |h|^2) h, for each parameter. (The authors' lambda and temperature are 1.)
    """

    name = "prograd"
    title = "ProGrad"
    heads = ("prompt",)

    def general_loss(self, head: torch.nn.Module, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor | None:
        """Return the cross-entropy to the zero-shot probabilities, (B,)."""
        zero_shot: torch.Tensor = head.logits_of(features, head.zero_shot)  # type: ignore[operator]
        return -(zero_shot.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)

    def change_gradients(self, parameters: Iterable[torch.Tensor], general: Sequence[torch.Tensor]) -> None:
        """Take the part against the ``general`` gradient out."""
        for parameter, direction in zip(parameters, general, strict=True):
            assert parameter.grad is not None
            along = (parameter.grad * direction).sum()
            if along < 0:
                parameter.grad -= along / direction.square().sum() * direction
