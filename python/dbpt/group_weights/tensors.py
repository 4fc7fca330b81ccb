"""Torch tensors among the arguments: recognised without importing torch, and brought to where they are added up."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from dbpt import arguments
from dbpt.errors import InputError

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

# What is on these is added up on the host. MPS has no float64.
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


def current_stream(device: torch.device) -> torch.Stream | None:
    """Return the stream that this thread works on; None on a device without streams."""
    import torch

    if device.type in ("cuda", "xpu"):
        stream: torch.Stream = getattr(torch, device.type).current_stream(device)
        return stream
    return None


def integers_on(device: torch.device, name: str, values: ArrayLike) -> torch.Tensor:
    """Return `values` as int64 (N,) on `device`; a tensor that is there isn't waited for."""
    import torch

    if not is_tensor(values):
        return torch.tensor(arguments.integers(name, values), device=device)
    if values.ndim != 1 or values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise InputError(f"{name} has shape {tuple(values.shape)} and dtype {values.dtype}; expected (N,) integers")
    return values.to(device, torch.int64)


def numbers_on(device: torch.device, name: str, values: ArrayLike, *, ndim: int = 1) -> torch.Tensor:
    """Return `values` as float64 (N,), or (N, A) for two dimensions, on `device`, without their gradient, as above."""
    import torch

    if not is_tensor(values):
        numbers = arguments.numbers(name, values) if ndim == 1 else arguments.matrix(name, values)
        return torch.tensor(numbers, dtype=torch.float64, device=device)
    if values.ndim != ndim or values.is_complex() or values.dtype == torch.bool:
        shape = "(N,)" if ndim == 1 else "(N, A)"
        raise InputError(f"{name} has shape {tuple(values.shape)} and dtype {values.dtype}; expected {shape} numbers")
    return values.detach().to(device, torch.float64)


def check_length(name: str, found: int, expected: int, counts: str) -> None:
    """Refuse a tensor of another length than that of the other arguments."""
    if found != expected:
        raise InputError(f"{name} has length {found}; expected {expected} ({counts})")
