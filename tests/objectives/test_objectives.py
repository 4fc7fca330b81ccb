"""Objectives at their edges: rows of unknown group, groups out of range, no groups. Their formulas: test_papers.py."""

import numpy as np
import pytest
import torch

import dbpt
from dbpt.objectives import Balanced, Dbpt, Erm, TrainingGroups

TRAINING = TrainingGroups(np.array([0, 0, 0, 1, -1, -1]), np.array([0, 0, 0, 0, 0, 1]), 2, 4)


def loss_of(objective, row: int) -> float:
    groups, labels = torch.from_numpy(TRAINING.groups[[row]]), torch.from_numpy(TRAINING.labels[[row]])
    return objective.loss(torch.ones(1), groups, labels, torch.tensor([row])).item()


def test_counts_leave_unknown_rows_out():
    assert TRAINING.counts.tolist() == [3, 1, 0, 0]
    assert TRAINING.counts.dtype == np.int64


def test_unknown_rows_weigh_their_class_mean_and_one_if_it_has_none():
    objective = Balanced(TRAINING, min_group_count=0)
    weights = objective.group_weights
    np.testing.assert_allclose(weights, [2 / 3, 2, 0, 0])
    assert loss_of(objective, 4) == pytest.approx((3 * weights[0] + weights[1]) / 4)
    assert loss_of(objective, 5) == pytest.approx(1.0)


@pytest.mark.parametrize(("group", "label"), [(4, 0), (-2, 0), (-1, 2)])
def test_a_group_or_label_out_of_range_is_refused(group, label):
    with pytest.raises(dbpt.InputError, match=r"\[0\] is "):
        Balanced(TRAINING).loss(torch.ones(1), torch.tensor([group]), torch.tensor([label]), torch.tensor([0]))


def test_erm_is_the_plain_mean_and_has_no_groups():
    objective, losses = Erm(TRAINING), torch.tensor([0.5, 2.0, 4.0])
    rows = torch.arange(3)
    assert objective.loss(losses, rows, rows, rows) == losses.mean()
    assert objective.group_weights is objective.mean_p_true is None
    assert objective.state() == {}
    assert (Erm.uses_groups, Balanced.uses_groups, Dbpt.uses_groups) == (False, True, True)
