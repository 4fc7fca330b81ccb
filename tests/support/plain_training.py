"""Softmax regression trained as the papers say, in float64 NumPy, written to be read: SGD, weights, epochs.

It is given the order of the rows, which is ours to choose, and what a row weighs, which is what the papers are about.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Regression:
    """weights (C, D), bias (C,), and SGD with momentum and weight decay as torch has it (Sutskever's form)."""

    weights: np.ndarray
    bias: np.ndarray
    momentum: float = 0.9
    weight_decay: float = 5e-4
    velocity: dict[str, np.ndarray] = field(default_factory=dict)
    pull: float = 0.0  # of a penalty, pull * squared distance from ``start``
    start: dict[str, np.ndarray] = field(default_factory=dict)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        logits = features @ self.weights.T + self.bias
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    def step(self, features: np.ndarray, labels: np.ndarray, sample_weights: np.ndarray, lr: float) -> None:
        """One step on the mean over the batch of weight times cross-entropy."""
        slope = sample_weights[:, None] * (self.probabilities(features) - np.eye(len(self.bias))[labels]) / len(labels)
        for name, gradient in (("weights", slope.T @ features), ("bias", slope.sum(0))):
            value = getattr(self, name)
            gradient = gradient + self.weight_decay * value
            if self.start:
                gradient = gradient + 2 * self.pull * (value - self.start[name])
            before = self.velocity.get(name)
            self.velocity[name] = gradient if before is None else self.momentum * before + gradient
            setattr(self, name, value - lr * self.velocity[name])


def train_epoch(
    model: Regression,
    batches: Iterable[np.ndarray],
    features: np.ndarray,
    labels: np.ndarray,
    lr: float,
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """``weigh(rows, p_true)`` sees each batch of row numbers and what is predicted there before it is stepped on."""
    for rows in batches:
        p_true = model.probabilities(features[rows])[np.arange(len(rows)), labels[rows]]
        model.step(features[rows], labels[rows], weigh(rows, p_true), lr)
