"""From features to logits by what a head has learnt, in NumPy: what ``classifier.safetensors`` holds.

The same for the rows of a run, `predict` and `evaluate`, whatever the head was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Adapter:
    """``down`` (H, D) and ``up`` (D, H) float32, and the ``ratio`` of their result to what they got."""

    down: NDArray[np.float32]
    up: NDArray[np.float32]
    ratio: float

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The features (N, D) moved, of length 1 again."""
        moved = np.maximum(np.maximum(features @ self.down.T, 0) @ self.up.T, 0)
        mixed = np.float32(self.ratio) * moved + np.float32(1 - self.ratio) * features
        unit: NDArray[np.float32] = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
        return unit


@dataclass(frozen=True)
class FeatureClassifier:
    """logits = logit_scale * adapter(features) @ weights.T + logit_bias, without an adapter the features themselves.

    weights: (C, D) float32, L2-normalised except for the head ``linear``.
    logit_bias: (1,) or (C,) float32.
    """

    weights: NDArray[np.float32]
    logit_scale: float
    logit_bias: NDArray[np.float32]
    adapter: Adapter | None = None

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]]) -> FeatureClassifier:
        """Build from the tensors of the file.

        Raises `KeyError` if one is missing, `ValueError` for a wrong shape or dtype, NaN or an infinity.
        """
        weights, bias = tensors["weights"], tensors["logit_bias"]
        num_classes, width = weights.shape
        _check_shape("logit_scale", tensors["logit_scale"], (1,))
        _check_shape("logit_bias", bias, (1,), (num_classes,))
        scale, adapter = float(tensors["logit_scale"][0]), None
        if any(name.startswith("adapter.") for name in tensors):
            down, up, ratio = (tensors[f"adapter.{name}"] for name in ("down", "up", "ratio"))
            _check_shape("adapter.down", down, (len(down), width))
            _check_shape("adapter.up", up, (width, len(down)))
            _check_shape("adapter.ratio", ratio, (1,))
            adapter = Adapter(down, up, float(ratio[0]))
        for name, tensor in tensors.items():
            if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                raise ValueError(f"{name} holds other than finite float32")
        return cls(weights, scale, bias, adapter)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """What the file holds."""
        tensors = {
            "weights": self.weights,
            "logit_scale": np.array([self.logit_scale], dtype=np.float32),
            "logit_bias": self.logit_bias,
        }
        if self.adapter is not None:
            ratio = np.array([self.adapter.ratio], dtype=np.float32)
            tensors |= {"adapter.down": self.adapter.down, "adapter.up": self.adapter.up, "adapter.ratio": ratio}
        return tensors

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) float32 of unit features (N, D)."""
        moved = features if self.adapter is None else self.adapter(features)
        logits: NDArray[np.float32] = np.float32(self.logit_scale) * (moved @ self.weights.T) + self.logit_bias
        return logits

    def predictions(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N,) int64 class of the largest logit."""
        classes: NDArray[np.int64] = self.logits(features).argmax(axis=1)
        return classes

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) float32, the softmax of the logits."""
        logits = self.logits(features)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return found


def _check_shape(name: str, tensor: NDArray[np.float32], *expected: tuple[int, ...]) -> None:
    if tensor.shape not in expected:
        raise ValueError(f"{name} has shape {tensor.shape}, expected {' or '.join(map(str, expected))}")
