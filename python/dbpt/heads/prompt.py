"""The CoOp head: shared context vectors in front of every class wording (Zhou et al., 2022, arXiv 2109.01134)."""

import torch
import torch.nn.functional as F
from torch import nn

from dbpt.backbone import Backbone
from dbpt.heads.base import Head
from dbpt.text_tower import TextTower, build_text_tower, prompt_token_ids
from dbpt.text_tower.general import text_weights, token_embedding
from dbpt.words import Vocabulary


class PromptHead(Head):
    """Context vectors (n_ctx, d), float32, the only parameters; both towers stay frozen.

    ``multiply_adds`` is the rough cost of a forward pass of the text side.

    A class with several wordings keeps them all: its weight is the normalised mean of its wordings' text features, just
    as in the zero-shot ensemble, with the one context in front of each.

    ``backbone`` supplies the text tower; ``classes`` the C class names and their wordings; the context starts as
    N(0, 0.02^2) drawn from ``seed``. Raises `InputError` if a wording does not fit behind ``n_ctx`` tokens.
    """

    def __init__(self, backbone: Backbone, classes: Vocabulary, *, n_ctx: int, seed: int) -> None:
        super().__init__()
        wordings = [wording for group in classes.values() for wording in group]
        layout = prompt_token_ids(backbone.tokenizer, wordings, n_ctx)
        width = token_embedding(backbone.model).embedding_dim
        generator = torch.Generator().manual_seed(seed)
        context = torch.empty(n_ctx, width).normal_(std=0.02, generator=generator)
        self.context = nn.Parameter(context.to(backbone.device))
        self.text_tower: TextTower = build_text_tower(backbone.model, layout)
        self.multiply_adds = self.text_tower.num_positions * text_weights(backbone.model)
        self.logit_scale = backbone.logit_scale
        self.logit_bias = backbone.logit_bias or 0.0
        self.register_buffer("averaging_CP", _averaging(classes).to(backbone.device), persistent=False)
        self.averaging_CP: torch.Tensor

    def weights(self) -> torch.Tensor:
        """Class weights (C, D), L2-normalised, differentiable in the context."""
        features_PD = self.text_tower(self.context)
        return F.normalize(self.averaging_CP @ features_PD, dim=-1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) = exp(logit_scale) * cosine + bias, for L2-normalised features (N, D)."""
        return self.logit_scale * features @ self.weights().T + self.logit_bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """The class weights that the context gives."""
        return {
            "weights": self.weights(),
            "logit_scale": torch.tensor([self.logit_scale]),
            "logit_bias": torch.tensor([self.logit_bias]),
        }


def _averaging(classes: Vocabulary) -> torch.Tensor:
    """(C, P) matrix that takes the mean over each class's wordings."""
    owners = torch.tensor([index for index, wordings in enumerate(classes.values()) for _ in wordings])
    member_CP = F.one_hot(owners).T.float()
    return member_CP / member_CP.sum(dim=1, keepdim=True)
