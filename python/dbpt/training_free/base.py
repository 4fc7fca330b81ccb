"""The interface of a classifier without training, and the simplest one, zero-shot CLIP.

No file of this folder imports torch at the top: the command line reads the names and must stay fast.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import Words


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The material of a classifier without training: the words, their text features, and the training rows.

    ``encode`` turns P sentences and the name of each, (P,) int64 from 0 to K-1, into their weights (K, D) float32, of
    length 1, as `dbpt.clip.zero_shot.zero_shot_weights` does. ``class_weights`` (C, D) are those of the classes.
    ``training`` are the numbers of the training rows among the N of ``features`` (N, D), ``labels`` (N,) and
    ``pseudo_attributes`` (N,), which are -1 if unknown.
    """

    words: Words
    encode: Callable[[list[str], NDArray[np.int64]], NDArray[np.float32]]
    class_weights: NDArray[np.float32]
    training: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    pseudo_attributes: NDArray[np.int64]


class TrainingFree:
    """Builds the weights of a classifier, and computes its logits with CLIP's own scale and bias."""

    name: ClassVar[str]
    """Its name in ``methods``."""
    title: ClassVar[str]
    """Its name in tables."""
    needs_attributes: ClassVar[bool] = True
    uses_guesses: ClassVar[bool] = False
    """True if it uses the pseudo attributes of training rows."""

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights, (C, D) or whatever `logits` takes. Raises `InputError` if the words leave nothing."""
        raise NotImplementedError

    @staticmethod
    def tensor_shapes(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of further tensors, as `Head.tensor_shapes` does; there are none."""
        return {}

    @staticmethod
    def logits(tensors: Mapping[str, NDArray[np.float32]], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, C) of unit ``features`` (N, D), as `Head.logits` does."""
        from dbpt.heads import Head

        return Head.logits(tensors, features)


class ZeroShot(TrainingFree):
    """The class whose sentences are nearest (Radford et al., 2021)."""

    name = title = "zero-shot"
    needs_attributes = False

    @staticmethod
    def weights(inputs: Inputs) -> NDArray[np.float32]:
        """Return the weights of the classes."""
        return inputs.class_weights
