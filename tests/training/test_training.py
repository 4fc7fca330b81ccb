"""The training loop: seeds, epochs, steps, the history and the best epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from toy_training import RUNS, SETTINGS, TRAIN, VAL, build, content, linear_head, run

from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.training import model_selection, train
from dbpt.training.loop import learning_rate


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    torch.manual_seed(1)
    first = content(run())
    torch.manual_seed(2)
    assert content(run()) == first
    other = content(run(replace(SETTINGS, seed=1)))
    assert other[0] != first[0]


def test_each_epoch_visits_every_row_once_in_an_order_of_its_own():
    settings, batches = replace(SETTINGS, epochs=3, warmup_epochs=0), []
    head = nn.Linear(6, 2)
    head.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0]) if torch.is_grad_enabled() else None)
    groups = TrainingGroups(TRAIN.groups, TRAIN.labels, 2, 4)
    train(head, OBJECTIVES["erm"](groups), TRAIN, VAL, settings)
    assert [len(batch) for batch in batches[:6]] == [16, 16, 16, 16, 16, 10]
    epochs = torch.cat(batches).reshape(3, 90, 6)
    everyone = sorted(map(tuple, TRAIN.features.tolist()))
    assert all(sorted(map(tuple, epoch.tolist())) == everyone for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_every_objective_apply_and_optimizer_gives_another_training():
    states = [str(content(run(**choice))[0]) for choice in RUNS]
    assert len(set(states)) == len(states)


def test_no_pass_sees_more_rows_than_it_may(monkeypatch):
    monkeypatch.setattr(model_selection, "BLOCK_ROWS", 17)
    head, sizes = linear_head(), []
    head.register_forward_pre_hook(lambda _, inputs: sizes.append((torch.is_grad_enabled(), len(inputs[0]))))
    train(head, build("jtt", identification_epochs=1), TRAIN, VAL, replace(SETTINGS, epochs=1))
    without_gradient = [size for with_gradient, size in sizes if not with_gradient]
    validation = [17] * 3 + [9]
    assert without_gradient == [17] * 5 + [5] + validation + validation  # 90 training rows, then 60 of validation twice


def test_the_history_tells_rates_losses_weights_and_scores():
    history = run().history
    assert [record.epoch for record in history] == [1, 2, 3, 4, 5]
    rates = [learning_rate(epoch, lr=0.3, epochs=5, warmup_epochs=1) for epoch in range(5)]
    assert [record.lr for record in history] == rates
    assert history[-1].loss < history[0].loss
    assert len(history[0].group_weights) == len(history[0].mean_p_true) == 4
    assert all(0 <= record.val_wga <= record.val_average <= 1 for record in history)
    erm = run(objective="erm").history
    assert erm[0].group_weights is None
    assert erm[0].mean_p_true is None


def test_adamw_makes_the_steps_that_its_paper_gives():
    """Loshchilov and Hutter, 2019, algorithm 2, with torch's betas and eps, written out for two epochs in one batch."""
    settings = replace(SETTINGS, epochs=2, batch_size=0, warmup_epochs=0, model_selection="last", weight_decay=0.1)
    state = run(settings, objective="erm", optimizer="adamw").head_state
    parameters = np.concatenate([np.linspace(-1, 1, 12).reshape(2, 6), np.zeros((2, 1))], axis=1)
    inputs = np.concatenate([TRAIN.features.astype(np.float64), np.ones((90, 1))], axis=1)
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    for step in (1, 2):
        lr = learning_rate(step - 1, lr=0.3, epochs=2, warmup_epochs=0)
        p = np.exp(inputs @ parameters.T)
        p /= p.sum(1, keepdims=True)
        gradient = (p - np.eye(2)[TRAIN.labels]).T @ inputs / 90
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        move = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        parameters = parameters - lr * 0.1 * parameters - lr * move
    np.testing.assert_allclose(state["weight"], parameters[:, :6], atol=2e-6)
    np.testing.assert_allclose(state["bias"], parameters[:, 6], atol=2e-6)


def test_a_batch_size_of_0_is_one_batch_of_all_rows():
    assert content(run(replace(SETTINGS, batch_size=0))) == content(run(replace(SETTINGS, batch_size=90)))


@pytest.mark.parametrize("model_selection", ["pseudo-wgp", "pseudo-wga", "average", "last"])
def test_the_best_epoch_is_the_first_of_equals(model_selection):
    trained = run(replace(SETTINGS, model_selection=model_selection, lr=1.0, epochs=8))
    scores = {
        "pseudo-wgp": [(record.val_wgp, record.val_average) for record in trained.history],
        "pseudo-wga": [(record.val_wga, record.val_average) for record in trained.history],
        "average": [record.val_average for record in trained.history],
        "last": [record.epoch for record in trained.history],
    }[model_selection]
    assert trained.best_epoch == 1 + scores.index(max(scores))
