"""Model selection: each rule, ties, empty and unknown groups."""

import numpy as np
import pytest
import torch

from dbpt.errors import InputError
from dbpt.groups import worst_group_mean
from dbpt.training.model_selection import PRIOR_ROWS, Rows, Validation, judge, shrunken_means, validation_score

LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1])
CORRECT = np.array([True, True, False, True, False, False, True, True])
GROUPS = np.array([0, 0, 0, 1, 1, -1, 3, 3])


def judged(p_true, groups):
    return Validation.of(CORRECT, p_true, Rows(np.empty((8, 0), np.float32), LABELS, groups))


def test_the_probability_of_the_worst_group_is_a_mean_pulled_towards_its_class():
    p_true = np.array([0.9, 0.8, 0.1, 0.6, 0.1, 0.0, 1.0, 0.9], np.float32)
    assert worst_group_mean(p_true, GROUPS) == pytest.approx(0.35)  # group 1
    found = judged(p_true, GROUPS)
    of_class = (0.6 + 0.35) / 2
    assert found.p_true == pytest.approx(p_true.mean())
    assert (found.average, found.wga, found.wgp) == (0.625, 0.5, pytest.approx((2 * 0.35 + 5 * of_class) / 7))


def test_two_rows_of_a_rare_group_hardly_choose_and_many_do():
    """The mean that is added is that of the class's groups, and not that of its rows, which are of one group."""
    labels, groups = np.repeat([0, 1, 2], 30), np.repeat([0, 1, 3, 4, 6, 8], [28, 2, 15, 15, 29, 1])
    values = np.random.default_rng(0).random(90)
    means = {group: values[groups == group].mean() for group in np.unique(groups)}
    expected = np.full(9, np.nan)
    for group, mean in means.items():
        of_class = np.mean([each for other, each in means.items() if other // 3 == group // 3])
        n = (groups == group).sum()
        expected[group] = (n * mean + PRIOR_ROWS * of_class) / (n + PRIOR_ROWS)
    order = np.random.default_rng(1).permutation(90)
    found = shrunken_means(values[order], labels[order], groups[order])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(shrunken_means(values[:28], labels[:28], groups[:28]), [means[0]])


def test_the_probability_of_a_class_is_the_sum_over_its_possible_groups():
    probabilities = torch.tensor([[0.25, 0.25, 0.4, 0.1], [0.1, 0.1, 0.2, 0.6]])
    labels = torch.tensor([0, 1])
    correct, p_true = judge(torch.nn.Identity(), probabilities.log(), labels, 2)
    assert correct.tolist() == [True, True]
    torch.testing.assert_close(p_true, torch.tensor([0.5, 0.8]))
    without = np.array([True, False, False, False])
    correct, p_true = judge(torch.nn.Identity(), probabilities.log(), labels, 2, without)
    assert correct.tolist() == [False, True]
    torch.testing.assert_close(p_true, torch.tensor([0.25 / 0.75, 0.8 / 0.9]))


def test_no_group_at_all_is_told():
    found = judged(np.ones(8, np.float32), np.full(8, -1))
    assert (found.wga, found.wgp) == (None, None)
    for model_selection in ("pseudo-wgp", "true-wga"):
        with pytest.raises(InputError, match="no validation row has a group.*--model-selection average"):
            validation_score(model_selection, 0, found)


@pytest.mark.parametrize("model_selection", ["pseudo-wga", "true-wga", "pseudo-wgp", "true-wgp"])
def test_worst_group_rules_break_ties_by_the_average(model_selection):
    def score(epoch, worst, average):
        other = {"wga": 0.1} if model_selection.endswith("wgp") else {"wgp": 0.1}
        return validation_score(
            model_selection, epoch, Validation(**{"average": average, "wga": worst, "wgp": worst} | other)
        )

    assert score(0, 0.5, 0.625) == (0.5, 0.625)
    assert score(3, 0.5, 0.75) > score(9, 0.5, 0.625)
    assert score(3, 0.6, 0.65) > score(9, 0.5, 0.9)


def test_average_and_last_ignore_groups():
    assert validation_score("average", 5, Validation(0.625, None, None, p_true=0.5)) == (0.625, 0.5)
    assert validation_score("last", 6, Validation(0.375, None, None)) > validation_score(
        "last", 5, Validation(0.9, 0.9, 0.9)
    )
