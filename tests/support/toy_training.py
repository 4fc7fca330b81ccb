"""A small training on made-up rows: two classes, two attributes, a tenth of the rows without a group."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dbpt.heads import AdapterHead
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.settings.config import FitConfig
from dbpt.training import Rows, Trained, train

SETTINGS = FitConfig(epochs=5, batch_size=16, optimizer="sgd", lr=0.3, model_selection="pseudo-wga")


def rows(n: int, seed: int) -> Rows:
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 2, n)
    attributes = np.where(draws.random(n) < 0.8, labels, 1 - labels)
    features = draws.normal(0, 0.8, (n, 6)) + np.outer(2 * labels - 1, [1, 0, 0, 0, 0, 0])
    features += np.outer(2 * attributes - 1, [0, 2, 0, 0, 0, 0])
    groups = np.where(draws.random(n) < 0.1, -1, 2 * labels + attributes)
    return Rows(features.astype(np.float32), labels, groups)


TRAIN, VAL = rows(90, 0), rows(60, 1)
OBJECTIVE_SETTINGS = {
    "eta": 1.0,
    "ema_momentum": 0.5,
    "min_group_count": 0,  # the formulas alone: bounds have tests of their own
    "max_weight": float("inf"),
    "dro_step_size": 0.1,
    "identification_epochs": 2,
    "up_weight": 5.0,
    "epochs": 3,
    "afr_gamma": 3.0,
    "tau": 1.0,
    "afr_pull": 0.05,
}
RUNS = [
    *({"objective": name} for name, chosen in OBJECTIVES.items() if not chosen.refits and chosen.heads != ("prompt",)),
    *({"objective": name, "apply": "sampling"} for name, chosen in OBJECTIVES.items() if chosen.can_sample),
    {"objective": "dbpt", "optimizer": "adamw"},
    {"objective": "jtt", "optimizer": "adamw"},
]
"""Trainings of every objective that these heads can learn by; no two have the same result."""


def linear_head(outputs: int = 2) -> nn.Linear:
    head = nn.Linear(6, outputs)
    with torch.no_grad():
        head.weight.copy_(torch.linspace(-1, 1, 6 * outputs).reshape(outputs, 6))
        head.bias.zero_()
    return head


def head_for(objective: str) -> nn.Module:
    """The linear head, with the four groups if the objective needs them, or the adapter if it trains nothing else."""
    if OBJECTIVES[objective].heads != ("adapter",):
        return linear_head(2 if "class" in OBJECTIVES[objective].prompts else 4)
    return AdapterHead(torch.eye(2, 6), logit_scale=10.0, logit_bias=0.0, seed=0)


def build(name: str, training: Rows = TRAIN, *, apply: str = "loss", **settings: float | str) -> Objective:
    """The objective of that name over ``training``; settings that it doesn't have are left out."""
    groups = TrainingGroups(training.groups, training.labels, 2, 4)
    kind, values = OBJECTIVES[name], OBJECTIVE_SETTINGS | settings
    return kind(groups, apply=apply, **{setting: values[setting] for setting in kind.settings})


def run(
    settings: FitConfig = SETTINGS,
    objective: str = "dbpt",
    *,
    apply: str = "loss",
    eta: float = 1.0,
    optimizer: str = "sgd",
    **options,
) -> Trained:
    head, built = head_for(objective), build(objective, apply=apply, eta=eta)
    trained = train(head, built, TRAIN, VAL, replace(settings, optimizer=optimizer), **options)
    for name, value in trained.head_state.items():  # the head is left as it was in the best epoch
        assert torch.equal(head.state_dict()[name], value)
    return trained


def interrupted_after(epoch: int, path: Path, **options) -> None:
    """Train until the next epoch ends, whose checkpoint is not yet written."""

    def stop(record):
        if record.epoch == epoch + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(checkpoint_path=path, on_epoch=stop, **options)


def content(trained: Trained):
    state = {name: value.numpy().tobytes() for name, value in trained.head_state.items()}
    return state, trained.best_epoch, trained.history
