"""A finished classifier in other formats: a PyTorch module, weights for open_clip's zero-shot code, one ONNX file.

The ONNX file holds image tower and head, with classes and preprocessing as metadata.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dbpt._core import __version__
from dbpt.clip import Backbone
from dbpt.data import Words
from dbpt.errors import InputError, foreign_errors, optional_module
from dbpt.heads.tensors import ByTensors
from dbpt.runs.feature_classifier import FeatureClassifier
from dbpt.storage.files import check_output, write_atomically

OPEN_CLIP_SCALE = 100
"""open_clip's zero-shot code multiplies cosines with it, whatever the model's own scale is."""


class TorchClassifier(torch.nn.Module):
    """The classifier of a run: from preprocessed images, or features, to logits. `dbpt.runs.classifier` builds it.

    It is in eval mode, float32 throughout, and nothing in it requires a gradient. Its state is the tensors of
    ``classifier.safetensors``, with ``_`` for the dots in their names, and the ``image_tower``.

    Args:
        classifier: the classifier of features.
        image_tower: open_clip's image tower, of which it gets a copy; None for a module that takes features.
    """

    def __init__(self, classifier: FeatureClassifier, image_tower: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.head = classifier.head
        self.buffer_names = {name: name.replace(".", "_") for name in sorted(classifier.tensors)}
        for name, buffer_name in self.buffer_names.items():
            self.register_buffer(buffer_name, torch.from_numpy(classifier.tensors[name].copy()))
        self.image_tower = None if image_tower is None else copy.deepcopy(image_tower).float()
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            images: (B, 3, H, W) float32, preprocessed; without an image tower, features (B, D) float32 of any length.

        Returns:
            (B, C) float32. With group prompts, the logarithm of the sum over the groups of each class.
        """
        features = images if self.image_tower is None else self.image_tower(images)
        if isinstance(features, tuple):  # CoCa's tower also returns its tokens
            features = features[0]
        tensors = {name: getattr(self, buffer_name) for name, buffer_name in self.buffer_names.items()}
        logits = self.head.all_logits(tensors, F.normalize(features, dim=-1))
        return logits if logits.ndim == 2 else logits.logsumexp(dim=2)


def check_tensors_work(classifier: FeatureClassifier) -> None:
    """Refuse a head whose ``logits`` don't work with tensors, or give other values than with NumPy's arrays.

    Args:
        classifier: that of `TorchClassifier`.

    Raises:
        InputError: with the name of the head.
    """
    module = TorchClassifier(classifier)
    problem = f"to_torch: the logits of the head {classifier.head.name}"
    hint = "write them with operators and methods that arrays and tensors both have (docs/how_to/extending.md)"
    draws = torch.randn(7, classifier.weights.shape[-1], generator=torch.Generator().manual_seed(0))
    features_ND = F.normalize(draws, dim=-1)
    with foreign_errors(f"{problem} don't work with torch's tensors", hint):
        # NumPy's functions fail on tensors without data ("meta"), but accept others, on which torch.export then fails.
        copy.deepcopy(module).to("meta")(features_ND.to("meta"))
        found_NC = module(features_ND).numpy()
    expected_NC = classifier.logits(features_ND.numpy())
    if not np.allclose(found_NC, expected_NC, rtol=0, atol=1e-4 * max(1, np.abs(expected_NC).max())):
        raise InputError(f"{problem} differ between torch tensors and NumPy arrays; {hint}")


@dataclass(frozen=True)
class ZeroShotWeights:
    """A classifier as open_clip's zero-shot code takes it: logits are ``100 * features @ weights + bias``.

    With group prompts each group of class and attribute has a column, class by class, and the probability of a class
    is the sum of the softmax over its columns. Otherwise K is C.

    Attributes:
        weights: (D, K) float32; ``features`` have length 1.
        bias: (K,) float32. A group that the words rule out has -10,000.
        class_of: (K,) int64, the class of each column.
    """

    weights: torch.Tensor
    bias: torch.Tensor
    class_of: torch.Tensor

    @classmethod
    def of(cls, classifier: FeatureClassifier) -> "ZeroShotWeights":
        """Return the weights of a classifier.

        Args:
            classifier: the classifier of features.

        Raises:
            InputError: for a head with a formula of its own, which has no such weights.
        """
        tensors, head = classifier.tensors, classifier.head
        if head.logits is not ByTensors.logits:
            raise InputError(f"zero_shot_weights: the head {head.name} is more than a matrix; use to_torch")
        weights = torch.from_numpy(tensors["weights"])
        scale = float(tensors["logit_scale"][0]) / OPEN_CLIP_SCALE
        outputs = weights.shape[:-1]
        classes = torch.arange(len(weights)).repeat_interleave(outputs.numel() // len(weights))
        bias = torch.from_numpy(tensors["logit_bias"]).expand(outputs).reshape(-1).clone()
        return cls((scale * weights.reshape(-1, weights.shape[-1])).T.contiguous(), bias, classes)


MOST_BYTES = 2_000_000_000
"""A protobuf file has less than 2 GiB; the graph needs some of them."""
ONNX = "onnx onnxruntime onnxscript"


class _Outputs(torch.nn.Module):
    def __init__(self, classifier: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.classifier(images)
        return logits, logits.softmax(dim=1)


@torch.no_grad()
def write_onnx(path: Path, classifier: torch.nn.Module, words: Words, backbone: Backbone, *, overwrite: bool) -> None:
    """Write an ONNX file that onnxruntime evaluates as torch evaluates the classifier.

    The input is ``images`` (B, 3, H, W) float32, the outputs are ``logits`` and ``probabilities``, (B, C) float32.

    Args:
        path: the file.
        classifier: on the CPU, from images to logits.
        words: the classes and attributes, which the metadata have, with the preprocessing, as JSON.
        backbone: the one of the classifier.
        overwrite: whether to replace the file.

    Raises:
        InputError: for a file that can't be written, missing packages, a tower that is too large or that torch can't
            export, and other results in onnxruntime. There is no new file then.
    """
    check_output("--onnx", path, overwrite=overwrite, ending=".onnx")
    for name in ("onnx", "onnxscript", "onnxruntime"):
        optional_module(name, "--onnx", ONNX)
    module, size = _Outputs(classifier).eval(), backbone.preprocess.size
    metadata = {
        "classes": list(words.classes),
        "attributes": list(words.attributes),
        "preprocessing": {"size": size, **backbone.spec["preprocess"]},
        "dbpt_version": __version__,
    }
    total = sum(tensor.numel() * tensor.element_size() for tensor in classifier.state_dict().values())
    if total > MOST_BYTES:
        raise InputError(f"--onnx {path}: the model has {total / 1e9:.1f} GB, and an ONNX file at most 2; use to_torch")
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(number, 3, *size, generator=generator) for number in (1, 3)]
    with foreign_errors(f"--onnx {path}: torch can't export this model", "use to_torch"):
        content = _exported(module, batches[-1], metadata)
    runtime = optional_module("onnxruntime", "--onnx", ONNX)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for images in batches:
        for expected, result in zip(module(images), session.run(None, {"images": images.numpy()}), strict=True):
            if not np.allclose(result, expected, rtol=0, atol=1e-4 * max(1.0, float(expected.abs().max()))):
                raise InputError(f"--onnx {path}: the results of onnxruntime differ from torch's; use to_torch")
    write_atomically(path, content, overwrite=overwrite)


@contextmanager
def _no_log() -> Iterator[None]:
    """Silence the exporter, which tells its progress as warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _exported(module: torch.nn.Module, images: torch.Tensor, metadata: Mapping[str, Any]) -> bytes:
    with warnings.catch_warnings(), _no_log():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (images,),
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]  # they have torch's stack traces, with paths of this machine
    model.metadata_props.extend(
        optional_module("onnx", "--onnx", ONNX).StringStringEntryProto(key=key, value=json.dumps(value))
        for key, value in metadata.items()
    )
    content: bytes = model.SerializeToString()
    return content
