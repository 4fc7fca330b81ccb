"""A finished classifier in PyTorch: as a module, and as weights for open_clip's zero-shot code."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dbpt.errors import InputError, foreign_error
from dbpt.heads import Head
from dbpt.objectives.training_free import TrainingFree

OPEN_CLIP_SCALE = 100
"""open_clip's zero-shot code multiplies cosines with it, whatever the model's own scale is."""


class TorchClassifier(torch.nn.Module):
    """The classifier of a run: from preprocessed images, or features, to logits. `dbpt.runs.classifier` builds it.

    It is in eval mode, float32 throughout, and nothing in it requires a gradient. Its state is the tensors of
    ``classifier.safetensors``, with ``_`` for the dots in their names, and the ``image_tower``.

    Args:
        tensors: those of a `FeatureClassifier`, by name.
        head: the class that computes logits from them.
        image_tower: open_clip's image tower, of which it gets a copy; None for a module that takes features.
    """

    def __init__(
        self,
        tensors: Mapping[str, NDArray[np.float32]],
        head: type[Head] | type[TrainingFree],
        image_tower: torch.nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.head = head
        self.buffer_names = {name: name.replace(".", "_") for name in sorted(tensors)}
        for name, buffer_name in self.buffer_names.items():
            self.register_buffer(buffer_name, torch.from_numpy(tensors[name].copy()))
        self.image_tower = None if image_tower is None else copy.deepcopy(image_tower).float()
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            images: (B, 3, H, W) float32, preprocessed; without an image tower, features (B, D) float32 of any length.

        Returns:
            (B, C) float32. With group prompts, the logarithm of the sum over the groups of each class.
        """
        features = images if self.image_tower is None else self.image_tower(images)
        if isinstance(features, tuple):  # CoCa's tower also returns its tokens
            features = features[0]
        tensors = {name: getattr(self, buffer_name) for name, buffer_name in self.buffer_names.items()}
        weights, bias = tensors["weights"], tensors["logit_bias"]
        tensors |= {"weights": weights.reshape(-1, weights.shape[-1]), "logit_bias": bias.reshape(-1)}
        logits: torch.Tensor = self.head.logits(tensors, F.normalize(features, dim=-1))
        if weights.ndim == 2:
            return logits
        return logits.reshape(-1, *weights.shape[:-1]).logsumexp(dim=2)


def check_tensors_work(
    tensors: Mapping[str, NDArray[np.float32]],
    head: type[Head] | type[TrainingFree],
    logits: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> None:
    """Refuse a head whose ``logits`` don't work with tensors, or are others than in NumPy.

    Args:
        tensors, head: those of `TorchClassifier`.
        logits: `FeatureClassifier.logits`.

    Raises:
        InputError: with the name of the head.
    """
    problem, module = f"to_torch: the logits of the head {head.name}", TorchClassifier(tensors, head)
    way_out = "write them with operators and methods that arrays and tensors both have (docs/how_to/extending.md)"
    draws = torch.randn(7, tensors["weights"].shape[-1], generator=torch.Generator().manual_seed(0))
    features_ND = F.normalize(draws, dim=-1)
    try:
        # tensors without data, as functions of NumPy would silently take others, and torch.export would fail on them
        copy.deepcopy(module).to("meta")(features_ND.to("meta"))
        found_NC = module(features_ND).numpy()
    except Exception as error:  # it is code of others
        raise InputError(f"{problem} don't work with torch's tensors ({foreign_error(error)}); {way_out}") from error
    expected_NC = logits(features_ND.numpy())
    if not np.allclose(found_NC, expected_NC, rtol=0, atol=1e-4 * max(1, np.abs(expected_NC).max())):
        raise InputError(f"{problem} are others with torch's tensors than with arrays; {way_out}")


@dataclass(frozen=True)
class ZeroShotWeights:
    """A classifier as open_clip's zero-shot code takes it: logits are ``100 * features @ weights + bias``.

    With group prompts each group of class and attribute has a column, class by class, and the probability of a class
    is the sum of the softmax over its columns. Otherwise K is C.

    Attributes:
        weights: (D, K) float32; ``features`` have length 1.
        bias: (K,) float32. A group that the words rule out has -10,000.
        class_of: (K,) int64, the class of each column.
    """

    weights: torch.Tensor
    bias: torch.Tensor
    class_of: torch.Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.float32]], head: type[Head] | type[TrainingFree]) -> "ZeroShotWeights":
        """Return the weights of a classifier.

        Args:
            tensors, head: those of a `FeatureClassifier`.

        Raises:
            InputError: for a head with a formula of its own, which has no such weights.
        """
        if head.logits not in (Head.logits, TrainingFree.logits):
            raise InputError(f"zero_shot_weights: the head {head.name} is more than a matrix; use to_torch")
        weights, scale = torch.from_numpy(tensors["weights"]), float(tensors["logit_scale"][0]) / OPEN_CLIP_SCALE
        outputs = weights.shape[:-1]
        classes = torch.arange(len(weights)).repeat_interleave(outputs.numel() // len(weights))
        bias = torch.from_numpy(tensors["logit_bias"]).expand(outputs).reshape(-1).clone()
        return cls((scale * weights.reshape(-1, weights.shape[-1])).T.contiguous(), bias, classes)
