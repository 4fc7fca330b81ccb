"""A finished classifier as one ONNX file: image tower and head, with classes and preprocessing as metadata."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dbpt._core import __version__
from dbpt.errors import InputError, foreign_error, optional_module
from dbpt.storage.files import check_output, write_atomically

MOST_BYTES = 2_000_000_000
"""A protobuf file has less than 2 GiB; the graph needs some of them."""


class _Outputs(torch.nn.Module):
    def __init__(self, classifier: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.classifier(images)
        return logits, logits.softmax(dim=1)


def check_can_write(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that can't be written, and missing packages.

    Args:
        path: the ONNX file.
        overwrite: whether it may exist.

    Raises:
        InputError: in either case.
    """
    check_output("--onnx", path, overwrite=overwrite)
    for name in ("onnx", "onnxscript", "onnxruntime"):
        optional_module(name, "--onnx", "onnx")


@torch.no_grad()
def write_onnx(
    path: Path, classifier: torch.nn.Module, size: tuple[int, int], metadata: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Write an ONNX file that onnxruntime evaluates as torch evaluates the classifier.

    The input is ``images`` (B, 3, H, W) float32, the outputs are ``logits`` and ``probabilities``, (B, C) float32.

    Args:
        path: the file.
        classifier: on the CPU, from images to logits.
        size: height and width of the images.
        metadata: values that become JSON.
        overwrite: whether to replace the file.

    Raises:
        InputError: for a tower that is too large or that torch can't export, other results in onnxruntime, and a file
            that can't be written. There is no new file then.
    """
    state, module = classifier.state_dict().values(), _Outputs(classifier).eval()
    if (found := sum(tensor.numel() * tensor.element_size() for tensor in state)) > MOST_BYTES:
        raise InputError(f"--onnx {path}: the model has {found / 1e9:.1f} GB, and an ONNX file at most 2; use to_torch")
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(number, 3, *size, generator=generator) for number in (1, 3)]
    try:
        content = _exported(module, batches[-1], {**metadata, "dbpt_version": __version__})
    except Exception as error:  # the tower is code of others, as is the exporter
        raise InputError(
            f"--onnx {path}: torch can't export this model ({foreign_error(error)}); use to_torch"
        ) from error
    runtime = optional_module("onnxruntime", "--onnx", "onnx")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for images in batches:
        for expected, result in zip(module(images), session.run(None, {"images": images.numpy()}), strict=True):
            if not np.allclose(result, expected, rtol=0, atol=1e-4 * max(1.0, float(expected.abs().max()))):
                raise InputError(f"--onnx {path}: onnxruntime computes other results than torch; use to_torch")
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
        optional_module("onnx", "--onnx", "onnx").StringStringEntryProto(key=key, value=json.dumps(value))
        for key, value in metadata.items()
    )
    content: bytes = model.SerializeToString()
    return content
