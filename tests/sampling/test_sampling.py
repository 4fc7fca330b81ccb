"""GroupSampler: shares, lengths on ranks, positions, states, bad input. More of passes: test_sampling_passes.py."""

import itertools

import numpy as np
import reference
import torch
from weighted_draws import COUNTS, GROUPS

from dbpt.sampling import GroupSampler


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


def test_threads_change_nothing():
    orders = [GroupSampler(np.arange(300_000) % 7, num_threads=n).indices() for n in (None, 1, 3)]
    assert np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])


def test_an_epoch_longer_than_a_chunk_is_seamless():
    order = GroupSampler(GROUPS, num_samples=100_001).indices().tolist()
    sampler = GroupSampler(GROUPS, num_samples=100_001, rank=1, num_replicas=2)
    assert list(sampler) == [*order[1::2], order[0]]
