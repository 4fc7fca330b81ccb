"""Several prompts of one attribute: the mean of their logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError

_CHUNK = 1 << 18


def average_prompts(
    prompt_logits: ArrayLike, owners: ArrayLike, *, out: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.floating[Any]]:
    """Return the logits of A attributes, each the mean of the logits of its prompts.

    For logits that are cached by prompt. `zero_shot_logits` averages while it computes them, text embeddings
    (``combine="embeddings"``, the usual ensemble) or logits (``combine="logits"``, what this function gives).

    Args:
        prompt_logits: (N, P) floats, in memory or mapped from a file; read in chunks.
        owners: (P,) which attribute each prompt belongs to, integers from 0 to A-1.
        out: (N, A) floats to fill; by default a new float32 array.

    Raises:
        InputError: an argument is wrong.

    Example:
        >>> average_prompts(np.array([[20.0, 22.0, 25.0]]), [0, 0, 1])
        array([[21., 25.]], dtype=float32)
    """
    logits_NP = arguments.array("prompt_logits", prompt_logits)
    if logits_NP.ndim != 2 or logits_NP.dtype.kind != "f":
        raise InputError(
            f"prompt_logits has shape {logits_NP.shape} and dtype {logits_NP.dtype}; expected (N, P) floats"
        )
    owners_P = arguments.integers("owners", owners)
    names = np.unique(owners_P)
    if len(owners_P) != logits_NP.shape[1] or not np.array_equal(names, np.arange(len(names))):
        raise InputError(
            f"owners has {len(owners_P)} entries, of the attributes {names.tolist()}; expected one for each of the "
            f"{logits_NP.shape[1]} prompts, and attributes numbered from 0 without a gap"
        )
    shape = (len(logits_NP), len(names))
    if out is None:
        out = np.empty(shape, np.float32)
    elif not isinstance(out, np.ndarray) or out.shape != shape or out.dtype.kind != "f" or not out.flags.writeable:
        raise InputError(f"out is {arguments.in_one_line(out)}; expected a writable array of floats, {shape}")
    means_PA = (owners_P[:, None] == names).astype(np.float64)
    means_PA /= means_PA.sum(axis=0)
    for start in range(0, shape[0], _CHUNK):
        chunk = slice(start, start + _CHUNK)
        out[chunk] = logits_NP[chunk].astype(np.float64) @ means_PA
    return out
