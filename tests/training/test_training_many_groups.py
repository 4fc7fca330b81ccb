"""Trainings with three classes and three attributes, empty cells and tiny groups."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import toy_training
from torch import nn

from dbpt.groups import MAX_WEIGHT, worst_group_accuracy
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.training import Rows, train

ROWS = 1200
FREE = {"min_group_count": 0.0, "max_weight": float("inf")}
SETTINGS = {"balanced": {}, "dbpt": {"eta": 1.0, "ema_momentum": 0.9}, "groupdro": {"dro_step_size": 0.01}}


def made_up(seed: int, spurious: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, 8), labels and attributes; no row of class 0 has attribute 2. Attributes show more than classes."""
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, 3, ROWS)
    attributes = np.where(draws.random(ROWS) < spurious, labels, draws.integers(0, 3, ROWS))
    attributes[(labels == 0) & (attributes == 2)] = 0
    features = draws.normal(0, 0.6, (ROWS, 8))
    features[np.arange(ROWS), labels] += 2
    features[np.arange(ROWS), 3 + attributes] += 4
    return features.astype(np.float32), labels, attributes


def trained_on(name: str, *, apply: str = "loss", batch_size: int = 0, **bounds: float):
    """Worst-group accuracy on other rows without the bias, and what the training rows weigh at the end.

    One row of class 0 is taken for a member of the empty cell.
    """
    features, labels, attributes = made_up(0, 0.95)
    attributes[np.flatnonzero(labels == 0)[0]] = 2
    groups = labels * 3 + attributes
    known = TrainingGroups(groups, labels, 3, 9)
    objective = OBJECTIVES[name](known, apply=apply, **SETTINGS[name], **bounds)
    val_features, val_labels, val_attributes = made_up(1, 0.0)
    settings = replace(toy_training.SETTINGS, optimizer="adamw", lr=0.05, warmup_epochs=0, model_selection="last")
    settings = replace(settings, epochs=60 if batch_size == 0 else 8, batch_size=batch_size)
    head = nn.Linear(8, 3)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    validation = Rows(val_features, val_labels, val_labels * 3 + val_attributes)
    train(head, objective, Rows(features, labels, groups), validation, settings)
    with torch.no_grad():
        correct = head(torch.from_numpy(val_features)).argmax(dim=1).numpy() == val_labels
    wga = worst_group_accuracy(correct, validation.groups)
    return wga, objective.rule.sample_weights(groups)


@pytest.mark.parametrize(("apply", "batch_size"), [("loss", 0), pytest.param("sampling", 32, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_worst_group_is_good_within_the_bounds(name, apply, batch_size):
    wga, weights = trained_on(name, apply=apply, batch_size=batch_size)
    assert wga > 0.7
    assert weights.max() <= MAX_WEIGHT
    assert weights.sum() ** 2 / (weights**2).sum() > 60  # Kish's effective sample size


@pytest.mark.parametrize("name", SETTINGS)
def test_without_bounds_one_wrongly_labelled_row_has_the_mass_of_a_group(name):
    _, bounded = trained_on(name)
    _, free = trained_on(name, **FREE)
    assert free.max() > 0.9 * ROWS / 9
    assert bounded.max() < 0.5 * free.max()
