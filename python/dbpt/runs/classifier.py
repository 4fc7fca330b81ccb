"""The result of a run as something to use: what the head has learnt, its backbone, and the class names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.settings.config import FitConfig


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

    head: from features to logits, one for each of ``class_names``.
    words: the run's classes and attributes with their wordings.
    config: the run's settings.
    """

    backbone: Backbone
    head: FeatureClassifier
    words: Words
    config: FitConfig

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C,) in index order."""
        return tuple(self.words.classes)

    def predict_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities (N, C) float32 of unit features (N, D): the softmax of the logits."""
        return self.head.probabilities(features)

    def predict(self, images: Sequence[str | Path], *, batch_size: int | None = None) -> Iterator[Prediction]:
        """Classify image files, in order, without a cache. A file that is no image gives an ``error``.

        The image tower sees ``batch_size`` images at a time, by default the run's ``embed_batch_size``; the last batch
        is filled up to a power of two, so that a single image costs one. The same list gives the same bytes. In another
        list, or beside `dbpt.evaluate`, an image's probabilities may differ in the last digits, as the order of sums
        in a forward pass depends on the batch's shape.
        """
        from dbpt.features import decoding_threads, pillow_warnings

        size = self.config.embed_batch_size if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"batch_size is {size}, expected at least 1")
        with decoding_threads() as pool:
            for begin in range(0, len(images), size):
                paths = [Path(image) for image in images[begin : begin + size]]
                with pillow_warnings():  # not around the yield, as it holds for the whole process
                    decoded = list(pool.map(self._crop, paths))
                yield from self._classify(paths, decoded, min(size, _power_of_two(len(paths))))

    def _crop(self, path: Path) -> NDArray[np.uint8] | str:
        """The crop that the tower sees, or why there is none."""
        from dbpt.features import UnreadableImage, read_crop

        try:
            return read_crop(path, self.backbone.preprocess.crop)
        except UnreadableImage as error:
            return str(error)

    def _classify(self, paths: list[Path], decoded: list[NDArray[np.uint8] | str], rows: int) -> Iterator[Prediction]:
        """One forward pass of a batch of ``rows``, in which what failed leaves its place empty."""
        if not all(isinstance(pixels, str) for pixels in decoded):
            batch = np.zeros((rows, *self.backbone.preprocess.size, 3), dtype=np.uint8)
            for place, pixels in zip(batch, decoded, strict=False):
                place[:] = 0 if isinstance(pixels, str) else pixels
            probabilities = self.predict_features(self.backbone.encode_image(batch).numpy())
        for i, (path, pixels) in enumerate(zip(paths, decoded, strict=True)):
            if isinstance(pixels, str):
                yield Prediction(str(path), None, None, pixels)
            else:
                yield Prediction(str(path), self.class_names[int(probabilities[i].argmax())], probabilities[i], None)


def _power_of_two(number: int) -> int:
    """The next power of two, itself included."""
    return 1 << (number - 1).bit_length()
