"""What all paths through a text tower have in common."""

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from dbpt.clip.text_tower.layout import PromptLayout


class TextTower(nn.Module):
    """A frozen text tower as a function of the context, for the prompts of ``layout``.

    own_positions: how many positions run through the blocks for each of the P prompts alone.
    shared_positions: how many run through them once for all.
    """

    own_positions: list[int]
    shared_positions: int = 0

    def __init__(self, frozen: Any, layout: PromptLayout) -> None:
        super().__init__()
        self._frozen = (frozen,)  # in a tuple: not a submodule, so not among our parameters
        self.layout = layout

    @property
    def frozen(self) -> Any:
        """The open_clip module whose weights are used."""
        return self._frozen[0]

    @property
    def num_positions(self) -> int:
        """How many positions run through the blocks in a forward pass."""
        return self.shared_positions + sum(self.own_positions)

    @abstractmethod
    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to L2-normalised text features (P, D), float32."""
