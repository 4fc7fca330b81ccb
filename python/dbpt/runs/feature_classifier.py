"""The finished classifier of features, in NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.heads import HEADS, Head
from dbpt.objectives.training_free import TrainingFree
from dbpt.storage.files import are_finite


@dataclass(frozen=True)
class FeatureClassifier:
    """A finished head in NumPy, for features.

    Every head has ``weights`` (C, D), ``logit_scale`` (1,), and ``logit_bias`` (1,) or (C,), and may add more. With
    group prompts the weights are (C, A, D), the bias may be (C, A), and a class has the probability of all its groups.

    Attributes:
        tensors: float32 by name, the content of ``classifier.safetensors``.
        head: the class that computes logits from them.

    Raises:
        KeyError: if a tensor is missing.
        ValueError: for a wrong shape or dtype, NaN or an infinity.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    head: type[Head] | type[TrainingFree]

    def __post_init__(self) -> None:
        outputs = self.weights.shape[:-1]
        shapes: dict[str, list[tuple[int, ...]]] = {"logit_scale": [(1,)], "logit_bias": [(1,), outputs]}
        shapes |= {name: [shape] for name, shape in self.head.tensor_shapes(self._of_outputs).items()}
        for name, expected in shapes.items():
            if (found := self.tensors[name].shape) not in expected:
                raise ValueError(f"{name} has shape {found}, expected {' or '.join(map(str, expected))}")
        for name, tensor in self.tensors.items():
            if not are_finite(tensor):
                raise ValueError(f"{name} holds other than finite float32")

    @property
    def weights(self) -> NDArray[np.float32]:
        """(C, D) float32, or (C, A, D) of the groups of class and attribute."""
        return self.tensors["weights"]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, C) float32. With group prompts, the logarithm of the sum over the groups of each class.
        """
        if self.weights.ndim == 2:
            return self.head.logits(self.tensors, features)
        return self.head.class_logits(self.group_logits(features))

    def group_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of the groups, of a classifier with group prompts.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, C, A) float32.
        """
        return self.head.logits(self._of_outputs, features).reshape(-1, *self.weights.shape[:-1])

    @property
    def _of_outputs(self) -> dict[str, NDArray[np.float32]]:
        """The tensors with ``weights`` (K, D) and ``logit_bias`` (1,) or (K,), as heads know them."""
        weights, bias = self.weights.reshape(-1, self.weights.shape[-1]), self.tensors["logit_bias"].reshape(-1)
        return {**self.tensors, "weights": weights, "logit_bias": bias}

    def predictions(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the class of the largest logit.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N,) int64.
        """
        classes: NDArray[np.int64] = self.logits(features).argmax(axis=1)
        return classes

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the softmax of the logits.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, C) float32; each row has the sum 1.
        """
        return _softmax(self.logits(features))

    def attribute_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each attribute given the image, of a classifier with group prompts.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, A) float32; each row has the sum 1.
        """
        logits_NCA = self.group_logits(features)
        probabilities = _softmax(logits_NCA.reshape(len(logits_NCA), -1)).reshape(logits_NCA.shape)
        found: NDArray[np.float32] = probabilities.sum(axis=1)
        return found


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return found


def zero_shot_classifier(
    backbone: Backbone, weights: NDArray[np.float32], head: type[TrainingFree] = TrainingFree
) -> FeatureClassifier:
    """Return the classifier with ``weights`` such as `zero_shot_weights` and the backbone's own scale and bias."""
    numbers = {"logit_scale": backbone.logit_scale, "logit_bias": backbone.logit_bias or 0.0}
    tensors = {name: np.array([value], dtype=np.float32) for name, value in numbers.items()}
    return FeatureClassifier({"weights": weights, **tensors}, head)


def head_of(
    tensors: Mapping[str, NDArray[np.float32]], head: str, path: Path, words: Words, backbone: Backbone
) -> FeatureClassifier:
    """Return the classifier of the tensors that were read from ``path``. Refuses those that don't fit the words."""
    try:
        found = FeatureClassifier(tensors, HEADS[head])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a readable classifier ({error}); make it again") from None
    if (len(found.weights), found.weights.shape[-1]) != (len(words.classes), backbone.embed_dim):
        raise InputError(
            f"{path}: weights of shape {found.weights.shape}, but the run has {len(words.classes)} classes and "
            f"embed_dim {backbone.embed_dim}"
        )
    return found
