"""The result of a run as something to use: a classifier file (C, D), the backbone it belongs to, and the class names.

``classifier.safetensors`` holds ``weights`` (C, D) float32, L2-normalised, and ``logit_scale``, ``logit_bias`` (both
float32 scalars): logits = logit_scale * features @ weights.T + logit_bias. Its metadata names the classes as JSON.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.backbone import Backbone
from dbpt.config import FitConfig
from dbpt.words import Words


@dataclass(frozen=True)
class Prediction:
    """One image: ``probabilities`` (C,) float32 and the name of the largest; or, for a bad image, ``error``."""

    path: str
    prediction: str | None
    probabilities: NDArray[np.float32] | None
    error: str | None


@dataclass(frozen=True)
class Classifier:
    """A run's chosen classifier, loaded by `dbpt.load`.

    weights: (C, D) float32, L2-normalised, one row for each of ``class_names``.
    words: the run's classes and attributes with their wordings.
    config: the run's settings.
    """

    backbone: Backbone
    weights: NDArray[np.float32]
    words: Words
    config: FitConfig

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C,) in index order."""
        return tuple(self.words.classes)

    def predict_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (N, C) float32 of unit features (N, D): the softmax of the scaled cosines."""
        logits = np.float32(self.backbone.logit_scale) * (features @ self.weights.T)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, images: Sequence[str | Path], *, batch_size: int = 128) -> Iterator[Prediction]:
        """Classify image files, in order, without a cache. A file that is no image gives an ``error``."""
        from dbpt.features import open_image

        for begin in range(0, len(images), batch_size):
            paths = [Path(image) for image in images[begin : begin + batch_size]]
            pixels, errors = [], {}
            for path in paths:
                try:
                    pixels.append(self.backbone.preprocess(open_image(path)).numpy())
                except ValueError as error:  # UnreadableImage is one; so is a path with a NUL in it
                    errors[path] = str(error)
            probabilities = iter(self.predict_features(self._encode(pixels, batch_size)))
            for path in paths:
                if path in errors:
                    yield Prediction(str(path), None, None, errors[path])
                else:
                    row = next(probabilities)
                    yield Prediction(str(path), self.class_names[int(row.argmax())], row, None)

    def _encode(self, pixels: list[NDArray[np.float32]], batch_size: int) -> NDArray[np.float32]:
        """Features of a batch padded to its full shape, so that a result doesn't depend on its neighbours' number."""
        if not pixels:
            return np.zeros((0, self.weights.shape[1]), dtype=np.float32)
        batch = np.zeros((batch_size, *pixels[0].shape), dtype=np.float32)
        batch[: len(pixels)] = pixels
        features: NDArray[np.float32] = self.backbone.encode_image(batch).numpy()[: len(pixels)]
        return features
