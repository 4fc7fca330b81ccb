"""GroupSampler: shares, lengths on ranks, positions, states, bad input. More of passes: test_sampling_passes.py."""

import doctest
import itertools
import json

import numpy as np
import pytest
import reference
import torch

import dbpt.sampling.group_sampler
from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler, GroupSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)


def drawn(indices, groups=GROUPS):
    return np.bincount(groups[indices], minlength=4).tolist()


def test_docstring_example():
    assert doctest.testmod(dbpt.sampling.group_sampler).failed == 0
    assert doctest.testmod(dbpt.sampling.group_sampler).attempted > 0


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
    assert np.array_equal(by_weight.quotas, reference.quotas(COUNTS * [1, 2, 0, 1], 1000))


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
    """1,001 draws on 2 ranks: 501 each, the last one the first again, or 500 each with ``drop_last``."""
    order = GroupSampler(GROUPS, num_samples=1001).indices().tolist()
    ranks = [GroupSampler(GROUPS, num_samples=1001, rank=r, num_replicas=2) for r in range(2)]
    assert [len(rank) for rank in ranks] == [501, 501]
    assert [list(rank) for rank in ranks] == [order[::2], [*order[1::2], order[0]]]
    ranks = [GroupSampler(GROUPS, num_samples=1001, rank=r, num_replicas=2, drop_last=True) for r in range(2)]
    assert [len(rank) for rank in ranks] == [500, 500]
    assert [list(rank) for rank in ranks] == [order[:1000:2], order[1:1001:2]]
    assert [rank.state_dict()["position"] for rank in ranks] == [1001, 1001]
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


def test_a_state_from_the_end_of_an_epoch_loses_no_epoch():
    sampler = GroupSampler(GROUPS)
    list(sampler)
    state = sampler.state_dict()
    following = list(sampler)
    resumed = GroupSampler(GROUPS)
    resumed.load_state_dict(state)
    assert list(resumed) == following
    # A loop that counts epochs itself asks for the finished one first: nothing is left of it.
    resumed.load_state_dict(state)
    resumed.set_epoch(0)
    assert list(resumed) == []
    resumed.set_epoch(1)
    assert list(resumed) == following


def test_set_epoch_keeps_a_loaded_position_in_that_epoch_only():
    sampler = GroupSampler(GROUPS)
    sampler.set_epoch(2)
    order = sampler.indices().tolist()
    list(itertools.islice(sampler, 10))
    resumed = GroupSampler(GROUPS)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(2)
    assert list(resumed) == order[10:]
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(4)
    assert len(list(resumed)) == 1000


def test_a_loaded_position_is_used_up_by_the_first_draw():
    sampler = GroupSampler(GROUPS)
    order = sampler.indices().tolist()
    list(itertools.islice(sampler, 10))
    resumed = GroupSampler(GROUPS)
    resumed.load_state_dict(sampler.state_dict())
    iter(resumed)
    assert list(itertools.islice(resumed, 5)) == order[10:15]
    assert len(list(resumed)) == 1000
    assert resumed.epoch == 1


def test_a_seed_of_none_is_drawn_from_torchs_default_generator():
    def order(seed):
        torch.manual_seed(seed)
        sampler = GroupSampler(GROUPS, seed=None)
        return list(sampler), sampler.state_dict()["seed"]

    assert order(1) == order(1)
    assert order(1) != order(2)
    with pytest.raises(InputError, match="^seed is None with 2 processes; expected an integer, the same on each"):
        GroupSampler(GROUPS, seed=None, rank=0, num_replicas=2)


@pytest.mark.parametrize("make", [GroupSampler, lambda groups, **options: GroupBatchSampler(groups, 10, **options)])
def test_a_generator_is_refused_and_a_data_set_checked(make):
    with pytest.raises(InputError, match="^generator is given, but .*; expected seed=, an integer, or seed=None"):
        make(GROUPS, generator=torch.Generator())
    assert len(make(GROUPS, dataset=range(1000)).indices().ravel()) == 1000
    with pytest.raises(InputError, match="^groups has length 1000; expected 999, one for each row of dataset"):
        make(GROUPS, dataset=range(999))
    with pytest.raises(InputError, match="^dataset is a generator, which has no length"):
        make(GROUPS, dataset=(row for row in range(3)))


def test_threads_change_nothing():
    orders = [GroupSampler(np.arange(300_000) % 7, num_threads=n).indices() for n in (None, 1, 3)]
    assert np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])
    with pytest.raises(InputError, match="^num_threads is 0"):
        GroupSampler(GROUPS, num_threads=0)


def test_the_state_is_plain_and_small():
    state = GroupSampler(np.arange(70_000) % 3).state_dict()
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, r"^state\['version'\] is 1; expected 2"),
        ({"groups_digest": 1}, "saved with other groups"),
        ({"position": 1001}, r"^state\['position'\] is 1001; expected an integer from 0 to 1000"),
        ({"epoch": -1}, r"^state\['epoch'\] is -1"),
        ({"seed": 0.5}, r"^state\['seed'\] is 0.5"),
        ({"quotas": [1, 2]}, r"^state\['quotas'\] has shape \(2,\)"),
        ({"quotas": [[1], 2]}, r"^state\['quotas'\] is ragged"),
        ({"quotas": [1000, -1, 0, 1]}, r"^quotas\[1\] is -1"),
        ({"quotas": [1, 0, 0, 0]}, r"^state\['next_quotas'\] add up to 1000; expected 1 as"),
        ({"next_quotas": [1, 0, 0, 0]}, r"^state\['next_quotas'\] add up to 1; expected 1000"),
        ({"num_samples": 999}, r"^state\['quotas'\] add up to 1000; expected 999"),
        ({"num_samples": 0}, r"^state\['num_samples'\] is 0"),
        ({"independent": True}, r"^state\['independent'\] is True; expected False"),
        ({"independent": 0}, r"^state\['independent'\] is 0; expected False"),
        ({"extra": 1}, "^state is not that of a GroupSampler"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(change, message):
    sampler = GroupSampler(GROUPS)
    list(itertools.islice(sampler, 10))
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        sampler.load_state_dict({**before, **change})
    with pytest.raises(InputError, match="^state is not that"):
        sampler.load_state_dict([])
    assert sampler.state_dict() == before


def test_an_epoch_longer_than_a_chunk_is_seamless():
    order = GroupSampler(GROUPS, num_samples=100_001).indices().tolist()
    sampler = GroupSampler(GROUPS, num_samples=100_001, rank=1, num_replicas=2)
    assert list(sampler) == [*order[1::2], order[0]]
    sampler = GroupSampler(GROUPS, num_samples=100_001)
    order = sampler.indices().tolist()
    assert list(itertools.islice(sampler, 70_000)) == order[:70_000]
    assert sampler.state_dict()["position"] == 70_000


def test_draws_are_pinned():
    sampler = GroupSampler(np.arange(5000) % 5, shares=[5, 4, 3, 2, 1], seed=2025)
    sampler.set_epoch(3)
    assert sampler.indices(4000, 4006).tolist() == PINNED
    assert sampler.state_dict() == PINNED_STATE
    sampler = GroupSampler(np.arange(5000) % 5, shares=[5, 4, 3, 2, 1], seed=2025, independent=True)
    sampler.set_epoch(3)
    assert sampler.indices(4000, 4006).tolist() == PINNED_INDEPENDENT


PINNED = [4352, 975, 477, 4637, 1914, 2887]
PINNED_INDEPENDENT = [3526, 3331, 4755, 4315, 4030, 2978]
PINNED_STATE = {
    "version": 2,
    "num_replicas": 1,
    "seed": 2025,
    "epoch": 3,
    "position": 0,
    "quotas": [1667, 1333, 1000, 667, 333],
    "next_quotas": [1667, 1333, 1000, 667, 333],
    "groups_digest": 413606504006025056,
    "num_samples": 5000,
    "independent": False,
}


@pytest.mark.parametrize(
    ("groups", "kwargs", "message"),
    [
        ([0, -1, 1], {}, r"^groups\[1\] is -1, one of 1 rows without a group; .*leave those rows out"),
        ([0, 3], {"num_groups": 3}, r"^groups\[1\] is 3; expected -1 \(outside\) or 0 to 2"),
        ([[0], [1, 2]], {}, "^groups is ragged"),
        ([], {}, r"^groups has shape \(0,\)"),
        ([[0]], {}, r"^groups has shape \(1, 1\)"),
        ([0.5], {}, r"^groups has dtype float64; expected integers \(\.astype\(int\) makes them\)"),
        (["sea", "land"], {}, r"^groups has dtype <U4; expected integers \(numpy.unique\(.*return_inverse=True\)"),
        (None, {}, r"^groups is None; expected \(N,\) integers: an array, tensor or list"),
        ((group for group in [0, 1]), {}, "^groups is <generator object"),
        (GROUPS, {"independent": "no"}, "^independent is 'no'; expected True or False"),
        ([0, 2**40], {}, r"^groups\[1\] is 1099511627776; expected -1 \(outside\) or 0 to 2\^24 - 1"),
        (GROUPS, {"shares": "balance"}, r"^shares is 'balance'; .*did you mean 'balanced'\?"),
        (GROUPS, {"shares": [1, 2]}, r"^shares has shape \(2,\) .*expected \(4,\)"),
        (GROUPS, {"shares": [1, 2, np.nan, 1]}, r"^shares\[2\] is nan"),
        (GROUPS, {"shares": [0, 0, 0, 0]}, "^the sum of shares is 0"),
        ([0, 2], {"shares": [1, 1, 1]}, r"^shares\[1\] is 1, but group 1 has no members"),
        (GROUPS, {"group_weights": [1, -2, 1, 1]}, r"^group_weights\[1\] is -2"),
        (GROUPS, {"group_weights": [0, 0, 0, 0]}, r"^the sum of N_g \* group_weights\[g\] is 0.0; expected a finite"),
        (GROUPS, {"group_weights": [1e308] * 4}, r"^the sum of N_g \* group_weights\[g\] is inf; expected a finite"),
        (GROUPS, {"group_weights": [1, 1, 1, 1], "shares": "natural"}, "^shares and group_weights are both given"),
        (GROUPS, {"num_samples": 0}, "^num_samples is 0"),
        (GROUPS, {"num_samples": 1.5}, "^num_samples is 1.5; expected an integer from 1 to 281474976710656"),
        (GROUPS, {"num_samples": True}, "^num_samples is True"),
        (GROUPS, {"seed": -1}, "^seed is -1; expected an integer from 0 to"),
        (GROUPS, {"rank": 0}, "^rank is 0 and num_replicas is None; expected both or neither"),
        (GROUPS, {"rank": 2, "num_replicas": 2}, "^rank is 2; expected an integer from 0 to 1"),
    ],
)
def test_bad_arguments_are_named(groups, kwargs, message):
    with pytest.raises(InputError, match=message):
        GroupSampler(groups, **kwargs)


def test_bad_calls_are_named():
    sampler = GroupSampler(GROUPS)
    with pytest.raises(InputError, match="^epoch is -1"):
        sampler.set_epoch(-1)
    with pytest.raises(InputError, match="^stop is 1001; expected an integer from 0 to 1000"):
        sampler.indices(0, 1001)
    with pytest.raises(InputError, match="^stop is 3; expected an integer from 5"):
        sampler.indices(5, 3)
    with pytest.raises(InputError, match=r"^group_weights has shape \(1,\)"):
        sampler.set_group_weights([1])
    with pytest.raises(InputError, match=r"^group_weights has shape \(\) and dtype object; expected \(4,\) numbers"):
        sampler.set_group_weights(None)
