"""Model selection: each rule, ties, empty and unknown groups."""

import numpy as np
import pytest

from dbpt.errors import InputError
from dbpt.groups import worst_group_accuracy
from dbpt.training.model_selection import validation_score

CORRECT = np.array([True, True, False, True, False, False, True, True])
GROUPS = np.array([0, 0, 0, 1, 1, -1, 3, 3])


def test_worst_group_accuracy_ignores_empty_and_unknown_groups():
    assert worst_group_accuracy(CORRECT, GROUPS) == 0.5  # group 1; group 2 is empty, the unknown row is wrong
    assert worst_group_accuracy(CORRECT[:3], GROUPS[:3]) == pytest.approx(2 / 3)


def test_no_group_at_all_is_told():
    assert worst_group_accuracy(CORRECT, np.full(8, -1)) is None
    with pytest.raises(InputError, match="no validation row has a group.*--model-selection average"):
        validation_score("pseudo-wga", 0, None, 0.5)


@pytest.mark.parametrize("model_selection", ["pseudo-wga", "true-wga"])
def test_worst_group_rules_break_ties_by_the_average(model_selection):
    assert validation_score(model_selection, 0, 0.5, 0.625) == (0.5, 0.625)
    assert validation_score(model_selection, 3, 0.5, 0.75) > validation_score(model_selection, 9, 0.5, 0.625)
    assert validation_score(model_selection, 3, 0.6, 0.65) > validation_score(model_selection, 9, 0.5, 0.9)


def test_average_and_last_ignore_groups():
    assert validation_score("average", 5, None, 0.625) == (0.625, 0.0)
    assert validation_score("last", 6, None, 0.375) > validation_score("last", 5, 0.9, 0.9)


def test_a_tie_goes_to_neither_so_that_the_earlier_epoch_stays():
    for model_selection in ("pseudo-wga", "average"):
        assert not validation_score(model_selection, 7, 0.5, 0.625) > validation_score(model_selection, 2, 0.5, 0.625)
