"""Torch tensors among the arguments: recognised without importing torch, and brought to where they are used."""

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

# Tensors of these devices are copied to NumPy arrays. MPS has no float64.
HOST_DEVICES = ("cpu", "mps")


def is_tensor(value: object) -> TypeIs[torch.Tensor]:
    """Whether `value` is a torch tensor; nobody has one who has not imported torch."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(value, tensor)


def device_of(**values: object) -> torch.device | None:
    """Return the device of the last tensor that is not on a host device, None if there is none."""
    found = None
    for name, value in values.items():
        if is_tensor(value) and value.device.type not in HOST_DEVICES:
            if value.is_meta:
                raise InputError(f"{name} is a Tensor on device 'meta', which holds no values")
            found = value.device
    return found


def to_host(value: ArrayLike) -> ArrayLike:
    """Return a tensor as a NumPy array, without its gradient; of a type that NumPy lacks as float32, which holds it."""
    if not is_tensor(value):
        return value
    import torch

    tensor = value.detach().cpu()
    is_known = tensor.dtype in (torch.float16, torch.float32, torch.float64) or not tensor.is_floating_point()
    array: Any = (tensor if is_known else tensor.float()).numpy()
    return array  # type: ignore[no-any-return]


def integers(name: str, values: ArrayLike, device: torch.device | None) -> Any:
    """Return `values` as int64 (N,): a tensor on `device`, which isn't waited for, or without one an array."""
    if device is None or not is_tensor(values):
        return _moved(arguments.integers(name, to_host(values)), device)
    import torch

    if values.ndim != 1 or values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise InputError(f"{name} has shape {tuple(values.shape)} and dtype {values.dtype}; expected (N,) integers")
    return values.to(device, torch.int64)


def numbers(name: str, values: ArrayLike, device: torch.device | None, *, ndim: int = 1) -> Any:
    """Return `values` as floats (N,) or (N, A) without their gradient, as above; on a device as float64."""
    if device is None or not is_tensor(values):
        read = arguments.floats if ndim == 1 else arguments.matrix
        found = read(name, to_host(values))
        return _moved(found.astype(np.float32) if found.dtype == np.float16 else found, device)
    import torch

    if values.ndim != ndim or values.is_complex() or values.dtype == torch.bool:
        shape = "(N,)" if ndim == 1 else "(N, A)"
        raise InputError(f"{name} has shape {tuple(values.shape)} and dtype {values.dtype}; expected {shape} numbers")
    return values.detach().to(device, torch.float64)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """Return NumPy's or torch's ``where``, as the condition is an array or a tensor."""
    if not is_tensor(condition):
        return np.where(condition, yes, no)
    import torch

    return torch.where(condition, yes, no)


def beside(table: NDArray[Any], values: Any) -> Any:
    """Return the table where the values are: as it is, or on the device of a tensor."""
    return _moved(table, values.device if is_tensor(values) else None)


def check_length(name: str, found: int, expected: int, counts: str) -> None:
    """Refuse an array of another length than that of the other arguments."""
    if found != expected:
        raise InputError(f"{name} has length {found}; expected {expected} ({counts})")


def _moved(array: Any, device: torch.device | None) -> Any:
    if device is None:
        return array
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(device, torch.int64 if array.dtype.kind == "i" else torch.float64, non_blocking=True)
