"""The optimizer of a head, and its state as tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from dbpt.training.records import TrainingSettings


def build_optimizer(parameters: Iterable[torch.nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer that ``settings`` names, one of `config.OPTIMIZERS`."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.sgd_momentum, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What the optimizer has gathered about each parameter, as ``NUMBER.NAME``."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(optimizer.param_groups[0]["params"])
        for name, value in optimizer.state[parameter].items()
        if value is not None
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore what `optimizer_tensors` gave."""
    parameters = optimizer.param_groups[0]["params"]
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        # torch keeps AdamW's count of steps on the CPU
        optimizer.state[parameter][name] = value if name == "step" else value.to(parameter.device)
