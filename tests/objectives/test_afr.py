"""Automatic feature reweighting against a reference written here from the formulas (Qiu et al., 2023)."""

import numpy as np
import pytest
from plain_training import Regression, train_epoch
from test_papers import SETTINGS, TRAIN, alike, assert_same_layer, batches, lr_of, ours, start

from dbpt.objectives import OBJECTIVES
from dbpt.objectives.jtt_afr_dfr import held_out_rows

FIRST, GAMMA, PULL = 4, 3.0, 0.05
CHOICE = {"epochs": FIRST, "afr_gamma": GAMMA, "afr_pull": PULL}


def test_the_second_stage_goes_on_from_erm_with_its_weights_and_its_pull():
    trained, objective = ours("afr", **CHOICE)
    fresh, first, n = OBJECTIVES["afr"](objective.training, **CHOICE), start(), len(TRAIN.labels)
    held_out = held_out_rows(TRAIN.labels, SETTINGS.seed)
    for epoch in range(FIRST):
        visited = batches(fresh, epoch)
        assert sorted(np.concatenate(visited)) == np.flatnonzero(~held_out).tolist()
        train_epoch(first, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), alike)
    p = first.probabilities(TRAIN.features)[np.arange(n), TRAIN.labels]
    np.testing.assert_allclose(objective.p_true, p, atol=1e-5)

    mu = np.zeros(n)
    for row in np.flatnonzero(held_out):
        mu[row] = np.exp(-GAMMA * p[row]) / (TRAIN.labels[held_out] == TRAIN.labels[row]).sum()
    mu /= mu.sum()
    layer = {"weights": first.weights.copy(), "bias": first.bias.copy()}
    second = Regression(first.weights.copy(), first.bias.copy(), pull=PULL, start=layer)
    for epoch in range(SETTINGS.epochs):
        visited = batches(objective, FIRST + epoch)
        assert sorted(np.concatenate(visited)) == np.flatnonzero(held_out).tolist()
        weigh = lambda rows, p: held_out.sum() * mu[rows]  # noqa: E731 - a batch is the mean of its rows
        train_epoch(second, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), weigh)
    assert_same_layer(trained, second)
    assert not np.allclose(second.weights, first.weights, atol=0.01)
    assert len(trained.history) == trained.best_epoch == FIRST + SETTINGS.epochs
    assert objective.note == f"the last layer is refitted on {held_out.sum()} of {n} rows"


@pytest.mark.parametrize(("size", "expected"), [(1, 0), (2, 1), (3, 1), (7, 1), (8, 2), (100, 20)])
def test_a_fifth_of_each_class_is_held_out_and_never_all_of_it(size, expected):
    labels = np.array([0] * 50 + [1] * size)
    subsets = [held_out_rows(labels, seed) for seed in range(30)]
    for held_out in subsets:
        assert np.bincount(labels[held_out], minlength=2).tolist() == [10, expected]
    assert len({subset.tobytes() for subset in subsets}) == 30
