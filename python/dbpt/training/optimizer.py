"""The optimizer of a head, its learning-rate schedule, and its state as tensors for a checkpoint."""

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
    """Return CoOp's learning rate for ``epoch``, from 0 (Zhou et al., 2022): a constant warm-up, then a cosine.

    It is 1e-5 (or ``lr`` if lower) during warm-up, then lr/2 * (1 + cos(pi * (epoch - warmup_epochs) / epochs)).
    """
    if epoch < warmup_epochs:
        return min(WARMUP_LR, lr)
    return 0.5 * lr * (1.0 + math.cos(math.pi * (epoch - warmup_epochs) / epochs))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state of each parameter under the names ``NUMBER.NAME``."""
    states = optimizer.state_dict()["state"].items()
    return {f"{i}.{name}": value for i, state in states for name, value in state.items() if value is not None}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
