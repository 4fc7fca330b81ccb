"""The finished classifier of a run, with its backbone: from images to predictions."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from huggingface_hub import ModelCard, ModelHubMixin
from numpy.typing import NDArray
from PIL import Image

from dbpt import arguments
from dbpt.clip import Backbone, check_published, load_backbone_from_spec, zero_shot_weights
from dbpt.data.words import Words
from dbpt.environment import progress_bar
from dbpt.errors import InputError, foreign_errors
from dbpt.features import images as decoding
from dbpt.guesses.apply_method import label_suspects
from dbpt.guesses.linear_probe import AttributeProbe
from dbpt.runs.feature_classifier import FeatureClassifier, zero_shot_classifier
from dbpt.runs.pretrained import (
    StoredClassifier,
    check_new,
    downloaded,
    head_of,
    read_pretrained,
    with_origin,
    write_pretrained,
)
from dbpt.settings.config import FitConfig
from dbpt.storage.files import system_errors, write_atomically

if TYPE_CHECKING:
    import torch

    from dbpt.runs.exports import TorchClassifier, ZeroShotWeights


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image. All but ``path`` and ``error`` are None for a bad image.

    Attributes:
        path: the file; None for an image in memory.
        prediction: the name of the class with the largest probability.
        probabilities: (C,) float32.
        pseudo_attribute: the name of the largest of the ``attribute_probabilities``; None if none were asked for.
        attribute_probabilities: (A,) float32; None if none were asked for.
        error: why the image can't be read; None for a good image.
    """

    path: str | None
    prediction: str | None = None
    probabilities: NDArray[np.float32] | None = None
    pseudo_attribute: str | None = None
    attribute_probabilities: NDArray[np.float32] | None = None
    error: str | None = None


@dataclass(eq=False)
class Classifier(ModelHubMixin):
    """The chosen classifier of a run, with the run's words and settings; `dbpt.load` returns it.

    `save_pretrained` writes it to a folder of its own, and `push_to_hub` to a repository of the Hugging Face Hub, both
    by ``huggingface_hub.ModelHubMixin``; `from_pretrained` reads either.

    Attributes:
        backbone: the frozen CLIP.
        head: the classifier of features.
        words: the classes and attributes of the run.
        config: the settings of the run.
        probe: the one that guesses attributes, for ``--pseudo-method probe``; else None.
        card: the model card, Markdown; None if the run has none.
    """

    backbone: Backbone = field(repr=False)
    head: FeatureClassifier = field(repr=False)
    words: Words
    config: FitConfig = field(repr=False)
    probe: AttributeProbe | None = field(default=None, repr=False)
    card: str | None = field(default=None, repr=False)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # of the mixin's arguments, those that have a meaning here
        cls,
        folder: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        device: str = "auto",
        weights: str | Path | None = None,
    ) -> "Classifier":
        """Load what `save_pretrained` or `push_to_hub` wrote.

        Args:
            folder: a folder, or the name of a Hub repository, ``owner/name``.
            revision, token, cache_dir, force_download, local_files_only: for a repository, as in
                ``huggingface_hub.snapshot_download``.
            device: a torch device, or ``auto``: a GPU if there is one.
            weights: the backbone's local weights file; by default the one of its name in the folder.

        Returns:
            The classifier, with its backbone.

        Raises:
            InputError: for no such folder or repository, damaged files, and if the backbone is gone or changed.
        """
        path = arguments.path("folder", folder)
        if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
            options = {"revision": revision, "token": token, "cache_dir": cache_dir}
            flags = {"force_download": force_download, "local_files_only": local_files_only}
            path = downloaded(str(folder), **options, **flags)
        return cls.of(read_pretrained(path, weights), device)

    @classmethod
    def of(cls, stored: StoredClassifier, device: str) -> "Classifier":
        """Load the backbone of a stored classifier.

        Args:
            stored: what its folder holds.
            device: a torch device, or ``auto``: a GPU if there is one.

        Returns:
            The classifier.

        Raises:
            InputError: if the backbone is gone or changed.
        """
        check_published(stored.spec, stored.file)
        backbone = load_backbone_from_spec(stored.spec, device=device, weights=stored.weights)
        # config by name: what ModelHubMixin can't name it takes for settings, and copies, with the whole CLIP
        return cls(backbone, head_of(stored), stored.words, config=stored.config, probe=stored.probe, card=stored.card)

    def save_pretrained(self, save_directory: str | Path, *, overwrite: bool = False, **kwargs: Any) -> str | None:
        """Write the classifier to a folder of its own: config.json, model.safetensors, README.md.

        Args:
            save_directory: a new or empty folder, or with ``overwrite`` that of a saved classifier.
            overwrite: whether to replace a saved classifier. Folders of other content are never written to.
            kwargs: ``push_to_hub=True`` and more, as in ``huggingface_hub.ModelHubMixin.save_pretrained``;
                ``model_card_kwargs={"license": "mit", "base_model": "OWNER/NAME"}`` states both in the model card.

        Returns:
            The address of the commit with ``push_to_hub=True``, else None.

        Raises:
            InputError: for other folders, if they can't be written, and if the run has no model card.
        """
        folder = Path(save_directory)
        if self.card is None:
            raise InputError("the run has no README.md, its model card; fit again")
        check_new(folder, overwrite=overwrite)
        with system_errors(f"{folder}: cannot be written"), TemporaryDirectory() as built:
            super().save_pretrained(built, model_card_kwargs=kwargs.get("model_card_kwargs"))
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(Path(built).iterdir()):  # README.md first and the tensors last
                write_atomically(folder / path.name, path.read_bytes())
        if not kwargs.pop("push_to_hub", False):
            return None
        return str(self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs))

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the classifier to a repository of the Hugging Face Hub.

        Args:
            repo_id: ``owner/name``.
            kwargs: as in ``huggingface_hub.ModelHubMixin.push_to_hub``: private, token, commit_message,
                ``model_card_kwargs`` as in `save_pretrained`, and more.

        Returns:
            The address of the commit.

        Raises:
            InputError: if the Hub doesn't take it.
        """
        with foreign_errors(f"{repo_id!r}: the Hub did not take it"):
            return str(super().push_to_hub(repo_id, **kwargs))

    def _save_pretrained(self, save_directory: Path) -> None:
        write_pretrained(save_directory, self.backbone, self.head, self.words, self.config, self.probe)

    def generate_model_card(
        self, *args: Any, license: str | None = None, base_model: str | None = None, **kwargs: Any
    ) -> ModelCard:
        """Return the model card of the run, for `save_pretrained`.

        Args:
            args, kwargs: anything else in ``model_card_kwargs``; the card doesn't depend on it.
            license: the license of the classifier, by the Hub's name, such as ``"mit"``. None: as in the card.
            base_model: the model of the Hub that it is based on. None: as in the card, which knows open_clip's.

        Returns:
            The card.

        Raises:
            InputError: for a license or a base model that is no text.
        """
        assert self.card is not None
        return with_origin(self.card, license=license, base_model=base_model)

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C,) in index order."""
        return tuple(self.words.classes)

    @property
    def knows_attributes(self) -> bool:
        """True if it tells groups of class and attribute apart, and so has the probability of each attribute."""
        return self.head.weights.ndim == 3 and not self.config.has_unnamed_groups

    def to_torch(self, *, features: bool = False) -> "TorchClassifier":
        """Return the classifier as a ``torch.nn.Module`` on the device of the backbone.

        Args:
            features: leave out the image tower: from features (N, D) to logits, instead of from images.

        Returns:
            A module from preprocessed images (B, 3, H, W) float32 to logits (B, C), with a copy of the image tower.

        Raises:
            InputError: for a registered head whose ``logits`` don't work with tensors.
        """
        from dbpt.runs.exports import TorchClassifier, check_tensors_work

        check_tensors_work(self.head)
        tower = None if features else self.backbone.model.get_submodule("visual")
        return TorchClassifier(self.head, tower).to(self.backbone.device)

    def zero_shot_weights(self) -> "ZeroShotWeights":
        """Return the matrix that open_clip's zero-shot code takes.

        Returns:
            Weights (D, K), bias (K,), and the class of each of the K columns, on the CPU.

        Raises:
            InputError: for the head ``adapter``, and registered heads with ``logits`` of their own.
        """
        from dbpt.runs.exports import ZeroShotWeights

        return ZeroShotWeights.of(self.head)

    def to_onnx(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write image tower and head as one ONNX file, which is checked in onnxruntime before it is there.

        The input is ``images`` (B, 3, H, W) float32, the outputs are ``logits`` and ``probabilities``, (B, C) float32.
        The metadata has classes, attributes and preprocessing as JSON.

        Args:
            path: the file.
            overwrite: whether to replace it.

        Raises:
            InputError: for a file that exists or can't be written, a missing package (onnx, onnxruntime or onnxscript),
                a model of over 2 GB or that torch can't export, and a head that `to_torch` refuses.
        """
        from dbpt.runs.exports import write_onnx

        write_onnx(Path(path), self.to_torch().cpu(), self.words, self.backbone, overwrite=overwrite)

    @overload
    def predict(self, images: Image.Image, *, attributes: bool = ..., batch_size: int | None = ...) -> Prediction: ...
    @overload
    def predict(
        self,
        images: "str | os.PathLike[str] | NDArray[np.uint8] | torch.Tensor",
        *,
        attributes: bool = ...,
        batch_size: int | None = ...,
    ) -> Any: ...  # a file or a folder, an image or several
    @overload
    def predict(
        self, images: Iterable[decoding.ImageSource], *, attributes: bool = ..., batch_size: int | None = ...
    ) -> Iterator[Prediction]: ...
    def predict(
        self,
        images: "decoding.ImageSource | Iterable[decoding.ImageSource]",
        *,
        attributes: bool = False,
        batch_size: int | None = None,
    ) -> Prediction | Iterator[Prediction]:
        """Classify images without a cache.

        The same list gives the same bytes. In another list, or in `dbpt.evaluate`, an image's probabilities may differ
        in the last digits, with the batch's shape.

        Args:
            images: a path, a folder, which is searched for image files, a ``PIL.Image``, an array (H, W, 3) uint8, a
                tensor (3, H, W), uint8 or floats from 0 to 1, or an iterable of these. Arrays (N, H, W, 3) and tensors
                (N, 3, H, W) are N images. A folder, and a list of one image, give an iterator too.
            attributes: add pseudo attributes, zero-shot by the sentences of the run's attributes, or by the run's
                probe. A classifier with group prompts has its own, and adds them in any case.
            batch_size: images that the image tower sees at a time, by default the run's ``embed_batch_size``; the last
                batch is filled up to a power of two.

        Returns:
            A `Prediction` for one image, else an iterator of them, in order. An image that can't be decoded gives an
            ``error`` in its place.

        Raises:
            InputError: at once, for no image, for arrays and tensors of another shape, dtype or range, and for
                ``attributes`` if the run has none to guess.
        """
        attributes &= not self.knows_attributes
        if attributes and self.config.lacks_words:
            groups = "clusters within the classes" if self.config.coded is None else "the values of a column as groups"
            raise InputError(f"--with-attribute: the run has {groups}; use dbpt evaluate")
        if attributes and not self.words.attributes:
            raise InputError("--with-attribute: the run was trained without an attribute, so there is none to guess")
        if attributes and self.probe is not None and self.config.label_model is not None:
            raise InputError("--with-attribute: the run's probe reads features of --label-model; use dbpt evaluate")
        size = self.config.embed_batch_size if batch_size is None else batch_size
        size = arguments.integer("batch_size", size, 1)
        predictions = self._predict(decoding.list_images(images), size, attributes)
        if not decoding.is_one_image(images):
            return predictions
        (prediction,) = predictions
        return prediction

    def _predict(self, images: list[Path | Image.Image], size: int, attributes: bool) -> Iterator[Prediction]:
        def crop(source: Path | Image.Image) -> NDArray[np.uint8] | str:
            try:
                return decoding.read_crop(source, self.backbone.preprocess.crop)
            except decoding.UnreadableImage as error:
                return str(error)

        labeller: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
        if attributes and self.probe is not None:
            labeller = self.probe.logits
        elif attributes:
            weights = zero_shot_weights(self.backbone, *self.words.attribute_texts())
            labeller = zero_shot_classifier(self.backbone, weights).logits
        with decoding.decoding_threads() as pool, progress_bar("predicting", "img", total=len(images)) as bar:
            for begin in range(0, len(images), size):
                batch = images[begin : begin + size]
                with decoding.pillow_warnings():  # not around the yield, as it holds for the whole process
                    decoded = list(pool.map(crop, batch))
                power_of_two = 1 << (len(batch) - 1).bit_length()
                yield from self._classify(batch, decoded, min(size, power_of_two), labeller)
                bar.update(len(batch))

    def _classify(
        self,
        images: list[Path | Image.Image],
        decoded: list[NDArray[np.uint8] | str],
        rows: int,
        labeller: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None,
    ) -> Iterator[Prediction]:
        """Classify up to ``rows`` images in one forward pass; an unreadable image leaves its place empty."""
        if not all(isinstance(pixels, str) for pixels in decoded):
            batch = np.zeros((rows, *self.backbone.preprocess.size, 3), dtype=np.uint8)
            for slot, pixels in zip(batch, decoded, strict=False):
                slot[:] = 0 if isinstance(pixels, str) else pixels
            features = self.backbone.encode_image(batch).numpy()
            probabilities = self.head.probabilities(features)
            classes = _likeliest(probabilities, list(self.words.classes))
            attributes: list[Any] = [()] * rows
            if self.knows_attributes:
                attributes = _likeliest(self.head.attribute_probabilities(features), list(self.words.attributes))
            elif labeller is not None:
                logits, labels = labeller(features), probabilities.argmax(axis=1)
                guesses = label_suspects(logits, labels, self.words, method="argmax", fit_on=None)
                assert guesses.posterior is not None
                attributes = _likeliest(guesses.posterior, list(self.words.attributes))
        for i, (image, pixels) in enumerate(zip(images, decoded, strict=True)):
            path = str(image) if isinstance(image, Path) else None
            if isinstance(pixels, str):
                yield Prediction(path, error=pixels)
            else:
                yield Prediction(path, *classes[i], *attributes[i])


def _likeliest(probabilities: NDArray[np.float32], names: list[str]) -> list[tuple[str, NDArray[np.float32]]]:
    """Return the most probable name for each row of probabilities (N, K), and the row."""
    return [(names[int(row.argmax())], row) for row in probabilities]
