"""Heads, which are trained on top of the frozen towers. A head turns features (N, D) into logits (N, C).

Classes are looked up on first use, so that the names of heads need no torch.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from dbpt.registry import Registry

if TYPE_CHECKING:
    import torch

    from dbpt.heads.base import AdapterHead as AdapterHead
    from dbpt.heads.base import Head as Head
    from dbpt.heads.base import HeadStart as HeadStart
    from dbpt.heads.base import LinearHead as LinearHead
    from dbpt.heads.prompt import PromptHead as PromptHead

Tensors = Mapping[str, Any]
"""NumPy arrays or torch tensors, float32, by name."""
Array = TypeVar("Array", NDArray[np.float32], "torch.Tensor")


class ByTensors:
    """From tensors and features to logits: what heads have in common with classifiers that need no training."""

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

    @staticmethod
    def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logarithm of the sum over the groups of each class, up to a constant of the row.

        Args:
            logits: (N, C, A) float32, of the groups.

        Returns:
            (N, C) float32.
        """
        return np.asarray(np.logaddexp.reduce(logits, axis=2))


HEADS: "Registry[Head]" = Registry(
    "head",
    "dbpt.heads",
    "dbpt.heads.base:Head",
    {
        "prompt": "dbpt.heads.prompt:PromptHead",
        "linear": "dbpt.heads.base:LinearHead",
        "adapter": "dbpt.heads.base:AdapterHead",
    },
)
"""The registry of heads."""
LINEAR_HEADS = ("prompt", "linear")
"""Heads of dbpt whose classifier is one matrix, known without torch."""

register_head = HEADS.register

__all__ = ["HEADS", "AdapterHead", "Head", "HeadStart", "LinearHead", "PromptHead", "register_head"]


def __getattr__(name: str) -> Any:
    if name not in ("AdapterHead", "Head", "HeadStart", "LinearHead", "PromptHead"):
        raise AttributeError(f"module 'dbpt.heads' has no attribute {name!r}")
    return getattr(import_module(f"dbpt.heads.{'prompt' if name == 'PromptHead' else 'base'}"), name)
