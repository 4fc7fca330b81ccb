"""A GPU without values on a machine that has none, to find tensors that are left on the CPU.

Tensors on ``cuda`` are torch's fake tensors: they have a shape, a dtype and a device, and an operation on two devices
is refused as by a real GPU. Tensors on the CPU are real. So all code runs, except for the backward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from dbpt.clip import chunked_text_tower
from dbpt.training import device_features
from dbpt.training.gradients import Gradients

aten = torch.ops.aten


class PretendedGpu(FakeTensorMode):
    """Inside, ``cuda`` can be used. A tensor that is copied from it to the CPU gets numbers by `drawn`.

    operations: how many have run on it. losses: how many losses training has computed on it.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.operations = self.losses = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        kwargs.pop("pin_memory", None)
        leaves = tree_leaves((args, kwargs))
        is_fake = any(isinstance(leaf, FakeTensor) for leaf in leaves)
        if not is_fake and not any(isinstance(leaf, torch.device) and leaf.type == "cuda" for leaf in leaves):
            return func(*args, **kwargs)
        self.operations += 1
        if func.overloadpacket is aten.to:  # arrives whole in inference mode
            with self:
                return func.decompose(*args, **kwargs)
        if func is aten._to_copy.default and kwargs.get("device") == torch.device("cpu"):
            return drawn(args[0], kwargs.get("dtype"))
        if func is aten.copy_.default and not isinstance(args[0], FakeTensor):
            return args[0].copy_(drawn(args[1]))
        if func is aten._local_scalar_dense.default:
            return drawn(args[0]).item()
        if func is aten.nonzero.default:  # as many as there can be
            return args[0].new_zeros(args[0].numel(), args[0].ndim, dtype=torch.int64)
        args, kwargs = tree_map_only(torch.Tensor, _without_history, (args, kwargs))
        return super().__torch_dispatch__(func, types, args, kwargs)


def _without_history(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if isinstance(tensor, FakeTensor) else tensor.detach()


def drawn(like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Real numbers for a fake tensor, equal for equal shapes: 0, or fractions, which add up to 1 in rows."""
    dtype = dtype or like.dtype
    if not dtype.is_floating_point:
        return torch.zeros(like.shape, dtype=dtype)
    numbers = torch.rand(like.shape, generator=torch.Generator().manual_seed(0))
    return (numbers.softmax(dim=1) if like.ndim == 2 else numbers).to(dtype)


@contextmanager
def pretended_gpu(free: int = 1 << 40) -> Iterator[PretendedGpu]:
    """`PretendedGpu` with ``free`` bytes of memory, on which training does everything but the backward pass."""

    def zero_gradients(training: Gradients, ends: list[torch.Tensor], _: list[torch.Tensor | None]) -> None:
        assert all(end.device.type == "cuda" and end.requires_grad for end in ends)
        gpu.losses += 1
        for parameter in training.head.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def some_bytes(tower: nn.Module, context: torch.Tensor) -> int:  # fake tensors have no addresses to count
        with torch.enable_grad():
            assert tower(context.detach().requires_grad_()).device.type == "cuda"
        return 100 * chunked_text_tower.MB

    def apply(module: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
        """`nn.Module._apply`, which can't put a fake tensor in the place of another one."""
        for each in module.modules():
            for name, parameter in each.named_parameters(recurse=False):
                each._parameters[name] = nn.Parameter(change(parameter.detach()), parameter.requires_grad)
            for name, buffer in each.named_buffers(recurse=False):
                each._buffers[name] = change(buffer)
        return module

    with pytest.MonkeyPatch.context() as patch, PretendedGpu() as gpu:
        patch.setattr(Gradients, "_backward", zero_gradients)
        patch.setattr(torch.autograd, "grad", lambda ends, of, *_, **__: [torch.zeros_like(one) for one in of])
        patch.setattr(device_features, "_free", lambda device: free)
        patch.setattr(chunked_text_tower, "activation_bytes", some_bytes)
        patch.setattr(nn.Module, "_apply", apply)
        yield gpu
