"""The draws of GroupBatchSampler: compositions, passes over members, pinned values, scale."""

import itertools

import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import COUNTS, GROUPS

from dbpt.sampling import GroupBatchSampler


def compositions(batches, groups=GROUPS, num_groups=4):
    """(batches, G) how many members of each group every batch has."""
    return np.array([np.bincount(groups[batch], minlength=num_groups) for batch in batches])


@st.composite
def cases(draw):
    """Groups that may be empty or tiny, shares on any scale, and a batch with room for the minimum of each."""
    num_groups = draw(st.integers(1, 6))
    groups = np.array(draw(st.lists(st.integers(0, num_groups - 1), min_size=1, max_size=120)))
    counts = np.bincount(groups, minlength=num_groups)
    shares = [draw(st.floats(0, 9)) if count else 0.0 for count in counts]
    if sum(shares) == 0:
        shares = counts.tolist()
    min_per_group = draw(st.integers(0, 3))
    batch_size = draw(st.integers(max(1, min_per_group * np.count_nonzero(shares)), 40))
    keywords = {"shares": shares, "min_per_group": min_per_group, "num_groups": num_groups}
    keywords |= {"num_batches": draw(st.integers(1, 30)), "seed": draw(st.integers(0, 2**64 - 1))}
    return groups, batch_size, keywords


def test_balanced_is_the_default_and_holds_in_every_batch():
    sampler = GroupBatchSampler(GROUPS, 32)
    batches = list(sampler)
    assert len(batches) == len(sampler) == sampler.num_batches == 32
    assert (compositions(batches) == 8).all()


def test_natural_shares_draw_every_row_once_in_batches_that_all_look_like_the_data():
    sampler = GroupBatchSampler(GROUPS, 25, shares="natural", min_per_group=0)
    batches = list(sampler)
    assert sorted(itertools.chain(*batches)) == list(range(1000))
    assert (np.abs(compositions(batches) - COUNTS / 40) < 1).all()


@given(cases())
@settings(max_examples=80)
def test_every_batch_is_within_one_of_its_share_and_the_epoch_is_exact(case):
    groups, batch_size, keywords = case
    sampler = GroupBatchSampler(groups, batch_size, **keywords)
    shares, num_batches, min_per_group = (keywords[name] for name in ("shares", "num_batches", "min_per_group"))
    exact = reference.exact_quotas(shares, batch_size * num_batches, least=min_per_group * num_batches)
    assert ((np.floor(exact + 1e-6) <= sampler.quotas) & (sampler.quotas <= np.ceil(exact - 1e-6))).all()
    batches = np.array(list(sampler))
    assert batches.shape == (keywords["num_batches"], batch_size)
    counts = compositions(batches, groups, keywords["num_groups"])
    part, extra = np.divmod(sampler.quotas, keywords["num_batches"])
    assert ((counts >= part) & (counts <= part + (extra > 0))).all()
    assert (counts[:, np.array(keywords["shares"]) > 0] >= keywords["min_per_group"]).all()
    assert np.array_equal(counts.sum(axis=0), sampler.quotas)


@given(cases(), st.integers(0, 1200))
@settings(max_examples=50)
def test_at_any_point_every_member_has_been_drawn_equally_often(case, cut):
    groups, batch_size, keywords = case
    sampler = GroupBatchSampler(groups, batch_size, **keywords)
    times = np.bincount(sampler.indices(0, cut % (sampler.num_batches + 1)).ravel(), minlength=len(groups))
    for group in range(sampler.num_groups):
        of_members = times[groups == group]
        assert of_members.size == 0 or of_members.max() - of_members.min() <= 1


def test_batches_equal_the_reference():
    for keywords in ({}, {"shares": "natural"}, {"shares": [5, 1, 1, 0], "min_per_group": 0}):
        sampler = GroupBatchSampler(GROUPS, 30, num_batches=11, seed=5, **keywords)
        for epoch in (0, 3):
            sampler.set_epoch(epoch)
            expected = reference.batch_stream(GROUPS, sampler.quotas, 30, 5, epoch)
            assert np.array_equal(sampler.indices(), expected)
            assert list(sampler) == expected.tolist()
            sampler.set_epoch(epoch)
            assert np.array_equal(sampler.indices(4, 9), expected[4:9])
            assert sampler.indices().dtype == np.int64


def test_epochs_beyond_32_bits_can_be_sought():
    sampler = GroupBatchSampler([0, 1, 1], 1024, shares=[1, 2.003], num_batches=2**38)
    batches = sampler.indices(2**37, 2**37 + 3)
    assert np.array_equal(sampler.indices(2**37 + 2, 2**37 + 3), batches[2:])
    assert set(np.count_nonzero(batches == 0, axis=1).tolist()) <= {340, 341}
    assert len(sampler.indices(2**38 - 1)) == 1
