"""The context of a saved prompt, which a new one can start as (``--start-from``)."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.clip.text_tower.tower import token_embedding
from dbpt.errors import InputError
from dbpt.files.tensors import read_tensors
from dbpt.runs.run_folder import TENSORS_SCHEMA_VERSION

PROMPT, CONTEXT = "prompt.safetensors", "context"


def read_context(start_from: str) -> NDArray[np.float32]:
    """Return the context in the ``prompt.safetensors`` that is named, or that is in the run folder that is.

    It is (n_ctx, d), or (C, n_ctx, d) if class-specific.
    """
    path = Path(start_from)
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        if not os.path.lexists(path / PROMPT):
            raise InputError(
                f"--start-from {path}: has no {PROMPT}; name a finished run of the head prompt, or the file"
            )
        path = path / PROMPT
    way_out = "name the prompt of another run, or train this one again"
    tensors, _ = read_tensors(path, "prompt", version=TENSORS_SCHEMA_VERSION, way_out=way_out, needs=(CONTEXT,))
    context = tensors[CONTEXT]
    if context.dtype != np.float32 or context.ndim not in (2, 3) or not context.size:
        raise InputError(f"{path}: its context is {context.dtype} of shape {context.shape}; {way_out}")
    if not np.isfinite(context).all():
        raise InputError(f"{path}: its context has NaN or an infinity; {way_out}")
    return context


def check_context(
    context: NDArray[np.float32], start_from: str, backbone: Backbone, num_classes: int, *, class_specific: bool
) -> None:
    """Refuse a context of another width than the text tower's, or for another number of classes."""
    width, where = token_embedding(backbone.model).embedding_dim, f"--start-from {start_from}"
    if context.shape[-1] != width:
        raise InputError(
            f"{where}: its context has width {context.shape[-1]}, the text tower of {backbone.spec['model']} has "
            f"{width}; name a prompt that was trained with this model"
        )
    if class_specific and context.ndim == 2:
        raise InputError(f"{where}: all classes share its context; drop --class-specific-context")
    if not class_specific and context.ndim == 3:
        raise InputError(f"{where}: has a context for each class; add --class-specific-context")
    if class_specific and len(context) != num_classes:
        raise InputError(f"{where}: has contexts for {len(context)} classes, the data have {num_classes}")
