"""The finished classifier of a run: features to logits by what the head learnt, and the same with its backbone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.errors import InputError
from dbpt.heads import Head
from dbpt.settings.config import FitConfig


@dataclass(frozen=True)
class FeatureClassifier:
    """The logits of a finished head, by its class ``head``, from the ``tensors`` of ``classifier.safetensors``.

    Every head has, in float32, ``weights`` (C, D), ``logit_scale`` (1,), and ``logit_bias`` (1,) or (C,), and may add
    more. Raises `KeyError` if one is missing, `ValueError` for a wrong shape or dtype, NaN or an infinity.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    head: type[Head]

    def __post_init__(self) -> None:
        shapes: dict[str, list[tuple[int, ...]]] = {"logit_scale": [(1,)], "logit_bias": [(1,), (len(self.weights),)]}
        shapes |= {name: [shape] for name, shape in self.head.tensor_shapes(self.tensors).items()}
        for name, expected in shapes.items():
            if (found := self.tensors[name].shape) not in expected:
                raise ValueError(f"{name} has shape {found}, expected {' or '.join(map(str, expected))}")
        for name, tensor in self.tensors.items():
            if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                raise ValueError(f"{name} holds other than finite float32")

    @property
    def weights(self) -> NDArray[np.float32]:
        """(C, D) float32."""
        return self.tensors["weights"]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, C) float32 of unit features (N, D)."""
        return self.head.logits(self.tensors, features)

    def predictions(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the (N,) int64 class of the largest logit."""
        classes: NDArray[np.int64] = self.logits(features).argmax(axis=1)
        return classes

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the softmax (N, C) float32 of the logits."""
        logits = self.logits(features)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True)
class Prediction:
    """One image: ``probabilities`` (C,) float32 and the name of the largest; or, for a bad image, ``error``."""

    path: str
    prediction: str | None
    probabilities: NDArray[np.float32] | None
    error: str | None


@dataclass(frozen=True)
class Classifier:
    """The chosen classifier of a run, as `dbpt.load` returns it, with the run's words and settings."""

    backbone: Backbone = field(repr=False)
    head: FeatureClassifier = field(repr=False)
    words: Words
    config: FitConfig = field(repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C,) in index order."""
        return tuple(self.words.classes)

    def predict(
        self, images: str | Path | Iterable[str | Path], *, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Classify an image file or several, in order, without a cache. A file that is no image gives an ``error``.

        The image tower sees ``batch_size`` images at a time, by default the run's ``embed_batch_size``; the last batch
        is filled up to a power of two. The same list gives the same bytes. In another list, or in `dbpt.evaluate`, an
        image's probabilities may differ in the last digits, with the batch's shape.
        """
        size = self.config.embed_batch_size if batch_size is None else batch_size
        if size < 1:
            raise InputError(f"batch_size is {size}, expected at least 1")
        return self._predict([Path(i) for i in ([images] if isinstance(images, str | Path) else images)], size)

    def _predict(self, images: list[Path], size: int) -> Iterator[Prediction]:
        from dbpt.features import UnreadableImage, decoding_threads, pillow_warnings, read_crop

        def crop(path: Path) -> NDArray[np.uint8] | str:
            try:
                return read_crop(path, self.backbone.preprocess.crop)
            except UnreadableImage as error:
                return str(error)

        with decoding_threads() as pool:
            for begin in range(0, len(images), size):
                paths = images[begin : begin + size]
                with pillow_warnings():  # not around the yield, as it holds for the whole process
                    decoded = list(pool.map(crop, paths))
                power_of_two = 1 << (len(paths) - 1).bit_length()
                yield from self._classify(paths, decoded, min(size, power_of_two))

    def _classify(self, paths: list[Path], decoded: list[NDArray[np.uint8] | str], rows: int) -> Iterator[Prediction]:
        """Run one forward pass of ``rows`` images, in which an unreadable one leaves its place empty."""
        if not all(isinstance(pixels, str) for pixels in decoded):
            batch = np.zeros((rows, *self.backbone.preprocess.size, 3), dtype=np.uint8)
            for place, pixels in zip(batch, decoded, strict=False):
                place[:] = 0 if isinstance(pixels, str) else pixels
            probabilities = self.head.probabilities(self.backbone.encode_image(batch).numpy())
        for i, (path, pixels) in enumerate(zip(paths, decoded, strict=True)):
            if isinstance(pixels, str):
                yield Prediction(str(path), None, None, pixels)
            else:
                yield Prediction(str(path), self.class_names[int(probabilities[i].argmax())], probabilities[i], None)
