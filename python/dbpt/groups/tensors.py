"""Torch tensors as arguments: recognised without importing torch, and copied to NumPy arrays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dbpt import arguments
from dbpt.errors import InputError

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs


def is_tensor(value: object) -> TypeIs[torch.Tensor]:
    """Return whether `value` is a torch tensor, without importing torch: a tensor exists only if that was done."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(value, tensor)


def on_accelerator(value: object) -> TypeIs[torch.Tensor]:
    """Return whether `value` is a dense tensor on a GPU or its like."""
    return is_tensor(value) and value.device.type not in ("cpu", "meta") and str(value.layout) == "torch.strided"


def to_host(name: str, value: ArrayLike) -> ArrayLike:
    """Return a tensor as a NumPy array without its gradient; types that NumPy lacks, such as bfloat16, as float32."""
    if not is_tensor(value):
        return value
    import torch

    try:
        tensor = value.detach().cpu()
        is_known = tensor.dtype in (torch.float16, torch.float32, torch.float64) or not tensor.is_floating_point()
        array: NDArray[Any] = (tensor if is_known else tensor.float()).numpy()
    except (RuntimeError, TypeError, ValueError):
        raise InputError(
            f"{name} is a tensor that cannot be copied to the host ({value.layout}, {value.device})"
        ) from None
    return array


def integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Return `values`, an array or a tensor, as int64 (N,)."""
    return arguments.integers(name, to_host(name, values))


def numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return `values`, an array or a tensor, as float32 or float64 (N,)."""
    found = arguments.floats(name, to_host(name, values))
    return found.astype(np.float32) if found.dtype == np.float16 else found


def check_length(name: str, found: int, expected: int, counts: str) -> None:
    """Refuse an array whose length differs from that of the other arguments."""
    if found != expected:
        raise InputError(f"{name} has length {found}; expected {expected} ({counts})")
