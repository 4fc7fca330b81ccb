"""`dbpt.sample_weights`: equal sums of groups of any values, and its bounds."""

import numpy as np
import pandas as pd
import pytest
import torch

import dbpt
from dbpt.errors import InputError

PLUS_MINUS = "groups has -1 and 1 alone, but -1 means unknown; name them otherwise, such as 0 and 1"


@pytest.mark.parametrize(
    "groups",
    [
        ["a"] * 30 + ["b"] * 10 + ["c"] * 20,
        np.repeat([7, 0, 3], [30, 10, 20]),
        [(0, "x")] * 30 + [(0, "y")] * 10 + [(1, "x")] * 20,
        np.repeat([[0, 0], [0, 1], [1, 1]], [30, 10, 20], axis=0),
        pd.DataFrame({"y": np.repeat([0, 0, 1], [30, 10, 20]), "a": np.repeat(["x", "y", "y"], [30, 10, 20])}),
        pd.DataFrame({"group": np.repeat([7, 0, 3], [30, 10, 20])}),
        list(torch.tensor([7, 0, 3]).repeat_interleave(torch.tensor([30, 10, 20]))),
        [(value, torch.tensor(0)) for value in torch.tensor([7] * 30 + [0] * 10 + [3] * 20)],
    ],
    ids=["strings", "integers", "pairs", "columns", "frame", "column of a frame", "tensors", "pairs of tensors"],
)
def test_each_group_has_the_same_sum(groups):
    weights = dbpt.sample_weights(groups)
    np.testing.assert_allclose([weights[:30].sum(), weights[30:40].sum(), weights[40:].sum()], 20)
    assert weights.dtype == np.float64 and len({*weights.tolist()}) == 3


def test_they_are_those_of_balanced_with_its_bounds():
    groups = np.repeat([0, 1, 2], [10_000, 200, 2])
    expected = dbpt.GroupWeights([10_000, 200, 2], 0.0, 0.0)
    np.testing.assert_array_equal(dbpt.sample_weights(groups), expected.sample_weights(groups))
    free = dbpt.sample_weights(groups, min_group_count=0, max_weight=1e9)
    np.testing.assert_allclose(np.bincount(groups, free), 10_202 / 3)


@pytest.mark.parametrize("unknown", [None, float("nan"), -1, pd.NA])
def test_rows_of_unknown_group_weigh_one(unknown):
    weights = dbpt.sample_weights([2] * 30 + [1] * 10 + [unknown] * 20)
    np.testing.assert_allclose(weights, np.repeat([20 / 30, 2, 1], [30, 10, 20]))
    pairs = [(0, "a")] * 30 + [(1, "a")] * 10 + [(1, unknown)] * 20
    np.testing.assert_array_equal(dbpt.sample_weights(pairs), weights)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([0, {}], r"groups\[1\] is \{\}; expected a value that can be hashed, or None, NaN or -1 where unknown .*"),
        ([None, -1], "groups has no known value in 2 rows; expected a value in one at least"),
        ([1, -1, 1], PLUS_MINUS),
        ([None, *range(20)], "groups has 20 values, each in one row; expected a few that many rows share .*"),
        ([(0, 1), (1, -1)], PLUS_MINUS),
        ({0: "a", 1: "b"}, "groups is .*, of type dict; .*"),
        ({"a", "b"}, "groups is .*, of type set; .*"),
        ("abab", "groups is 'abab', of type str; .*"),
        (torch.zeros(3, device="meta"), "groups is a tensor that cannot be copied to the host .*"),
    ],
)
def test_wrong_groups_are_refused(groups, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        dbpt.sample_weights(groups)


def test_rows_of_a_small_table_may_each_be_a_group():
    np.testing.assert_array_equal(dbpt.sample_weights(range(19)), 1)
