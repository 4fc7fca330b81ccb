"""Classifiers without training, as rows of a comparison: zero-shot CLIP, and zero-shot CLIP debiased by words.

`TRAINING_FREE` maps names to classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.data.stored_features import Features, read_blocks
from dbpt.data.words import Words, sentences
from dbpt.errors import InputError
from dbpt.heads.tensors import ByTensors


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The material of a classifier without training: the words, their text features, and the training rows.

    ``encode`` turns P sentences and the name of each, (P,) int64 from 0 to K-1, into their weights (K, D) float32, of
    length 1, as `dbpt.clip.backbone.zero_shot_weights` does. ``class_weights`` (C, D) are those of the classes.
    ``training`` are the numbers of the training rows among the N of ``features`` (N, D), ``labels`` (N,) and
    ``pseudo_attributes`` (N,), which are -1 if unknown.
    """

    words: Words
    encode: Callable[[list[str], NDArray[np.int64]], NDArray[np.float32]]
    class_weights: NDArray[np.float32]
    training: NDArray[np.int64]
    features: Features
    labels: NDArray[np.int64]
    pseudo_attributes: NDArray[np.int64]


class TrainingFree(ByTensors, ABC):
    """Builds the weights of a classifier, and computes its logits with CLIP's own scale and bias."""

    name: ClassVar[str]
    """Its name in ``methods``."""
    title: ClassVar[str]
    """Its name in tables."""
    needs_attributes: ClassVar[bool] = True
    uses_guesses: ClassVar[bool] = False
    """True if it uses the pseudo attributes of training rows."""
    names_groups: ClassVar[bool] = False
    """True if it reads the sentences of groups, `group_texts`."""

    @staticmethod
    @abstractmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights, (C, D) or whatever `logits` takes. Raises `InputError` if the words leave nothing."""


class ZeroShot(TrainingFree):
    """The class whose sentences are nearest (Radford et al., 2021)."""

    name = title = "zero-shot"
    needs_attributes = False

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights of the classes."""
        return inputs.class_weights


NOTHING = 1e-5
"""A length that float32 text features of length 1 have by rounding alone is far below this."""


def name_features(inputs: Inputs) -> list[NDArray[np.float64]]:
    """Return the text features (V, D), of length 1, of the V names of each factor, or of the one attribute.

    The sentences of all wordings of a name are averaged, as in zero-shot classification.
    """
    templates = inputs.words.attribute_templates
    suspects = [list(suspect.values.values()) for suspect in inputs.words.suspects]
    return [inputs.encode(*sentences(wordings, templates)).astype(np.float64) for wordings in suspects]


def span(directions_RD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an orthonormal basis (R', D) of the span of the directions (R, D); collinear ones count once."""
    _, lengths, basis_RD = np.linalg.svd(directions_RD, full_matrices=False)
    return np.asarray(basis_RD[lengths > NOTHING])


def without(basis_RD: NDArray[np.float64], weights_CD: NDArray[np.float64], inputs: Inputs) -> NDArray[np.float64]:
    """Return the weights (C, D) of the classes, projected onto the complement of an orthonormal basis (R, D).

    Raises `InputError` if nothing is left of a class.
    """
    projected_CD = weights_CD - (weights_CD @ basis_RD.T) @ basis_RD
    lengths_C = np.linalg.norm(projected_CD, axis=1) / np.linalg.norm(weights_CD, axis=1)
    for name, length in zip(inputs.words.classes, lengths_C, strict=True):
        if length < NOTHING:
            attributes = " / ".join(inputs.words.attributes)
            raise InputError(
                f"class {name!r}: nothing is left of its sentences when the directions of {attributes} are removed; "
                "use other words, or leave the method out"
            )
    return np.asarray(projected_CD, dtype=np.float64)


class GroupPromptsSum(TrainingFree):
    """The class with the largest probability, summed over its groups: where trained group prompts start."""

    name = "group-prompts-sum"
    title = "untrained groups"
    names_groups = True

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, A, D) of the groups.

        Raises `InputError` if a class has attribute values of its own.
        """
        words = inputs.words
        for factor in words.factors:
            if factor.of_class:
                name = next(iter(factor.of_class))
                raise InputError(
                    f"factor {factor.name!r} has values of its own for class {name!r}, so some sentences of class and "
                    "attribute mean nothing; leave the method out"
                )
        from dbpt.heads.class_and_group_prompts import group_texts

        weights_GD = inputs.encode(*group_texts(words))
        return weights_GD.reshape(len(words.classes), len(words.attributes), -1)


class GroupPrompts(GroupPromptsSum):
    """The class of the nearest group of class and attribute, by sentences of both (a baseline of RoboShot's paper)."""

    name = "group-prompts"
    title = "untrained groups (nearest)"

    @staticmethod
    def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the largest logit of each class's groups, (N, C)."""
        return np.asarray(logits.max(axis=2))


class RoboShot(TrainingFree):
    """RoboShot's rejection (Adila et al., 2024, arXiv 2309.04344): without the differences between attribute sentences.

    The words replace the insights that the authors ask of a language model. The helpful directions, which the authors
    amplify, are left out.
    """

    name = "roboshot"
    title = "RoboShot (rejection)"

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        # the differences of all pairs span the same as those from the mean
        differences = [names_VD - names_VD.mean(axis=0) for names_VD in name_features(inputs)]
        basis_RD = span(np.concatenate(differences))
        return without(basis_RD, inputs.class_weights.astype(np.float64), inputs).astype(np.float32)


class MeanDifference(TrainingFree):
    """Zero-shot without the differences between the mean image features of the pseudo attributes within a class.

    The direction of two attributes is the mean over the classes whose training rows have both.
    """

    name = "mean-difference"
    title = "mean difference"
    uses_guesses = True

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        differences = [
            np.mean(of_classes, axis=0)
            for pair in combinations(range(len(inputs.words.attributes)), 2)
            if (of_classes := _differences(inputs, *pair))
        ]
        if not differences:
            raise InputError("no class has training rows of two pseudo attributes; leave mean-difference out")
        basis_RD = span(np.array(differences))
        return without(basis_RD, inputs.class_weights.astype(np.float64), inputs).astype(np.float32)


def _differences(inputs: Inputs, one: int, other: int) -> list[NDArray[np.float64]]:
    """Return the difference (D,) of the mean features of two attributes in each class that has both."""
    labels, pseudo, differences = inputs.labels[inputs.training], inputs.pseudo_attributes[inputs.training], []
    for label in range(len(inputs.words.classes)):
        both = [inputs.training[(labels == label) & (pseudo == attribute)] for attribute in (one, other)]
        if all(map(len, both)):
            first, second = (_mean(inputs.features, rows) for rows in both)
            differences.append(first - second)
    return differences


def _mean(features: Features, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    total_D = np.zeros(features.shape[1])
    for _, block in read_blocks(features, rows):
        total_D += block.sum(axis=0, dtype=np.float64)
    return total_D / len(rows)


CALIBRATION = 1000.0
"""The default of the authors' code for the weight of the calibration, lambda."""


class Orthogonal(TrainingFree):
    """weights = P0 z, of length 1, where P0 projects onto the complement of the attributes' sentences."""

    name = "orthogonal"
    title = "orthogonal projection"

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        return _projected(inputs, inputs.class_weights.astype(np.float64))


class CalibratedOrthogonal(TrainingFree):
    """weights = P0 (I + lambda / |S| sum_(i, j) (z_i - z_j)(z_i - z_j)^T)^-1 z, of length 1.

    S are the pairs of sentences of the same class with two attributes, which should become alike.
    """

    name = "orthogonal-calibrated"
    title = "orthogonal projection (calibrated)"
    names_groups = True

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights (C, D)."""
        groups_CAD = GroupPromptsSum.weights(inputs).astype(np.float64)
        pairs = [one - other for of_class in groups_CAD for one, other in combinations(of_class, 2)]
        differences_SD = np.array(pairs)
        system_DD = np.eye(groups_CAD.shape[2]) + CALIBRATION / len(pairs) * differences_SD.T @ differences_SD
        return _projected(inputs, np.linalg.solve(system_DD, inputs.class_weights.T.astype(np.float64)).T)


def _projected(inputs: Inputs, weights_CD: NDArray[np.float64]) -> NDArray[np.float32]:
    projected_CD = without(span(np.concatenate(name_features(inputs))), weights_CD, inputs)
    unit_CD: NDArray[np.float64] = projected_CD / np.linalg.norm(projected_CD, axis=1, keepdims=True)
    return unit_CD.astype(np.float32)


_OWN: tuple[type[TrainingFree], ...] = (
    ZeroShot,
    GroupPrompts,
    GroupPromptsSum,
    Orthogonal,
    CalibratedOrthogonal,
    RoboShot,
    MeanDifference,
)
TRAINING_FREE: dict[str, type[TrainingFree]] = {own.name: own for own in _OWN}
