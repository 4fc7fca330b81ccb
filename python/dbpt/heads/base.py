"""The interface of a head."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import nn


class Head(nn.Module):
    """Maps features (N, D), L2-normalised, to logits (N, C). Its parameters are trained.

    ``multiply_adds`` is the rough cost of a forward pass of a batch, for `training.loop`.
    """

    multiply_adds: int

    def frozen(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the head as it is now, for passes without gradient: features (N, D) to the same logits (N, C).

        A head may compute once whatever does not depend on the features.
        """
        return self

    @abstractmethod
    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the trained classifier as `FeatureClassifier` takes it: ``weights`` (C, D) and so on."""
