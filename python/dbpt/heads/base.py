"""The interface of a head."""

from abc import abstractmethod

import torch
from torch import nn


class Head(nn.Module):
    """Maps features (N, D), L2-normalised, to logits (N, C). Its parameters are what is trained.

    ``multiply_adds`` is the rough cost of a forward pass of a batch, for `training.threads`.
    """

    multiply_adds: int

    @abstractmethod
    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """What it has learnt, as `FeatureClassifier` takes it: ``weights`` (C, D) and so on."""
