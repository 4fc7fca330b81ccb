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


def loss_of(objective, training: TrainingGroups, rows: np.ndarray, losses: np.ndarray) -> float:
    groups, labels = torch.from_numpy(training.groups[rows]), torch.from_numpy(training.labels[rows])
    return objective.loss(torch.from_numpy(losses), groups, labels, torch.from_numpy(rows)).item()


def test_unknown_rows_weigh_their_class_mean_and_one_if_it_has_none():
    training = TrainingGroups(np.array([0, 0, 0, 1, -1, -1]), np.array([0, 0, 0, 0, 0, 1]), 2, 4)
    objective = build("balanced", training)
    weights = objective.group_weights
    np.testing.assert_allclose(weights, [2 / 3, 2, 0, 0])
    assert loss_of(objective, training, np.array([4]), np.ones(1)) == pytest.approx((3 * weights[0] + weights[1]) / 4)
    assert loss_of(objective, training, np.array([5]), np.ones(1)) == pytest.approx(1.0)


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


def test_erm_is_the_plain_mean():
    training, losses = some_groups(), np.random.default_rng(3).random(16)
    objective = build("erm", training)
    assert loss_of(objective, training, np.arange(16), losses) == pytest.approx(losses.mean())
    assert objective.group_weights is None
    assert objective.mean_p_true is None
    assert objective.state() == {}
    assert (Erm.uses_groups, Balanced.uses_groups, Dbpt.uses_groups) == (False, True, True)


def test_counts_leave_unknown_rows_out():
    training = some_groups()
    assert training.counts.sum() == (training.groups >= 0).sum() < 90
    assert training.counts.dtype == np.int64
    assert training.counts[4] == 0
