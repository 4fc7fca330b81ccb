"""GroupBatchSampler as training loops use it: compositions, passes over members, ranks, resuming, bad input."""

import doctest
import itertools
import json
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dbpt.sampling.group_batch_sampler
from dbpt._core import BatchStream, GroupIndex, batch_quotas
from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)


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


def test_docstring_example():
    found = doctest.testmod(dbpt.sampling.group_batch_sampler)
    assert found.failed == 0
    assert found.attempted > 0


# --- compositions ---------------------------------------------------------------------------------


def test_balanced_is_the_default_and_holds_in_every_batch():
    sampler = GroupBatchSampler(GROUPS, 32)
    batches = list(sampler)
    assert len(batches) == len(sampler) == sampler.num_batches == 32
    assert (compositions(batches) == 8).all()
    with_empty = GroupBatchSampler(GROUPS * 2, 8, num_groups=9)
    assert (compositions(with_empty, GROUPS * 2, 9) == [2, 0, 2, 0, 2, 0, 2, 0, 0]).all()
    assert with_empty.num_groups == 9
    assert with_empty.counts.tolist()[:7:2] == COUNTS.tolist()


def test_shares_that_add_up_to_the_batch_size_are_the_composition():
    assert (compositions(GroupBatchSampler(GROUPS, 10, shares=[1, 2, 3, 4])) == [1, 2, 3, 4]).all()
    assert (compositions(GroupBatchSampler(GROUPS, 8, shares=[3, 0, 1, 0])) == [6, 0, 2, 0]).all()


def test_natural_shares_draw_every_row_once_in_batches_that_all_look_like_the_data():
    sampler = GroupBatchSampler(GROUPS, 25, shares="natural", min_per_group=0)
    batches = list(sampler)
    assert sorted(itertools.chain(*batches)) == list(range(1000))
    assert (np.abs(compositions(batches) - COUNTS / 40) < 1).all()


def test_at_least_one_of_each_group_and_the_rest_by_share():
    sampler = GroupBatchSampler(GROUPS, 10, shares="natural")
    counts = compositions(sampler)
    assert (counts[:, 1:3] == 1).all()
    left = 8 * COUNTS[[0, 3]] / COUNTS[[0, 3]].sum()
    assert (np.abs(counts[:, [0, 3]] - left) < 1).all()
    assert (compositions(GroupBatchSampler(GROUPS, 20, shares="natural", min_per_group=5)) == 5).all()


def test_group_weights_mean_what_one_sample_weighs():
    assert (compositions(GroupBatchSampler(GROUPS, 8, group_weights=1 / COUNTS)) == 2).all()
    sampler = GroupBatchSampler(GROUPS, 40, group_weights=[1, 2, 0, 1], num_batches=25)
    assert np.array_equal(sampler.quotas, reference.quotas(COUNTS * [1, 2, 0, 1], 1000))


@given(cases())
@settings(max_examples=150, deadline=None)
def test_every_batch_is_within_one_of_its_share_and_the_epoch_is_exact(case):
    groups, batch_size, keywords = case
    sampler = GroupBatchSampler(groups, batch_size, **keywords)
    assert np.array_equal(
        sampler.quotas,
        reference.batch_quotas(keywords["shares"], batch_size, keywords["num_batches"], keywords["min_per_group"]),
    )
    batches = np.array(list(sampler))
    assert batches.shape == (keywords["num_batches"], batch_size)
    counts = compositions(batches, groups, keywords["num_groups"])
    part, extra = np.divmod(sampler.quotas, keywords["num_batches"])
    assert ((counts >= part) & (counts <= part + (extra > 0))).all()
    assert (counts[:, np.array(keywords["shares"]) > 0] >= keywords["min_per_group"]).all()
    assert np.array_equal(counts.sum(axis=0), sampler.quotas)


def test_the_one_more_does_not_always_go_to_the_same_groups():
    groups = np.repeat(np.arange(5), 200)
    sampler = GroupBatchSampler(groups, 7, num_batches=100)
    counts = compositions(sampler, groups, 5)
    assert (counts.sum(axis=0) == 140).all()
    halves = counts[:50].sum(axis=0)
    assert (np.abs(halves - 70) <= 2).all()
    # Over the epochs each pair of groups gets it together in some batch.
    together = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        together |= {tuple(np.flatnonzero(row == 2)) for row in compositions(sampler.indices(), groups, 5)}
    assert together == set(itertools.combinations(range(5), 2))


# --- members --------------------------------------------------------------------------------------


@given(cases(), st.integers(0, 1200))
@settings(max_examples=100, deadline=None)
def test_at_any_point_every_member_has_been_drawn_equally_often(case, cut):
    groups, batch_size, keywords = case
    sampler = GroupBatchSampler(groups, batch_size, **keywords)
    times = np.bincount(sampler.indices(0, cut % (sampler.num_batches + 1)).ravel(), minlength=len(groups))
    for group in range(sampler.num_groups):
        of_members = times[groups == group]
        assert of_members.size == 0 or of_members.max() - of_members.min() <= 1


def test_a_batch_holds_a_row_twice_only_where_passes_meet_or_a_group_is_too_small():
    assert COUNTS.min() >= 10
    batches = GroupBatchSampler(GROUPS, 40, num_batches=100).indices().tolist()
    seams = (100 * 10 - 1) // COUNTS
    assert 0 < sum(len(set(batch)) < 40 for batch in batches) <= seams.sum()
    unseamed = GroupBatchSampler(GROUPS, 40, num_batches=COUNTS.min() // 10).indices().tolist()
    assert all(len(set(batch)) == 40 for batch in unseamed)
    sampler = GroupBatchSampler(GROUPS, 4 * 100, num_batches=3)
    for batch in sampler:
        for group, count in enumerate(COUNTS):
            times = np.bincount(batch, minlength=1000)[group == GROUPS]
            assert times.max() <= -(-100 // count) + 1


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


def test_rows_positions_and_orders_are_uniform():
    """χ² of which row stands where in a given batch, and of which of two groups comes first, over many epochs."""
    groups = np.repeat([0, 1], [5, 3])
    sampler = GroupBatchSampler(groups, 4, num_batches=5)
    batches = []
    for epoch in range(6000):
        sampler.set_epoch(epoch)
        batches.append(sampler.indices(3, 4)[0])
    batches = np.array(batches)
    cells = np.array([[(batches[:, column] == row).sum() for row in range(8)] for column in range(4)])
    expected = 6000 * np.repeat([1 / 10, 1 / 6], [5, 3])
    # 4 columns of 8 rows, 7 degrees of freedom each (fewer, as the groups' numbers are fixed): mean below 28, s.d. 7.5.
    assert ((cells - expected) ** 2 / expected).sum() < 70
    orders = np.unique(groups[batches] @ [8, 4, 2, 1], return_counts=True)[1]
    assert len(orders) == 6
    assert ((orders - 1000) ** 2 / 1000).sum() < 30


def test_epochs_and_seeds_give_other_batches():
    sampler = GroupBatchSampler(GROUPS, 20, seed=1)
    first, second = list(sampler), list(sampler)
    assert sampler.epoch == 1
    assert first != second
    assert first != list(GroupBatchSampler(GROUPS, 20, seed=2))
    sampler.set_epoch(0)
    assert list(itertools.islice(sampler, 3)) == first[:3]
    assert list(sampler) == first


def test_new_shares_start_with_the_next_pass():
    sampler = GroupBatchSampler(GROUPS, 8)
    sampler.set_shares([3, 1, 2, 2])
    assert (compositions(sampler) == [3, 1, 2, 2]).all()
    running = iter(sampler)
    sampler.set_group_weights(1 / COUNTS)
    assert (compositions(running) == [3, 1, 2, 2]).all()
    assert (compositions(sampler) == 2).all()
    half = list(itertools.islice(sampler, 60))
    sampler.set_shares([1, 1, 1, 5])
    other = GroupBatchSampler(GROUPS, 8)
    other.load_state_dict(sampler.state_dict())
    rest = list(other)
    assert len(half) + len(rest) == 125
    assert (compositions(half + rest) == 2).all()
    assert (compositions(other) == [1, 1, 1, 5]).all()


# --- ranks and states -----------------------------------------------------------------------------


@given(st.integers(1, 70), st.integers(1, 150), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_ranks_are_disjoint_and_their_union_is_the_global_order(world, num_batches, seed):
    keywords = {"num_batches": num_batches, "seed": seed, "num_replicas": world}
    ranks = [GroupBatchSampler(GROUPS, 5, rank=rank, **keywords) for rank in range(world)]
    order = ranks[-1].indices().tolist()
    parts = [list(rank) for rank in ranks]
    assert [len(rank) for rank in ranks] == [len(part) for part in parts]
    assert [batch for step in itertools.zip_longest(*parts) for batch in step if batch is not None] == order


def test_ranks_have_equal_lengths_by_default():
    for world in (1, 3, 7):
        lengths = {len(GroupBatchSampler(GROUPS, 24, rank=r, num_replicas=world)) for r in range(world)}
        assert lengths == {-(-1000 // (24 * world))}


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_another_number_of_ranks_resumes_the_same_global_order(world, new_world, num_batches, data):
    def ranks(world):
        return [
            GroupBatchSampler(GROUPS, 6, num_batches=num_batches, rank=rank, num_replicas=world)
            for rank in range(world)
        ]

    old = ranks(world)
    order = old[0].indices().tolist()
    steps = data.draw(st.integers(0, num_batches // world))
    for rank in old:
        list(itertools.islice(rank, steps))
    states = [rank.state_dict() for rank in old]
    assert all(state == states[0] for state in states)
    position = states[0]["position"]
    assert position == steps * world
    new = ranks(new_world)
    for rank in new:
        rank.load_state_dict(states[0])
        if position == num_batches:
            rank.set_epoch(0)
    batches = [list(rank) for rank in new]
    assert sorted(itertools.chain(*batches)) == sorted(order[position:])
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_resuming_at_any_position_continues_as_if_uninterrupted(first, second):
    def run(sampler, batches):
        """Draw as a loop without set_epoch does: pass after pass."""
        found = []
        while len(found) < batches:
            found += itertools.islice(sampler, batches - len(found))
        return found

    plain = GroupBatchSampler(GROUPS, 6, num_batches=20, seed=3)
    expected = []
    for epoch in range(6):
        plain.set_epoch(epoch)
        expected += plain.indices().tolist()
    sampler = GroupBatchSampler(GROUPS, 6, num_batches=20, seed=3)
    found = run(sampler, first)
    resumed = GroupBatchSampler(GROUPS, 6, num_batches=20, seed=99)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert resumed.state_dict() == sampler.state_dict()
    assert found + run(resumed, second) == expected[: first + second]


def test_a_loader_that_draws_ahead_says_how_many_batches_it_has_consumed():
    sampler = GroupBatchSampler(GROUPS, 10, seed=4)
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=sampler, num_workers=1, multiprocessing_context="fork")
    batches = iter(loader)
    seen = [next(batches)[0].tolist() for _ in range(7)]
    assert sampler.state_dict()["position"] > 7
    resumed = GroupBatchSampler(GROUPS, 10)
    resumed.load_state_dict(sampler.state_dict(consumed=7))
    assert seen + list(resumed) == resumed.indices().tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"^state\['version'\] is 2; expected 1"),
        ({"groups_digest": 1}, "saved with other groups"),
        ({"batch_size": 5}, r"^state\['batch_size'\] is 5; expected 10, as here"),
        ({"batch_size": "10"}, r"^state\['batch_size'\] is '10'; expected an integer"),
        ({"position": 101}, r"^state\['position'\] is 101; expected an integer from 0 to 100"),
        ({"quotas": [1, 2]}, r"^state\['quotas'\] has shape \(2,\)"),
        ({"quotas": [250, 250, 250, 251]}, "^the sum of quotas is 1001; expected a multiple of batch_size"),
        ({"next_quotas": [10, 0, 0, 0]}, r"^state\['next_quotas'\] add up to 10; expected 1000"),
        ({"extra": 1}, "^state is not that of a GroupBatchSampler"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(change, message):
    sampler = GroupBatchSampler(GROUPS, 10)
    list(itertools.islice(sampler, 10))
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        sampler.load_state_dict({**before, **change})
    assert sampler.state_dict() == before


# --- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_workers", "context"), [(0, None), (2, "fork"), (1, "spawn")])
def test_a_dataloader_with_workers_gets_the_same_batches(num_workers, context):
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    sampler = GroupBatchSampler(GROUPS, 25, seed=4)
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=sampler, num_workers=num_workers, multiprocessing_context=context
    )
    order = sampler.indices().tolist()
    assert len(loader) == 40
    assert [batch.tolist() for (batch,) in loader] == order
    assert [batch.tolist() for (batch,) in loader] != order


class DrawingDataset(torch.utils.data.Dataset):
    """Draws inside the worker, with threads."""

    def __len__(self):
        return 4

    def __getitem__(self, epoch):
        sampler = GroupBatchSampler(np.arange(1000) % 3, 100, num_batches=2000)
        sampler.set_epoch(epoch)
        return int(sampler.indices()[-1, -1])


def test_threads_work_inside_a_forked_worker():
    dataset = DrawingDataset()
    expected = [dataset[epoch] for epoch in range(4)]  # threads in the parent first
    loader = torch.utils.data.DataLoader(dataset, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert [int(row) for row in loader] == expected


def test_several_python_threads_read_one_stream():
    sampler = GroupBatchSampler(GROUPS, 50, num_batches=400)
    expected = sampler.indices()
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: sampler.indices(start, start + 20), range(0, 400, 20)))
    assert np.array_equal(np.concatenate(parts), expected)


def test_ctrl_c_stops_a_long_call():
    sampler = GroupBatchSampler(GROUPS, 1000, num_batches=500_000)  # 4 GB, hardly any of it touched by then
    before = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            sampler.indices()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_group_dro_sees_every_group_in_every_step():
    """The loss of each group in each batch, without a guard against empty ones; the weakest group gets good."""
    torch.manual_seed(0)
    groups = torch.from_numpy(GROUPS)
    labels = (groups >= 2).float()
    features = torch.randn(1000, 2) * 0.5 + torch.stack([labels * 2 - 1, (groups % 2) * 6.0 - 3], dim=1)
    features[:, 1] += labels * 4  # a shortcut that is wrong for the small groups
    dataset = torch.utils.data.TensorDataset(features, labels, groups)
    model, q = torch.nn.Linear(2, 1), torch.ones(4) / 4
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=GroupBatchSampler(GROUPS, 16, shares="natural"))
    for _ in range(8):
        for x, y, g in loader:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(model(x)[:, 0], y, reduction="none")
            group_losses = torch.stack([losses[g == group].mean() for group in range(4)])
            q = q * (0.1 * group_losses.detach()).exp()
            q = q / q.sum()
            optimiser.zero_grad()
            (q * group_losses).sum().backward()
            optimiser.step()
    right = ((model(features)[:, 0] > 0) == (labels > 0)).float()
    assert min(right[groups == group].mean().item() for group in range(4)) > 0.9


def test_it_looks_like_a_batch_sampler_to_frameworks():
    sampler = GroupBatchSampler(GROUPS, 12)
    assert isinstance(sampler, torch.utils.data.Sampler)
    assert sampler.batch_size == 12  # Accelerate wants it
    assert sampler.sampler is sampler  # where Lightning and Accelerate look for set_epoch
    assert not hasattr(sampler, "generator")
    assert not hasattr(sampler, "drop_last")
    batch = next(iter(sampler))
    assert type(batch) is list
    assert type(batch[0]) is int


def test_pickling_and_repr():
    sampler = GroupBatchSampler(GROUPS, 10, seed=2, rank=1, num_replicas=4)
    list(itertools.islice(sampler, 7))
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.state_dict() == sampler.state_dict()
    assert list(copy) == list(sampler)
    assert repr(sampler) == (
        "GroupBatchSampler(num_groups=4, batch_size=10, num_batches=100, quotas=[250, 250, 250, 250], seed=2, "
        "epoch=0, rank=1, num_replicas=4)"
    )
    assert repr(GroupBatchSampler(GROUPS, 10)).endswith("seed=0, epoch=0)")


# --- values, scale --------------------------------------------------------------------------------


def test_batches_are_pinned():
    sampler = GroupBatchSampler(np.arange(5000) % 5, 6, shares=[5, 4, 3, 2, 1], seed=2025)
    sampler.set_epoch(3)
    assert sampler.indices(500, 502).tolist() == PINNED
    assert sampler.state_dict() == PINNED_STATE


PINNED = [[189, 1825, 2777, 4031, 2485, 4978], [2275, 1640, 2936, 2639, 4142, 4653]]
PINNED_STATE = {
    "version": 1,
    "seed": 2025,
    "epoch": 3,
    "position": 0,
    "groups_digest": 413606504006025056,
    "batch_size": 6,
    "quotas": [1390, 1112, 834, 834, 834],
    "next_quotas": [1390, 1112, 834, 834, 834],
}


def test_a_million_rows_in_a_thousand_groups():
    groups = np.random.default_rng(1).integers(0, 1000, 1_000_000)
    sampler = GroupBatchSampler(groups, 1500, seed=1)
    batches = sampler.indices()
    assert batches.shape == (667, 1500)
    counts = compositions(batches, groups, 1000)
    assert counts.min() == 1
    assert counts.max() == 2
    assert np.array_equal(sampler.indices(600, 603), batches[600:603])
    ranked = GroupBatchSampler(groups, 1500, num_batches=667, seed=1, rank=64, num_replicas=65)
    assert list(ranked) == batches[64::65].tolist()


def test_epochs_beyond_32_bits_can_be_sought():
    sampler = GroupBatchSampler([0, 1, 1], 1024, shares=[1, 2.003], num_batches=2**38)
    batches = sampler.indices(2**37, 2**37 + 3)
    assert np.array_equal(sampler.indices(2**37 + 2, 2**37 + 3), batches[2:])
    assert set(np.count_nonzero(batches == 0, axis=1).tolist()) <= {340, 341}
    assert len(sampler.indices(2**38 - 1)) == 1


# --- bad input ------------------------------------------------------------------------------------


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
        (GROUPS, 0, {}, "^batch_size is 0; expected an integer from 1 to 16777216"),
        (GROUPS, 2.0, {}, "^batch_size is 2.0; expected an integer"),
        (GROUPS, 2**25, {}, "^batch_size is 33554432; expected an integer from 1"),
        (GROUPS, 8, {"min_per_group": -1}, "^min_per_group is -1"),
        (GROUPS, 8, {"num_batches": 0}, "^num_batches is 0"),
        (GROUPS, 8, {"num_batches": 2**46}, r"^batch_size \* num_batches is 562949953421312; expected 1 to 2"),
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
    with pytest.raises(InputError, match="^shares has length 1; expected 2"):
        batch_quotas(np.ones(1), index.counts, 2, 1, 1)
