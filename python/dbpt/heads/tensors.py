"""Finished classifiers as tensors, of NumPy or torch: what heads and classifiers without training have in common."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, Any]
"""NumPy arrays or torch tensors, float32, by name."""
Array = TypeVar("Array", NDArray[np.float32], "torch.Tensor")


class ByTensors:
    """A kind of classifier: how its tensors and features give logits."""

    name: ClassVar[str]

    @staticmethod
    def tensor_shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors that this classifier adds to the three of every classifier.

        Args:
            tensors: the `classifier_tensors`, float32, by name.

        Returns:
            Shapes by name, ``NAME.part``.
        """
        return {}

    @staticmethod
    def logits(tensors: Tensors, features: Array) -> Array:
        """Return the logits by the `classifier_tensors`, for NumPy arrays and for torch tensors.

        Finished classifiers predict by this, so it must agree with `forward`. It is called with arrays to predict, and
        with tensors in PyTorch and ONNX. So write it with operators and methods that both have: ``@``, ``.T``,
        ``.clip(0)``, ``** 2``, ``.sum(axis=1, keepdims=True)``; no function of NumPy or torch, and no ``float(...)``.

        Args:
            tensors: the `classifier_tensors`, float32, by name.
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32, an array or a tensor as ``features`` is.
        """
        logits: Array = tensors["logit_scale"] * (features @ tensors["weights"].T) + tensors["logit_bias"]
        return logits

    @classmethod
    def all_logits(cls, tensors: Tensors, features: Array) -> Array:
        """Return the logits of the classes, or those of the groups of a classifier with group prompts.

        Args:
            tensors: as for `logits`, with ``weights`` (C, D), or (C, A, D) of the groups.
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, C) float32, or (N, C, A).
        """
        logits: Array = cls.logits(of_outputs(tensors), features).reshape(-1, *tensors["weights"].shape[:-1])
        return logits

    @staticmethod
    def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logarithm of the sum over the groups of each class, up to a constant of the row.

        Args:
            logits: (N, C, A) float32, of the groups.

        Returns:
            (N, C) float32.
        """
        return np.asarray(np.logaddexp.reduce(logits, axis=2))


def of_outputs(tensors: Tensors) -> dict[str, Any]:
    """Return the tensors with ``weights`` (K, D) and ``logit_bias`` (1,) or (K,), as `ByTensors.logits` takes them."""
    weights, bias = tensors["weights"], tensors["logit_bias"]
    return {**tensors, "weights": weights.reshape(-1, weights.shape[-1]), "logit_bias": bias.reshape(-1)}
