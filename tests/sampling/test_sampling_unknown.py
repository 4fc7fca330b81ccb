"""Rows of group -1 in both samplers: what they weigh with unknown="class", and what is refused."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import GROUPS

from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler, GroupSampler

UNKNOWN, LABELS = np.where(np.arange(1000) % 7 == 0, -1, GROUPS), GROUPS // 2


@given(st.data())
@settings(max_examples=60)
def test_unknown_rows_weigh_the_mean_weight_of_their_class(data):
    num_classes, attributes = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    rows = data.draw(st.lists(st.tuples(st.integers(0, num_classes - 1), st.integers(-1, attributes - 1)), min_size=2))
    labels, attribute = np.array([(0, 0), (num_classes - 1, -1), *rows]).T
    groups = np.where(attribute < 0, -1, labels * attributes + attribute)
    num_groups = num_classes * attributes
    counts = np.bincount(groups[groups >= 0], minlength=num_groups)
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=num_groups, max_size=num_groups)), float)
    dtype = data.draw(st.sampled_from([np.int8, np.int32, np.int64]))
    sampler = GroupSampler(
        groups.astype(dtype),
        labels=labels.astype(np.uint8),
        unknown="class",
        group_weights=weights,
        num_samples=10_000,
        num_groups=num_groups,
    )
    # Row by row, from the definition.
    known = groups >= 0
    of_row = np.where(known, weights[groups], 0.0)
    for row in np.flatnonzero(~known):
        same = known & (labels == labels[row])
        of_row[row] = of_row[same].mean() if same.any() else of_row[known].mean()
    extended = np.where(known, groups, num_groups + labels)
    shares = np.bincount(extended, of_row, num_groups + labels.max() + 1)
    found = np.concatenate([sampler.quotas, sampler.unknown_quotas])
    assert found.sum() == 10_000
    assert np.abs(found - shares / shares.sum() * 10_000).max() < 1 + 1e-6
    assert np.array_equal(sampler.counts, counts)
    assert np.array_equal(sampler.unknown_counts, np.bincount(labels[~known], minlength=labels.max() + 1))
    times = np.bincount(sampler.indices(), minlength=len(groups))
    assert np.array_equal(np.bincount(extended, times, len(found)), found)


def test_natural_shares_with_unknown_rows_are_a_shuffled_epoch():
    sampler = GroupSampler(UNKNOWN, shares="natural", unknown="class", labels=LABELS)
    assert sorted(sampler) == list(range(1000))
    assert repr(sampler).startswith("GroupSampler(num_groups=4, num_samples=1000, quotas=[")
    assert "unknown_quotas=[" in repr(sampler)
    sampler.set_shares([1, 1, 0, 0])
    sampler.set_epoch(1)
    assert set(GROUPS[sampler.indices()] // 2) == {0}


@pytest.mark.parametrize("make", [GroupSampler, partial(GroupBatchSampler, batch_size=20, min_per_group=0)])
def test_states_with_unknown_rows_resume(make):
    sampler = make(UNKNOWN, unknown="class", labels=LABELS)
    order = sampler.indices().tolist()
    half = list(itertools.islice(sampler, len(order) // 2))
    resumed = make(UNKNOWN.astype(np.int8), unknown="class", labels=LABELS.tolist())
    resumed.load_state_dict(sampler.state_dict())
    assert half + list(resumed) == order
    for other in (make(UNKNOWN, unknown="class", labels=1 - LABELS), make(GROUPS)):
        with pytest.raises(InputError, match="saved with other groups"):
            other.load_state_dict(sampler.state_dict())
    sampler.set_shares("natural")
    assert sorted(np.ravel(list(sampler))) == list(range(1000))


def composition(batches):
    """(batches, 6) how many rows each batch has of the four groups and of the unknown rows of both classes."""
    extended = np.where(UNKNOWN < 0, 4 + LABELS, UNKNOWN)
    return np.array([np.bincount(extended[batch], minlength=6) for batch in batches])


def test_unknown_rows_of_a_class_are_one_more_group_of_a_batch():
    sampler = GroupBatchSampler(UNKNOWN, 24, unknown="class", labels=LABELS, seed=1)
    counts = composition(sampler)
    rows = GroupSampler(UNKNOWN, num_samples=24 * sampler.num_batches, unknown="class", labels=LABELS, seed=1)
    assert np.array_equal(sampler.quotas, rows.quotas)
    assert np.array_equal(sampler.unknown_quotas, rows.unknown_quotas)
    assert np.array_equal(counts.sum(axis=0), np.concatenate([rows.quotas, rows.unknown_quotas]))
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert sampler.unknown_counts.tolist() == np.bincount(LABELS[UNKNOWN < 0]).tolist()
    assert "unknown_quotas=[" in repr(sampler)


def test_the_minimum_holds_for_unknown_rows_too():
    keywords = {"unknown": "class", "labels": LABELS, "shares": "natural", "num_batches": 50}
    assert (composition(GroupBatchSampler(UNKNOWN, 30, min_per_group=4, **keywords)) >= 4).all()
    assert composition(GroupBatchSampler(UNKNOWN, 30, min_per_group=0, **keywords))[:, 5].min() == 1
    with pytest.raises(InputError, match="^batch_size is 5; expected 6 or above: min_per_group is 1 and 6 groups"):
        GroupBatchSampler(UNKNOWN, 5, **keywords)


@pytest.mark.parametrize(
    ("groups", "kwargs", "message"),
    [
        ([0, -1], {"unknown": "class"}, r"^labels are missing; expected the class \(N,\)"),
        ([0, 1], {"labels": [0, 1]}, "^labels are given, but unknown is None"),
        ([0, -1], {"unknown": "clas", "labels": [0, 1]}, r"^unknown is 'clas'; .*did you mean 'class'\?"),
        ([0, -1], {"unknown": True, "labels": [0, 1]}, "^unknown is True; expected 'class' or None"),
        ([0, -1], {"unknown": "class", "labels": [0]}, "^labels has length 1; expected 2"),
        ([0, -1], {"unknown": "class", "labels": [0.0, 1.0]}, "^labels has .* dtype float64"),
        ([0, -1], {"unknown": "class", "labels": [0, -1]}, r"^labels\[1\] is -1; expected an integer from 0"),
        ([0, -2], {"unknown": "class", "labels": [0, 0]}, r"^groups\[1\] is -2; expected an integer from -1"),
        ([0, 2**63], {"unknown": "class", "labels": [0, 0]}, r"^groups\[1\] is 9223372036854775808; expected"),
        ([0, 2], {"unknown": "class", "labels": [0, 0], "num_groups": 2}, r"^groups\[1\] is 2; expected .* to 1"),
        ([-1, -1], {"unknown": "class", "labels": [0, 0], "num_groups": 2}, "^groups is -1 in every row"),
        ([0, 1, 0, 0], {"unknown": "class", "labels": [1, 0, 1, 0]}, r"^labels\[3\] is 0, but group 0 began with cla"),
    ],
)
def test_bad_labels_and_unknown_are_named(groups, kwargs, message):
    groups = np.array(groups, dtype=np.uint64 if max(groups) >= 2**63 else None)
    with pytest.raises(InputError, match=message):
        GroupSampler(groups, **kwargs)
    with pytest.raises(InputError, match=message):
        GroupBatchSampler(groups, 2, **kwargs)
