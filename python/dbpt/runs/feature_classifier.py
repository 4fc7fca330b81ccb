"""A classifier without its backbone: features to logits in NumPy."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbpt import clip
from dbpt.data.stored_features import Features, StoredFeatures, map_blocks
from dbpt.heads import HEADS
from dbpt.heads.tensors import ByTensors, of_outputs
from dbpt.objectives.training_free import TrainingFree
from dbpt.storage.tensors import are_finite


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
    head: type[ByTensors]

    def __post_init__(self) -> None:
        if self.weights.ndim not in (2, 3) or not self.weights.size:
            raise ValueError(f"weights has shape {self.weights.shape}, expected two or three dimensions")
        outputs = self.weights.shape[:-1]
        shapes: dict[str, list[tuple[int, ...]]] = {"logit_scale": [(1,)], "logit_bias": [(1,), outputs]}
        shapes |= {name: [shape] for name, shape in self.head.tensor_shapes(of_outputs(self.tensors)).items()}
        if (extra := self.tensors.keys() - shapes.keys() - {"weights"}) and self.head.name not in HEADS.added:
            raise ValueError(f"{min(extra)} is not a tensor of the head {self.head.name}")
        for name, expected in shapes.items():
            if (shape := self.tensors[name].shape) not in expected:
                raise ValueError(f"{name} has shape {shape}, expected {' or '.join(map(str, expected))}")
        for name, tensor in self.tensors.items():
            if not are_finite(tensor):
                raise ValueError(f"{name} is not finite float32")

    @property
    def weights(self) -> NDArray[np.float32]:
        """(C, D) float32, or (C, A, D) of the groups of class and attribute."""
        return self.tensors["weights"]

    def logits(self, features: Features) -> NDArray[np.float32]:
        """Return the logits.

        Args:
            features: (N, D) float32, rows of length 1; stored ones are read in blocks.

        Returns:
            (N, C) float32. With group prompts, the logarithm of the sum over the groups of each class.
        """

        def of_block(block: NDArray[np.float32]) -> NDArray[np.float32]:
            logits = self.head.all_logits(self.tensors, block)
            return logits if logits.ndim == 2 else self.head.class_logits(logits)

        return map_blocks(features, of_block) if isinstance(features, StoredFeatures) else of_block(features)

    def predictions(self, features: Features) -> NDArray[np.int64]:
        """Return the class of the largest logit.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N,) int64.
        """
        classes: NDArray[np.int64] = self.logits(features).argmax(axis=1)
        return classes

    def probabilities(self, features: Features) -> NDArray[np.float32]:
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
        logits_NCA = self.head.all_logits(self.tensors, features)
        probabilities = _softmax(logits_NCA.reshape(len(logits_NCA), -1)).reshape(logits_NCA.shape)
        of_attributes: NDArray[np.float32] = probabilities.sum(axis=1)
        return of_attributes


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def zero_shot_classifier(
    backbone: "clip.Backbone", weights: NDArray[np.float32], head: type[TrainingFree] = TrainingFree
) -> FeatureClassifier:
    """Return the classifier with ``weights`` such as `zero_shot_weights` and the backbone's own scale and bias."""
    numbers = {"logit_scale": backbone.logit_scale, "logit_bias": backbone.logit_bias or 0.0}
    tensors = {name: np.array([value], dtype=np.float32) for name, value in numbers.items()}
    return FeatureClassifier({"weights": weights, **tensors}, head)
