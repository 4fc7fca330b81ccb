"""The interface of a head."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import nn


class Head(nn.Module):
    """Maps features (N, D), L2-normalised, to logits (N, C). Its parameters are what is trained.

    ``multiply_adds`` is the rough cost of a forward pass of a batch, for `training.loop`.
    """

    multiply_adds: int

    def frozen(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The head as it is now, from features (N, D) to logits (N, C), bit for bit, for passes without gradient.

        What does not depend on the features is computed once, and not again in each pass.
        """
        return self

    @abstractmethod
    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """What it has learnt, as `FeatureClassifier` takes it: ``weights`` (C, D) and so on."""
