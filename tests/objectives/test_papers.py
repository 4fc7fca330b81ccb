"""Whole training runs against plain references, written here from the papers' formulas."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import reference
import toy_training
from plain_training import Regression, train_epoch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from dbpt.errors import InputError
from dbpt.groups.ids import random_part
from dbpt.objectives import OBJECTIVES, Objective, TrainingGroups
from dbpt.objectives import jtt_afr_dfr as dfr
from dbpt.objectives.jtt_afr_dfr import refit_layer
from dbpt.objectives.other_losses import balanced_subsets
from dbpt.training import Trained, train
from dbpt.training.loop import draws_of_epoch, learning_rate

SETTINGS = replace(toy_training.SETTINGS, epochs=6, batch_size=20, model_selection="last", seed=3)
TRAIN, VAL = toy_training.rows(130, 0), toy_training.rows(60, 1)
COUNTS = np.bincount(TRAIN.groups[TRAIN.groups >= 0], minlength=4).astype(np.float64)


def ours(name: str, **settings: Any) -> tuple[Trained, Objective]:
    groups = TrainingGroups(TRAIN.groups, TRAIN.labels, 2, 4)
    objective = OBJECTIVES[name](groups, **settings)
    return train(toy_training.linear_head(), objective, TRAIN, VAL, SETTINGS), objective


def batches(objective: Objective, epoch: int) -> list[np.ndarray]:
    draws = draws_of_epoch(objective, SETTINGS.seed, epoch)
    return [draws.indices(i, min(i + 20, len(draws))) for i in range(0, len(draws), 20)]


def start() -> Regression:
    return Regression(toy_training.linear_head().weight.detach().double().numpy(), np.zeros(2))


def lr_of(epoch: int) -> float:
    return learning_rate(epoch, lr=0.3, epochs=SETTINGS.epochs, warmup_epochs=1)


def alike(rows: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.ones(len(rows))


def row_weights(group_weights: np.ndarray) -> np.ndarray:
    """(N,) by group; for unknown rows the mean over their class's known rows."""
    known = TRAIN.groups >= 0
    weights = np.where(known, group_weights[TRAIN.groups], 0.0)
    means = np.array([weights[known & (TRAIN.labels == y)].mean() for y in (0, 1)])
    return np.where(known, weights, means[TRAIN.labels])


MEMBERS = (TRAIN.groups[:, None] == np.arange(4)).astype(np.float64)
"""(N, G): 1 where a row is in a group."""


def assert_same_layer(trained: Trained, model: Regression) -> None:
    np.testing.assert_allclose(trained.head_state["weight"].numpy(), model.weights, atol=2e-4)
    np.testing.assert_allclose(trained.head_state["bias"].numpy(), model.bias, atol=2e-4)


def test_erm_is_plain_sgd_under_coops_schedule():
    trained, objective = ours("erm")
    model = start()
    for epoch in range(SETTINGS.epochs):
        train_epoch(model, batches(objective, epoch), TRAIN.features, TRAIN.labels, lr_of(epoch), alike)
    assert_same_layer(trained, model)


# --- Debiased prompt tuning: target ∝ (1 / N) exp(eta (1 - p)), and the EMA -------------------------------------------


def test_dbpts_weights_follow_target_and_ema():
    eta, momentum = 2.0, 0.6
    trained, objective = ours("dbpt", eta=eta, ema_momentum=momentum)
    rule, model = reference.GroupWeights(COUNTS, eta, momentum), start()

    def weigh(rows, p):
        rule.observe(TRAIN.groups[rows], p)
        return row_weights(rule.group_weights)[rows]

    for epoch in range(SETTINGS.epochs):
        train_epoch(model, batches(objective, epoch), TRAIN.features, TRAIN.labels, lr_of(epoch), weigh)
        rule.step()
        np.testing.assert_allclose(trained.history[epoch].group_weights, rule.group_weights, rtol=1e-5)
    assert_same_layer(trained, model)


# --- Group DRO: q *= exp(step size * mean loss), loss = sum q_g * L_g ------------------------------------------------


@pytest.mark.parametrize("apply", ["loss", "sampling"])
def test_group_dros_weight_trajectory(apply):
    """With sampling, groups are drawn uniformly and a row weighs q_g times their number, so each group is drawn."""
    step_size = 0.2
    trained, objective = ours("groupdro", apply=apply, dro_step_size=step_size)
    model, drawn_by = start(), np.ones(len(MEMBERS))
    if apply == "sampling":
        drawn_by = row_weights(COUNTS.sum() / 4 / COUNTS)
    rule = reference.GroupDRO(COUNTS, step_size, shares=drawn_by @ MEMBERS)

    def weigh(rows, p):
        rule.observe(TRAIN.groups[rows], -np.log(p))
        rule.step()
        return (row_weights(rule.group_weights) / drawn_by)[rows]

    for epoch in range(SETTINGS.epochs):
        visited = batches(objective, epoch)
        train_epoch(model, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), weigh)
        np.testing.assert_allclose(trained.history[epoch].group_weights, rule.group_weights, rtol=2e-4)
        if apply == "sampling":
            drawn = MEMBERS[np.concatenate(visited)].sum(0)
            np.testing.assert_allclose(drawn, drawn.mean(), atol=1)
            assert trained.history[epoch].draws == drawn.tolist()
    assert np.ptp(rule.q) > 0.1  # it has moved
    assert_same_layer(trained, model)


# --- Just Train Twice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apply", ["loss", "sampling"])
def test_jtts_error_set_and_up_weighting(apply):
    identification, up = 3, 7.0
    trained, objective = ours("jtt", identification_epochs=identification, up_weight=up, apply=apply)
    first, n = start(), len(TRAIN.labels)
    plain = OBJECTIVES["erm"](objective.training)
    for epoch in range(identification):
        train_epoch(first, batches(plain, epoch), TRAIN.features, TRAIN.labels, lr_of(epoch), alike)
    errors = first.probabilities(TRAIN.features).argmax(1) != TRAIN.labels
    assert 5 < errors.sum() < n / 2
    np.testing.assert_array_equal(objective.errors, errors)
    weights = np.where(errors, up, 1.0)
    weights *= n / weights.sum()  # the mean over a training set in which the errors stand `up` times

    second = start()  # from scratch, under the whole schedule
    for epoch in range(SETTINGS.epochs):
        visited = batches(objective, identification + epoch)
        if apply == "sampling":
            drawn = np.bincount(np.concatenate(visited), minlength=n)
            share = up * errors.sum() / (up * errors.sum() + (~errors).sum())
            assert drawn[errors].sum() == pytest.approx(n * share, abs=1)
            assert drawn.sum() == n
        weigh = alike if apply == "sampling" else lambda rows, p: weights[rows]
        train_epoch(second, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), weigh)
    assert objective.note == f"{errors.sum()} of {n} rows are in the error set"
    assert len(trained.history) == identification + SETTINGS.epochs
    assert trained.best_epoch == identification + SETTINGS.epochs
    assert_same_layer(trained, second)


def test_jtt_never_keeps_an_epoch_of_its_first_stage(monkeypatch):
    monkeypatch.setattr("test_papers.SETTINGS", replace(SETTINGS, model_selection="pseudo-wga", lr=1e-9))
    trained, _ = ours("jtt", identification_epochs=4, up_weight=2.0)
    assert trained.best_epoch == 5  # all epochs are alike, so the first of the second stage


# --- Deep feature reweighting, as the authors' dfr_evaluate_spurious.py does it ---------------------------------------


def l1_regression(c: float) -> LogisticRegression:
    with_l1 = {"penalty": "l1"} if LogisticRegression().l1_ratio is None else {"l1_ratio": 1.0}  # since 1.8
    return LogisticRegression(C=c, solver="liblinear", max_iter=1000, random_state=5, **with_l1)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_dfr_is_the_authors_procedure_by_scikit_learn(num_classes):
    """Standardised, L1, C by the worst group of the other half, then the mean of 20 layers on balanced subsets."""
    draws = np.random.default_rng(1)
    groups = np.repeat(np.arange(2 * num_classes), [60, 13, 20, 41, 30, 17][: 2 * num_classes])
    groups[::11] = -1
    labels = np.where(groups >= 0, groups // 2, draws.integers(0, num_classes, len(groups)))
    features = draws.normal(0, 1, (len(groups), 6)) * [1, 2, 3, 0.1, 1, 0] + np.eye(num_classes, 6)[labels]
    train = draws.normal(1, 2, (50, 6)) * [1, 1, 1, 1, 1, 0]
    given = (train.astype(np.float32), features.astype(np.float32), labels, groups)
    (weights, bias), penalty = refit_layer(*given, num_classes=num_classes, seed=5)

    known = groups >= 0
    x, y, g = features.astype(np.float32)[known].astype(np.float64), labels[known], groups[known]
    half = random_part(g, lambda n: -(-n // 2), 5)
    assert [(g[half] == k).sum() for k in np.unique(g)] == [-(-(g == k).sum() // 2) for k in np.unique(g)]
    worst = {}
    (subset,) = balanced_subsets(g[half], 5, 1)
    scaler = StandardScaler().fit(x[half][subset])
    for c in (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01):
        model = OneVsRestClassifier(l1_regression(c)).fit(scaler.transform(x[half][subset]), y[half][subset])
        right = model.predict(scaler.transform(x[~half])) == y[~half]
        worst[c] = min(right[g[~half] == k].mean() for k in np.unique(g))
    best = max(worst, key=worst.__getitem__)
    assert penalty == best

    scaler = StandardScaler().fit(train.astype(np.float32).astype(np.float64))
    subsets = list(balanced_subsets(g, 5, 20))
    models = [OneVsRestClassifier(l1_regression(best)).fit(scaler.transform(x[rows]), y[rows]) for rows in subsets]
    coef = np.mean([[e.coef_[0] for e in model.estimators_] for model in models], axis=0)
    intercept = np.mean([[e.intercept_[0] for e in model.estimators_] for model in models], axis=0)
    logits = x @ weights.T + bias
    expected = scaler.transform(x) @ coef.T + intercept
    if num_classes == 2:  # of two classes scikit-learn gives the second one's logit
        np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected[:, 0], atol=1e-9)
    else:
        np.testing.assert_allclose(logits, expected, atol=1e-9)


def test_without_scikit_learn_dfr_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(InputError, match=r"^--objective dfr needs sklearn; run pip install scikit-learn$"):
        dfr.Dfr.check_installed()


# --- weights by sampling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["balanced", "dbpt"])
def test_by_sampling_a_group_is_drawn_as_often_as_it_would_weigh_and_the_loss_is_plain(name):
    settings = {"eta": 2.0, "ema_momentum": 0.5} if name == "dbpt" else {}
    trained, objective = ours(name, apply="sampling", **settings)
    weights, model = trained.history[-2].group_weights, start()
    if name == "balanced":
        np.testing.assert_allclose(weights, COUNTS.sum() / 4 / COUNTS)
    known, n = TRAIN.groups >= 0, len(TRAIN.labels)
    fresh = OBJECTIVES[name](objective.training, apply="sampling", **settings)
    for epoch in range(SETTINGS.epochs):  # as at the beginning of each epoch
        if epoch:
            before = np.array(trained.history[epoch - 1].group_weights)
            fresh.rule.load_state(fresh.rule.state() | {"group_weights": before})
        drawn = np.concatenate(visited := batches(fresh, epoch))
        assert len(drawn) == n
        expected = row_weights(fresh.group_weights)
        expected *= n / expected.sum()
        for g in range(4):
            member = TRAIN.groups == g
            assert np.isin(drawn, np.flatnonzero(member)).sum() == pytest.approx(expected[member].sum(), abs=1)
        assert np.isin(drawn, np.flatnonzero(~known)).sum() == pytest.approx(expected[~known].sum(), abs=2)
        train_epoch(model, visited, TRAIN.features, TRAIN.labels, lr_of(epoch), alike)
    assert_same_layer(trained, model)
