"""A causal tower of any blocks: positions behind the last EOS cannot influence what is read, and are dropped."""

import torch
from torch import nn

from dbpt.clip.text_tower.embedding import write_context
from dbpt.clip.text_tower.layout import PromptLayout
from dbpt.clip.text_tower.native import CausalTower


class TruncatedTower(CausalTower):
    """The model's own blocks on the positions up to the last EOS."""

    def __init__(self, model: nn.Module, layout: PromptLayout) -> None:
        super().__init__(model, layout)
        self.length = int(self.eos_P.max()) + 1
        self.own_positions = [self.length] * len(self.eos_P)
        self.register_buffer("ids_PL", layout.ids[:, : self.length], persistent=False)
        self.register_buffer("places_PL", layout.places[:, : self.length], persistent=False)
        self.register_buffer("eos", self.eos_P, persistent=False)
        self.ids_PL: torch.Tensor
        self.places_PL: torch.Tensor
        self.eos: torch.Tensor

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """Map context (n_ctx, d) or (C, n_ctx, d) to text features (P, D)."""
        tokens = write_context(self.frozen.token_embedding(self.ids_PL), self.places_PL, context)
        x = self.at_positions(tokens, torch.arange(self.length, device=context.device))
        mask = self.frozen.attn_mask[: self.length, : self.length].to(x.dtype)
        x = self.frozen.transformer(x, attn_mask=mask)
        return self.project(x[torch.arange(len(self.eos), device=context.device), self.eos])
