"""GroupBatchSampler and the core behind it refuse bad input in one line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt._core import BatchStream, GroupIndex
from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)


def compositions(batches, groups=GROUPS, num_groups=4):
    """(batches, G) how many members of each group every batch has."""
    return np.array([np.bincount(groups[batch], minlength=num_groups) for batch in batches])


@pytest.mark.parametrize(
    ("groups", "batch_size", "keywords", "message"),
    [
        ([0, -1, -1], 2, {}, r"^groups\[1\] is -1, one of 2 rows without a group; .*leave those rows out"),
        ([0, 3], 2, {"num_groups": 3}, r"^groups\[1\] is 3; expected -1 \(outside\) or 0 to 2"),
        ([[0], [1, 2]], 2, {}, "^groups is ragged"),
        ([], 2, {}, r"^groups has shape \(0,\)"),
        ([0.5], 2, {}, "^groups has dtype float64; expected integers"),
        (GROUPS, 3, {}, "^batch_size is 3; expected 4 or above: min_per_group is 1 and 4 groups have a share"),
        (GROUPS, 8, {"min_per_group": 3}, "^batch_size is 8; expected 12 or above: min_per_group is 3"),
        (GROUPS, 0, {}, "^batch_size is 0; expected an integer from 1 to 4194304"),
        (GROUPS, 2.0, {}, "^batch_size is 2.0; expected an integer"),
        (GROUPS, 2**22 + 1, {}, "^batch_size is 4194305; expected an integer from 1"),
        (GROUPS, 8, {"min_per_group": -1}, "^min_per_group is -1"),
        (GROUPS, 8, {"num_batches": 0}, "^num_batches is 0"),
        (
            GROUPS,
            8,
            {"num_batches": 2**46},
            r"^batch_size \* num_batches is 562949953421312; expected an integer",
        ),
        (GROUPS, 8, {"shares": "balance"}, r"^shares is 'balance'; .*did you mean 'balanced'\?"),
        (GROUPS, 8, {"shares": [1, 2]}, r"^shares has shape \(2,\) .*expected \(4,\)"),
        (GROUPS, 8, {"shares": [1, 2, np.nan, 1]}, r"^shares\[2\] is nan"),
        (GROUPS, 8, {"shares": [0, 0, 0, 0]}, "^the sum of shares is 0"),
        ([0, 2], 8, {"shares": [1, 1, 1]}, r"^shares\[1\] is 1, but group 1 has no members"),
        (GROUPS, 8, {"group_weights": [1, -2, 1, 1]}, r"^group_weights\[1\] is -2"),
        (GROUPS, 8, {"group_weights": [1, 1, 1, 1], "shares": "natural"}, "^shares and group_weights are both given"),
        (GROUPS, 8, {"seed": -1}, "^seed is -1; expected an integer from 0 to"),
        (GROUPS, 8, {"rank": 0}, "^rank is 0 and num_replicas is None; expected both or neither"),
    ],
)
def test_bad_arguments_are_named(groups, batch_size, keywords, message):
    with pytest.raises(InputError, match=message):
        GroupBatchSampler(groups, batch_size, **keywords)


def test_bad_calls_are_named():
    sampler = GroupBatchSampler(GROUPS, 10)
    with pytest.raises(InputError, match="^stop is 101; expected an integer from 0 to 100"):
        sampler.indices(0, 101)
    with pytest.raises(InputError, match="^consumed is 101"):
        sampler.state_dict(consumed=101)
    with pytest.raises(InputError, match=r"^group_weights has shape \(1,\)"):
        sampler.set_group_weights([1])


foreign = st.one_of(
    st.lists(st.integers(-(2**70), 2**70), max_size=4),
    st.lists(st.floats(), max_size=5),
    st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=3),
    st.sampled_from([None, "balanced", b"x", {}, [None], [True], torch.zeros(3, requires_grad=True), 7]),
)


@given(foreign, foreign, foreign)
@settings(max_examples=200, deadline=None)
def test_foreign_arrays_work_or_are_refused_in_one_line(groups, shares, group_weights):
    """Never another exception, and never batches of another composition than asked for."""
    try:
        sampler = GroupBatchSampler(groups, 8, shares=shares, group_weights=group_weights, num_batches=2)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert sampler.quotas.sum() == sampler.indices().size == 16


def test_arrays_that_do_not_fit_are_refused_by_the_core():
    index = GroupIndex(np.array([0, 1, 1]), 2)
    with pytest.raises(InputError, match="^quotas has length 1; expected 2"):
        BatchStream(index, np.array([4]), 2, 0, 0)
    with pytest.raises(InputError, match="^quotas is not C-contiguous"):
        BatchStream(index, np.array([2, 0, 2, 0])[::2], 2, 0, 0)
    with pytest.raises(TypeError):
        BatchStream(index, np.array([2.0, 2.0]), 2, 0, 0)
    with pytest.raises(InputError, match="^start and stop are 1 and 3"):
        BatchStream(index, np.array([2, 2]), 2, 0, 0).indices(1, 3)
    with pytest.raises(InputError, match="^step is 0"):
        BatchStream(index, np.array([2, 2]), 2, 0, 0).indices(0, 2, 0)
