"""The optimizer of a head: how it is built, its learning-rate schedule, its state as tensors for a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch

from dbpt.training.records import TrainingSettings

WARMUP_LR = 1e-5


def build_optimizer(parameters: Iterable[torch.nn.Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer that ``settings`` names."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, settings.lr, settings.sgd_momentum, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(parameters, settings.lr, weight_decay=settings.weight_decay)


def learning_rate(epoch: int, *, lr: float, epochs: int, warmup_epochs: int) -> float:
    """Return CoOp's learning rate of ``epoch``, from 0 (Zhou et al., 2022): a constant warm-up, then a cosine.

    1e-5, or ``lr`` if lower, while warming up, then lr/2 * (1 + cos(pi * (epoch - warmup_epochs) / epochs)).
    """
    if epoch < warmup_epochs:
        return min(WARMUP_LR, lr)
    return 0.5 * lr * (1.0 + math.cos(math.pi * (epoch - warmup_epochs) / epochs))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state of each parameter, under the names ``NUMBER.NAME``."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(optimizer.param_groups[0]["params"])
        for name, value in optimizer.state[parameter].items()
        if value is not None
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    parameters = optimizer.param_groups[0]["params"]
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        # torch keeps AdamW's count of steps on the CPU
        optimizer.state[parameter][name] = value if name == "step" else value.to(parameter.device)
