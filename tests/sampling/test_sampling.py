"""GroupSampler: shares, lengths on ranks, positions, states, bad input. More of passes: test_sampling_passes.py."""

import itertools

import numpy as np
import pytest
import reference
import torch

from dbpt.errors import InputError
from dbpt.sampling import GroupSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)


def drawn(indices, groups=GROUPS):
    return np.bincount(groups[indices], minlength=4).tolist()


def test_balanced_is_the_default_and_groups_without_members_have_no_share():
    assert drawn(list(GroupSampler(GROUPS))) == [250] * 4
    with_empty = GroupSampler(GROUPS * 2, num_groups=9)
    assert with_empty.num_groups == 9
    assert with_empty.quotas.tolist() == [250, 0, 250, 0, 250, 0, 250, 0, 0]
    assert with_empty.counts.tolist()[:7:2] == COUNTS.tolist()


def test_natural_shares_are_a_shuffled_epoch():
    draws = list(GroupSampler(GROUPS, shares="natural"))
    assert sorted(draws) == list(range(1000))
    assert draws != sorted(draws)


def test_shares_and_group_weights_mean_what_they_say():
    assert drawn(list(GroupSampler(GROUPS, shares=[1, 2, 3, 4], num_samples=20))) == [2, 4, 6, 8]
    assert drawn(list(GroupSampler(GROUPS, group_weights=1 / COUNTS))) == [250] * 4
    by_weight = GroupSampler(GROUPS, group_weights=[1, 2, 0, 1])
    assert np.array_equal(by_weight.quotas, reference.quotas(COUNTS * [1, 2, 0, 1], 1000, 0, 0))


def test_draws_equal_the_reference():
    sampler = GroupSampler(GROUPS, seed=5)
    for epoch in (0, 3):
        sampler.set_epoch(epoch)
        expected = reference.group_stream(GROUPS, [250] * 4, 5, epoch)
        assert list(sampler) == expected.tolist()
        sampler.set_epoch(epoch)
        assert np.array_equal(sampler.indices(), expected)
        assert np.array_equal(sampler.indices(10, 20), expected[10:20])
        assert sampler.indices().dtype == np.int64


def test_an_iterator_that_nobody_draws_from_uses_nothing_up():
    """`DataLoader` with workers opens two of a batch sampler, and Lightning one before it calls `set_epoch`."""
    sampler = GroupSampler(GROUPS)
    for _ in range(3):
        iter(sampler)
    assert (sampler.epoch, sampler.state_dict()["position"]) == (0, 0)
    opened = iter(sampler)
    sampler.set_epoch(3)
    assert list(opened) == sampler.indices().tolist()
    assert sampler.state_dict()["position"] == 1000
    iter(sampler)
    assert sampler.epoch == 3


def test_ranks_have_equal_lengths_by_default():
    assert [len(GroupSampler(GROUPS, rank=r, num_replicas=7)) for r in range(7)] == [143] * 7
    # More ranks than draws: the epoch over and over, as in DistributedSampler.
    few = GroupSampler([0, 0], rank=4, num_replicas=5)
    assert list(few) == few.indices(0, 1).tolist()
    with pytest.raises(InputError, match="^num_samples is 2; expected 5 or above, a draw for each rank, or drop_last="):
        GroupSampler([0, 0], rank=4, num_replicas=5, drop_last=True)


def test_the_length_after_a_resume_on_other_ranks_is_what_remains():
    ranks = [GroupSampler(GROUPS, rank=r, num_replicas=2) for r in range(2)]
    assert [len(list(itertools.islice(rank, 100))) for rank in ranks] == [100, 100]
    for world, length in ((1, 800), (3, 267), (4, 200)):
        resumed = GroupSampler(GROUPS, rank=0, num_replicas=world)
        resumed.load_state_dict(ranks[0].state_dict())
        assert len(resumed) == length
        drawn = list(itertools.islice(resumed, 5))
        assert len(resumed) == length
        assert len(drawn) == 5
        resumed.set_epoch(1)
        assert len(resumed) == -(-1000 // world) == len(list(resumed))
    # Loops that count batches themselves expect the length of the epoch.
    resumed = GroupSampler(GROUPS, rank=0, num_replicas=2)
    resumed.load_state_dict(ranks[0].state_dict())
    assert (len(resumed), len(list(resumed))) == (500, 400)


def test_a_seed_of_none_is_drawn_from_torchs_default_generator():
    def order(seed):
        torch.manual_seed(seed)
        sampler = GroupSampler(GROUPS, seed=None)
        return list(sampler), sampler.state_dict()["seed"]

    assert order(1) == order(1)
    assert order(1) != order(2)
    with pytest.raises(InputError, match="^seed is None with 2 processes; expected an integer, the same on each"):
        GroupSampler(GROUPS, seed=None, rank=0, num_replicas=2)


def test_threads_change_nothing():
    orders = [GroupSampler(np.arange(300_000) % 7, num_threads=n).indices() for n in (None, 1, 3)]
    assert np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])
    with pytest.raises(InputError, match="^num_threads is 0"):
        GroupSampler(GROUPS, num_threads=0)


def test_an_epoch_longer_than_a_chunk_is_seamless():
    order = GroupSampler(GROUPS, num_samples=100_001).indices().tolist()
    sampler = GroupSampler(GROUPS, num_samples=100_001, rank=1, num_replicas=2)
    assert list(sampler) == [*order[1::2], order[0]]


def test_draws_are_pinned():
    sampler = GroupSampler(np.arange(5000) % 5, shares=[5, 4, 3, 2, 1], seed=2025)
    sampler.set_epoch(3)
    assert sampler.indices(4000, 4006).tolist() == PINNED
    assert sampler.state_dict() == PINNED_STATE
    sampler = GroupSampler(np.arange(5000) % 5, shares=[5, 4, 3, 2, 1], seed=2025, independent=True)
    sampler.set_epoch(3)
    assert sampler.indices(4000, 4006).tolist() == PINNED_INDEPENDENT


PINNED = [4357, 975, 482, 4642, 3939, 2892]
PINNED_INDEPENDENT = [3526, 3331, 4755, 4315, 4030, 2978]
PINNED_STATE = {
    "version": 3,
    "num_replicas": 1,
    "seed": 2025,
    "epoch": 3,
    "position": 0,
    "shares": [5, 4, 3, 2, 1],
    "next_shares": [5, 4, 3, 2, 1],
    "groups_digest": 413606504006025056,
    "num_samples": 5000,
    "independent": False,
}


def test_independent_draws_are_a_function_of_their_number():
    sampler = GroupSampler(GROUPS, seed=5, num_samples=70_002, independent=True)
    order = sampler.indices()
    assert np.array_equal(sampler.indices(60_000, 60_100), order[60_000:60_100])
    options = {"seed": 5, "num_samples": 70_002, "independent": True, "num_replicas": 3}
    ranks = [GroupSampler(GROUPS, rank=rank, **options) for rank in range(3)]
    assert all(list(rank) == order[i::3].tolist() for i, rank in enumerate(ranks))
    half = list(itertools.islice(sampler, 40_000))
    resumed = GroupSampler(GROUPS, independent=True)
    resumed.load_state_dict(sampler.state_dict())
    assert half + list(resumed) == order.tolist()
    assert list(resumed) != order.tolist()
    assert repr(sampler).endswith("independent=True, seed=5, epoch=0)")
