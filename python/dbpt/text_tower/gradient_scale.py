"""Gradients through a tower in float16, kept where float16 still has numbers.

As a prompt learns its gradient shrinks, and what is below 6e-8 in float16 is 0. Mixed-precision training multiplies the
loss by a scale and divides the gradients by it (Micikevicius et al., 2018, arXiv 1710.03740). Here only the way through
the tower needs that, and the scale is found anew at each step: it has no state that a checkpoint would have to carry.
"""

from dataclasses import dataclass
from typing import Any

import torch

from dbpt.text_tower.tower import TextTower

SMALLEST_EXPONENT = -100  # of a gradient: its scale is still a number in float32


class ScaledGradientTower(TextTower):
    """``tower``, with the gradient of its features scaled so that the largest entry is between 1 and 2 inside it.

    The scale is a power of two, and taken back at the context: in float32 both are exact.
    """

    def __init__(self, tower: TextTower) -> None:
        super().__init__(tower.frozen, tower.layout)
        self.tower = tower
        self.own_positions, self.shared_positions = tower.own_positions, tower.shared_positions

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        scale = _Scale()
        context = _Restored.apply(context, scale)
        features: torch.Tensor = _Enlarged.apply(self.tower(context), scale)
        return features


@dataclass
class _Scale:
    """What the gradient was multiplied by on its way into the tower, a scalar tensor."""

    factor: torch.Tensor | None = None


class _Enlarged(torch.autograd.Function):
    """The identity, whose gradient is multiplied by the scale, which it chooses."""

    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, scale: _Scale) -> torch.Tensor:
        ctx.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        exponent = torch.frexp(gradient.abs().max()).exponent.clamp(min=SMALLEST_EXPONENT)
        ctx.scale.factor = torch.ldexp(torch.ones_like(gradient[0, 0]), 1 - exponent)
        return gradient * ctx.scale.factor, None


class _Restored(torch.autograd.Function):
    """The identity, whose gradient is divided by the scale."""

    @staticmethod
    def forward(ctx: Any, context: torch.Tensor, scale: _Scale) -> torch.Tensor:
        ctx.scale = scale
        return context.view_as(context)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient / ctx.scale.factor, None
