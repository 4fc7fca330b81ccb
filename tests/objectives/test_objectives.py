"""Objectives against a plain NumPy reading of the method's formulas."""

import numpy as np
import pytest
import torch

import dbpt
from dbpt.objectives import OBJECTIVES, Balanced, Dbpt, Erm, TrainingGroups

NUM_CLASSES, NUM_GROUPS = 3, 6
ETA, MOMENTUM = 1.5, 0.3


def some_groups(seed: int = 0, empty: int | None = 4) -> TrainingGroups:
    """90 rows; one group empty, one row in nine without a group, class 2 without any group if 4 and 5 are empty."""
    draws = np.random.default_rng(seed)
    labels = draws.integers(0, NUM_CLASSES, 90)
    attributes = (draws.random(90) < 0.25).astype(np.int64)
    groups = labels * 2 + attributes
    groups[groups == empty] = -1
    groups[::9] = -1
    return TrainingGroups(groups, labels, NUM_CLASSES, NUM_GROUPS)


def build(name: str, training: TrainingGroups, eta: float = ETA):
    """Without bounds: those have tests of their own."""
    values = {"eta": eta, "ema_momentum": MOMENTUM}
    values |= {"min_group_count": 0, "max_weight": float("inf")}
    chosen = OBJECTIVES[name]
    return chosen(training, **{setting: values[setting] for setting in chosen.settings})


def end_epoch(objective, p_true: np.ndarray) -> None:
    """An epoch in which the head gave each training row's class ``p_true``, seen in batches of 32."""
    training = objective.training
    for begin in range(0, len(p_true), 32):
        part = slice(begin, begin + 32)
        losses, groups, labels = (
            torch.from_numpy(a[part]) for a in (-np.log(p_true), training.groups, training.labels)
        )
        objective.observe(losses, groups, labels)
    objective.end_epoch(not_wanted)


def not_wanted():
    raise AssertionError("a pass over the training rows that nobody needs")


def reference_start(counts: np.ndarray) -> np.ndarray:
    filled = counts > 0
    return np.where(filled, counts.sum() / filled.sum() / np.maximum(counts, 1), 0.0)


def reference_step(weights: np.ndarray, counts: np.ndarray, p_bar: np.ndarray, eta: float) -> np.ndarray:
    """One epoch: target over the non-empty groups, normalised to sum N_g w_g = sum N_g, then the EMA."""
    filled = counts > 0
    target = np.zeros(len(counts))
    target[filled] = np.exp(eta * (1 - p_bar[filled])) / counts[filled]
    target *= counts.sum() / (counts * target).sum()
    return MOMENTUM * weights + (1 - MOMENTUM) * target


def reference_loss(weights: np.ndarray, training: TrainingGroups, rows: np.ndarray, losses: np.ndarray) -> float:
    total = 0.0
    for row, loss in zip(rows, losses, strict=True):
        group = training.groups[row]
        if group >= 0:
            weight = weights[group]
        else:
            peers = training.groups[(training.labels == training.labels[row]) & (training.groups >= 0)]
            weight = np.mean([weights[g] for g in peers]) if len(peers) else 1.0
        total += weight * loss
    return total / len(rows)


def loss_of(objective, training: TrainingGroups, rows: np.ndarray, losses: np.ndarray) -> float:
    groups, labels = torch.from_numpy(training.groups[rows]), torch.from_numpy(training.labels[rows])
    return objective.loss(torch.from_numpy(losses), groups, labels, torch.from_numpy(rows)).item()


@pytest.mark.parametrize("empty", [None, 4])
def test_dbpt_follows_the_formulas_over_epochs(empty):
    training, draws = some_groups(empty=empty), np.random.default_rng(1)
    objective, weights = build("dbpt", training), reference_start(training.counts)
    np.testing.assert_allclose(objective.group_weights, weights)
    for _ in range(4):
        p_true = draws.random(90)
        end_epoch(objective, p_true)
        means = [p_true[training.groups == g].mean() if n else np.nan for g, n in enumerate(training.counts)]
        weights = reference_step(weights, training.counts, np.array(means), ETA)
        np.testing.assert_allclose(objective.mean_p_true, means)
        np.testing.assert_allclose(objective.group_weights, weights)
        assert (training.counts * objective.group_weights).sum() == pytest.approx(training.counts.sum())
        rows, losses = draws.integers(0, 90, 32), draws.random(32)
        assert loss_of(objective, training, rows, losses) == pytest.approx(
            reference_loss(weights, training, rows, losses), rel=1e-6
        )


def test_an_empty_group_weighs_nothing_and_has_no_p_true():
    objective = build("dbpt", some_groups(empty=4))
    end_epoch(objective, np.full(90, 0.5))
    assert objective.group_weights[4] == 0
    assert np.isnan(objective.mean_p_true[4])
    assert np.isfinite(np.delete(objective.mean_p_true, 4)).all()


def test_unknown_rows_weigh_their_class_mean_and_one_if_it_has_none():
    training = TrainingGroups(np.array([0, 0, 0, 1, -1, -1]), np.array([0, 0, 0, 0, 0, 1]), 2, 4)
    objective = build("balanced", training)
    weights = objective.group_weights
    np.testing.assert_allclose(weights, [2 / 3, 2, 0, 0])
    assert loss_of(objective, training, np.array([4]), np.ones(1)) == pytest.approx((3 * weights[0] + weights[1]) / 4)
    assert loss_of(objective, training, np.array([5]), np.ones(1)) == pytest.approx(1.0)


def test_the_loss_is_a_mean_over_the_batch_and_not_over_the_weights():
    training = some_groups(empty=None)
    objective = build("balanced", training)
    small = np.flatnonzero(training.groups == int(training.counts.argmin()))[:2]
    assert loss_of(objective, training, small, np.ones(2)) == pytest.approx(objective.group_weights.max())


def test_balanced_does_not_move_and_dbpt_without_eta_does_not_move_a_bit():
    training, draws = some_groups(), np.random.default_rng(2)
    balanced, still = build("balanced", training), build("dbpt", training, eta=0.0)
    start = balanced.group_weights.copy()
    np.testing.assert_allclose(start, reference_start(training.counts))
    for _ in range(3):
        p_true = draws.random(90)
        end_epoch(balanced, p_true)
        end_epoch(still, p_true)
    assert balanced.group_weights.tobytes() == start.tobytes() == still.group_weights.tobytes()
    rows, losses = np.arange(90), draws.random(90)
    assert loss_of(balanced, training, rows, losses) == loss_of(still, training, rows, losses)


@pytest.mark.parametrize(("group", "label"), [(NUM_GROUPS, 0), (-2, 0), (-1, NUM_CLASSES)])
def test_a_group_or_label_out_of_range_is_refused(group, label):
    objective = build("balanced", some_groups())
    with pytest.raises(dbpt.InputError, match=r"\[0\] is "):
        objective.loss(torch.ones(1), torch.tensor([group]), torch.tensor([label]), torch.tensor([0]))


def test_the_weights_in_the_loss_are_those_of_the_table_in_float32():
    training = some_groups()
    objective, losses = build("dbpt", training), np.random.default_rng(5).random(90).astype(np.float32)
    end_epoch(objective, np.random.default_rng(6).random(90))
    w, n = objective.group_weights.reshape(NUM_CLASSES, -1), training.counts.reshape(NUM_CLASSES, -1)
    classes = (w * n).sum(1) / np.maximum(n.sum(1), 1)
    table = torch.from_numpy(np.append(w, np.where(n.sum(1) > 0, classes, 1.0))).float()
    entries = torch.from_numpy(np.where(training.groups >= 0, training.groups, NUM_GROUPS + training.labels))
    expected = (table[entries] * torch.from_numpy(losses)).mean()
    assert loss_of(objective, training, np.arange(90), losses) == expected.item()


def test_erm_is_the_plain_mean():
    training, losses = some_groups(), np.random.default_rng(3).random(16)
    objective = build("erm", training)
    assert loss_of(objective, training, np.arange(16), losses) == pytest.approx(losses.mean())
    assert objective.group_weights is None
    assert objective.mean_p_true is None
    assert objective.state() == {}
    assert (Erm.uses_groups, Balanced.uses_groups, Dbpt.uses_groups) == (False, True, True)


def test_the_state_goes_on_exactly():
    training, draws = some_groups(), np.random.default_rng(4)
    epochs = draws.random((4, 90))
    objective, other = build("dbpt", training), build("dbpt", training)
    for p_true in epochs[:2]:
        end_epoch(objective, p_true)
    other.load_state({name: value.copy() for name, value in objective.state().items()})
    rows, losses = np.arange(90), draws.random(90)
    assert loss_of(other, training, rows, losses) == loss_of(objective, training, rows, losses)
    for p_true in epochs[2:]:
        end_epoch(objective, p_true)
        end_epoch(other, p_true)
    assert other.group_weights.tobytes() == objective.group_weights.tobytes()
    assert other.mean_p_true.tobytes() == objective.mean_p_true.tobytes()


def test_counts_leave_unknown_rows_out():
    training = some_groups()
    assert training.counts.sum() == (training.groups >= 0).sum() < 90
    assert training.counts.dtype == np.int64
    assert training.counts[4] == 0
