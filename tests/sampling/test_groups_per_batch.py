"""GroupBatchSampler with `groups_per_batch`: P groups of K members each, any of which can meet."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler

GROUPS = np.random.default_rng(0).integers(0, 40, 3000)


def held(sampler, groups):
    """(batches, G) how many members of each group every batch of the epoch has."""
    return np.array([np.bincount(groups[batch], minlength=sampler.num_groups) for batch in sampler.indices()])


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 60), st.integers(0, 2**64 - 1), st.booleans())
@settings(max_examples=60)
def test_each_batch_has_as_many_of_different_groups_and_the_epoch_is_exact(per_batch, members, batches, seed, natural):
    shares = "natural" if natural else "balanced"
    options = {"groups_per_batch": per_batch, "num_batches": batches, "seed": seed, "shares": shares}
    sampler = GroupBatchSampler(GROUPS, per_batch * members, **options)
    counts = held(sampler, GROUPS)
    assert set(np.unique(counts)) <= {0, members}
    assert (np.count_nonzero(counts, axis=1) == per_batch).all()
    assert np.array_equal(counts.sum(axis=0), sampler.quotas)
    exact = per_batch * batches * (sampler.counts / 3000 if natural else np.full(40, 1 / 40))
    assert np.abs(sampler.quotas / members - np.minimum(exact, batches)).max() < 1.001
    cut = batches // 2
    assert np.array_equal(sampler.indices(cut), sampler.indices()[cut:])
    times = np.bincount(sampler.indices(0, cut).ravel(), minlength=len(GROUPS))
    assert all(np.ptp(times[group == GROUPS]) <= 1 for group in range(40))  # at any point


@pytest.mark.parametrize(("num_groups", "per_batch"), [(6, 2), (5, 2), (6, 3), (7, 3)])
def test_all_sets_of_groups_meet_equally_often(num_groups, per_batch):
    """χ² of the pairs, or triples, of groups in one batch over many epochs, and within an epoch over its batches."""
    groups = np.arange(num_groups * 20) % num_groups
    sampler = GroupBatchSampler(groups, per_batch, groups_per_batch=per_batch, num_batches=210)
    sets = dict.fromkeys(itertools.combinations(range(num_groups), per_batch), 0)
    one = dict(sets)
    for epoch in range(60):
        sampler.set_epoch(epoch)
        found = np.sort(groups[sampler.indices()], axis=1).tolist()
        for batch in found[:: -(-num_groups // per_batch)]:  # those nearby are not independent: all groups come in turn
            sets[tuple(batch)] += 1
        if epoch == 0:
            one = dict.fromkeys(map(tuple, found))
    assert len(one) > 0.8 * len(sets)  # not the same few in all of an epoch
    seen, freedom = np.array(list(sets.values())), len(sets) - 1
    expected = seen.sum() / len(sets)
    assert ((seen - expected) ** 2 / expected).sum() < freedom + 6 * (2 * freedom) ** 0.5 + 8


@pytest.mark.parametrize(
    ("batch_size", "keywords", "message"),
    [
        (10, {"groups_per_batch": 4}, "^batch_size is 10; expected a multiple of groups_per_batch, 4"),
        (82, {"groups_per_batch": 41}, "^groups_per_batch is 41; expected up to 40, the groups with a share"),
        (8, {"groups_per_batch": 0}, "^groups_per_batch is 0; expected an integer, 1 or above"),
        (8, {"groups_per_batch": 2, "min_per_group": 1}, "^min_per_group and groups_per_batch are both given"),
    ],
)
def test_bad_arguments_are_named(batch_size, keywords, message):
    with pytest.raises(InputError, match=message):
        GroupBatchSampler(GROUPS, batch_size, **keywords)
