"""Sentences that name class and attribute, so that CLIP needn't choose between the two."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError
from dbpt.training_free.base import Inputs, TrainingFree


class GroupPrompts(TrainingFree):
    """The class of the nearest group of class and attribute, by sentences of both (a baseline of RoboShot's paper)."""

    name = "group-prompts"
    title = "group prompts"

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, A, D) of the groups."""
        return group_weights(inputs)

    @staticmethod
    def logits(tensors: Mapping[str, NDArray[np.float32]], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the largest logit of each class's groups, (N, C)."""
        best: NDArray[np.float32] = group_logits(tensors, features).max(axis=2)
        return best


class GroupPromptsSum(GroupPrompts):
    """The class with the largest probability, summed over its groups."""

    name = "group-prompts-sum"
    title = "group prompts (sum)"

    @staticmethod
    def logits(tensors: Mapping[str, NDArray[np.float32]], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logarithm of the sums, up to a constant of the image, (N, C)."""
        total: NDArray[np.float32] = np.logaddexp.reduce(group_logits(tensors, features), axis=2)
        return total


def group_weights(inputs: Inputs) -> NDArray[np.float32]:
    """Return the weights (C, A, D) of the groups. Raises `InputError` if a class has attribute values of its own."""
    words = inputs.words
    for factor in words.factors:
        if factor.of_class:
            name = next(iter(factor.of_class))
            found = f"factor {factor.name!r} has values of its own for class {name!r}"
            raise InputError(f"{found}, so some sentences of class and attribute mean nothing; leave the method out")
    weights_GD = inputs.encode(*words.group_texts())
    return weights_GD.reshape(len(words.classes), len(words.attributes), -1)


def group_logits(tensors: Mapping[str, NDArray[np.float32]], features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits (N, C, A) of the groups by their ``weights`` (C, A, D)."""
    num_classes, num_attributes, width = tensors["weights"].shape
    cosine_NG = features @ tensors["weights"].reshape(-1, width).T
    logits: NDArray[np.float32] = tensors["logit_scale"] * cosine_NG + tensors["logit_bias"]
    return logits.reshape(-1, num_classes, num_attributes)
