"""Passes of all three samplers: epochs, ranks, states, loaders. Only the last pass moves the sampler."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import GROUPS, OTHERS, WEIGHTS

from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler, GroupSampler, WeightedSampler

NEW_SHARES = [1, 1, 1, 5]
KINDS = pytest.mark.parametrize("kind", ["rows", "independent", "batches", "weights"])


def make(kind, length, rank=0, num_replicas=1, *, new=False, **keywords):
    """A sampler of ``length`` draws an epoch; with ``new`` of the distribution that `change` gives it."""
    keywords = {"rank": rank, "num_replicas": num_replicas, "seed": 3} | keywords
    if kind == "weights":
        return WeightedSampler(OTHERS if new else WEIGHTS, length, **keywords)
    shares = NEW_SHARES if new else "balanced"
    if kind != "batches":
        return GroupSampler(GROUPS, num_samples=length, shares=shares, independent=kind == "independent", **keywords)
    return GroupBatchSampler(GROUPS, 8, num_batches=length, shares=shares, **keywords)


def change(sampler, *, back=False):
    if isinstance(sampler, WeightedSampler):
        sampler.set_weights(WEIGHTS if back else OTHERS)
    elif back:
        sampler.set_group_weights(1 / sampler.counts)
    else:
        sampler.set_shares(NEW_SHARES)


def order(kind, length, epoch, **keywords):
    """The draws of an epoch from the pure function alone."""
    sampler = make(kind, length, **keywords)
    sampler.set_epoch(epoch)
    return sampler.indices().tolist()


def ranks_of(kind, length, world):
    return [make(kind, length, rank, world) for rank in range(world)]


def in_turn(parts):
    """Return the draws of ranks in step as one list."""
    return [row for step in zip(*parts, strict=True) for row in step]


@KINDS
@given(st.integers(1, 70), st.integers(1, 200), st.booleans())
@settings(max_examples=40)
def test_ranks_draw_equally_often_and_their_union_is_the_global_order(kind, world, length, drop_last):
    """Filled up with the first draws of the epoch, or without those of the last step."""
    length = max(length, world) if drop_last else length
    ranks = [make(kind, length, rank, world, drop_last=drop_last) for rank in range(world)]
    parts = [list(rank) for rank in ranks]
    assert [len(rank) for rank in ranks] == [len(part) for part in parts]
    order, drawn = make(kind, length).indices().tolist(), in_turn(parts)
    assert len(drawn) == (length // world if drop_last else -(-length // world)) * world
    assert drawn == [order[i % length] for i in range(len(drawn))]
    assert all(rank.state_dict()["position"] == length for rank in ranks)


@KINDS
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 15)), min_size=2, max_size=4), st.integers(1, 60))
@settings(max_examples=60)
def test_any_numbers_of_ranks_resume_the_same_global_order_one_after_another(kind, runs, length):
    """Each run has another number of ranks, makes some steps and hands its state on; the last goes to the end."""
    drawn, state = [], make(kind, length).state_dict()
    for world, steps in [*runs[:-1], (runs[-1][0], None)]:
        ranks = ranks_of(kind, length, world)
        for rank in ranks:
            rank.load_state_dict(state)
            rank.set_epoch(0)
        if steps is not None:
            steps = min(steps, (length - state["position"]) // world)
        drawn += in_turn([list(itertools.islice(rank, steps)) for rank in ranks])
        state = ranks[0].state_dict()
        assert all(rank.state_dict() == state for rank in ranks)
    assert drawn[:length] == make(kind, length).indices().tolist()


@KINDS
def test_each_pass_is_over_the_next_epoch_whether_or_not_the_last_was_finished(kind):
    orders = [order(kind, 40, epoch) for epoch in range(4)]
    assert orders[0] not in [*orders[1:], order(kind, 40, 0, seed=4)]
    sampler = make(kind, 40)
    assert [list(itertools.islice(sampler, 30)) for _ in range(3)] == [one[:30] for one in orders[:3]]
    assert list(sampler) == orders[3]
    for length in (10, 40):  # the same once more, as asked for
        sampler.set_epoch(1)
        assert list(itertools.islice(sampler, length)) == orders[1][:length]


@KINDS
def test_a_new_distribution_starts_with_the_next_pass(kind):
    sampler = make(kind, 40)
    change(sampler)
    assert list(sampler) == order(kind, 40, 0, new=True)
    running = iter(sampler)
    first = next(running)
    change(sampler, back=True)
    assert [first, *running] == order(kind, 40, 1, new=True)
    assert list(sampler) == order(kind, 40, 2)
    half = list(itertools.islice(sampler, 20))
    change(sampler)
    other = make(kind, 40)
    other.load_state_dict(sampler.state_dict())
    if kind == "weights":  # which no state holds
        change(other)
    assert half + list(other) == order(kind, 40, 3)
    assert list(other) == list(sampler) == order(kind, 40, 4, new=True)


@KINDS
@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 5))
@settings(max_examples=40)
def test_resuming_at_any_position_continues_as_if_uninterrupted(kind, first, second, epoch):
    def run(sampler, draws):
        """Draw as a loop without set_epoch does: pass after pass."""
        return list(itertools.islice(itertools.chain.from_iterable(iter(sampler.__iter__, None)), draws))

    sampler = make(kind, 40)
    sampler.set_epoch(epoch)
    found = run(sampler, first)
    resumed = make(kind, 9, seed=99)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert resumed.state_dict() == sampler.state_dict()
    expected = [row for number in range(epoch, epoch + 5) for row in order(kind, 40, number)]
    assert found + run(resumed, second) == expected[: first + second]


@KINDS
@pytest.mark.parametrize(("workers", "is_persistent"), [(0, False), (2, False), (1, True)])
def test_a_dataloader_gets_the_order_of_each_epoch_also_if_it_was_left_in_mid_epoch(kind, workers, is_persistent):
    sampler = make(kind, 20 if kind == "batches" else 160)
    by = {"batch_sampler": sampler} if kind == "batches" else {"sampler": sampler, "batch_size": 8}
    options = {"multiprocessing_context": "fork", "persistent_workers": is_persistent} if workers else {}
    loader = torch.utils.data.DataLoader(range(1000), num_workers=workers, **by, **options)
    for epoch, batches in enumerate((4, 20, 4)):
        found = [batch.tolist() for batch in itertools.islice(loader, batches)]
        assert sampler.epoch == epoch
        assert found == sampler.indices().reshape(-1, 8)[:batches].tolist()


@KINDS
def test_a_loader_that_draws_ahead_says_what_it_has_consumed(kind):
    sampler = make(kind, 40)
    by = {"batch_sampler": sampler} if kind == "batches" else {"sampler": sampler, "batch_size": None}
    loader = iter(torch.utils.data.DataLoader(range(1000), num_workers=1, multiprocessing_context="fork", **by))
    seen = [next(loader) for _ in range(7)]
    seen = [one.tolist() if kind == "batches" else one for one in seen]
    assert sampler.state_dict()["position"] > 7
    resumed = make(kind, 40)
    resumed.load_state_dict(sampler.state_dict(consumed=7))
    assert seen + list(resumed) == order(kind, 40, 0)


class DrawingDataset(torch.utils.data.Dataset):
    """Draws inside the worker, with threads, from samplers of the main process and from one of its own."""

    def __init__(self):
        self.samplers = [make("rows", 200_000), make("batches", 20_000), make("weights", 200_000)]

    def __len__(self):
        return 3

    def __getitem__(self, epoch):
        own = WeightedSampler(np.arange(300_000) % 11, 100_000)
        for sampler in (own, *self.samplers):
            sampler.set_epoch(epoch)
        return [int(sampler.indices().ravel()[-1]) for sampler in (own, *self.samplers)]


def test_threads_work_inside_workers():
    dataset = DrawingDataset()
    expected = [dataset[epoch] for epoch in range(3)]  # threads in the parent first
    options = {"batch_size": None, "num_workers": 1, "timeout": 600}
    assert list(torch.utils.data.DataLoader(dataset, multiprocessing_context="fork", **options)) == expected


@KINDS
def test_it_looks_like_a_sampler_to_frameworks(kind):
    sampler = make(kind, 40)
    assert isinstance(sampler, torch.utils.data.Sampler)
    assert not hasattr(sampler, "generator")
    assert len(sampler) == 40
    first = next(iter(sampler))
    assert type(first) is (list if kind == "batches" else int)
    if kind == "batches":
        assert type(first[0]) is int
        assert (sampler.batch_size, sampler.sampler) == (8, sampler)  # where Accelerate and Lightning look
        assert not hasattr(sampler, "drop_last")


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("rows", "GroupSampler(num_groups=4, num_samples=40, quotas=[10, 10, 10, 10], "),
        ("independent", "GroupSampler(num_groups=4, num_samples=40, quotas=[10, 10, 10, 10], independent=True, "),
        ("batches", "GroupBatchSampler(num_groups=4, batch_size=8, num_batches=40, quotas=[80, 80, 80, 80], "),
        ("weights", "WeightedSampler(num_rows=1000, num_samples=40, "),
    ],
)
def test_reprs_tell_epoch_and_rank(kind, shown):
    assert repr(make(kind, 40)) == f"{shown}seed=3, epoch=0)"
    assert repr(make(kind, 40, 1, 4)) == f"{shown}seed=3, epoch=0, rank=1, num_replicas=4)"


@KINDS
def test_an_older_pass_goes_on_alone(kind):
    """It draws what it would have drawn, and the sampler stays where its newest pass, or set_epoch, has put it."""
    length = 40 if kind == "batches" else 40_000  # more than become Python objects at a time
    sampler = make(kind, length)
    older, order = iter(sampler), sampler.indices().tolist()
    begun = list(itertools.islice(older, 10))
    newer = iter(sampler)
    first = list(itertools.islice(newer, 3))
    assert first == sampler.indices(0, 3).tolist()
    assert begun + list(older) == order
    assert (sampler.epoch, sampler.state_dict()["position"]) == (1, 3)
    second = sampler.indices().tolist()
    sampler.set_epoch(5)
    assert first + list(newer) == second
    assert (sampler.epoch, sampler.state_dict()["position"]) == (5, 0)
    assert list(sampler) == sampler.indices().tolist()
    half = list(itertools.islice(make(kind, length), 20))
    state = {**sampler.state_dict(), "epoch": 0, "position": 20}
    running = iter(sampler)
    next(running)
    sampler.load_state_dict(state)
    list(running)
    assert sampler.state_dict() == state
    assert half + list(sampler) == order


@KINDS
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))])
def test_a_copy_has_a_life_of_its_own(kind, duplicate):
    sampler = make(kind, 40, 1, 2)
    order = list(sampler)
    sampler.set_epoch(0)
    running = iter(sampler)
    list(itertools.islice(running, 7))
    change(sampler)
    copied = duplicate(sampler)
    assert copied.state_dict() == sampler.state_dict()
    assert copied.state_dict()["position"] == 14
    assert list(running) == order[7:]
    assert copied.state_dict()["position"] == 14
    assert list(itertools.islice(copied, 3)) != order[:3]
    assert (sampler.epoch, copied.epoch) == (0, 1)
    assert list(copied) == list(copied.indices()[1::2].tolist())
    assert (sampler.epoch, copied.epoch) == (0, 2)


@KINDS
def test_consumed_counts_from_where_the_pass_began_and_never_beyond_what_was_drawn(kind):
    sampler = make(kind, 40)
    list(itertools.islice(sampler, 10))
    resumed = make(kind, 40)
    resumed.load_state_dict(sampler.state_dict())
    # A process whose draws another one makes for it (Accelerate dispatching batches) hasn't begun the pass.
    assert resumed.state_dict(consumed=3)["position"] == 13
    list(itertools.islice(resumed, 6))
    assert resumed.state_dict(consumed=4)["position"] == 14
    with pytest.raises(InputError, match="^consumed is 14; expected up to 6, what this rank has drawn in its pass"):
        resumed.state_dict(consumed=14)
    with pytest.raises(InputError, match="^consumed is -1; expected an integer, 0 or above"):
        resumed.state_dict(consumed=-1)
    with pytest.raises(InputError, match="^consumed is 41; expected up to 40"):
        make(kind, 40).state_dict(consumed=41)


@KINDS
def test_set_epoch_drops_a_position_that_was_loaded_in_another_epoch(kind):
    resumed = make(kind, 40)
    resumed.load_state_dict({**resumed.state_dict(), "position": 10})
    resumed.set_epoch(4)
    assert list(resumed) == order(kind, 40, 4)


OF_GROUPS = {"shares": [5, 4, 3, 2, 1], "next_shares": [5, 4, 3, 2, 1], "groups_digest": 413606504006025056}
OF_BATCHES = OF_GROUPS | {"batch_size": 6, "groups_per_batch": 0, "num_batches": 834, "min_per_group": 1}
OF_WEIGHTS = dict.fromkeys(("weights_digest", "next_weights_digest"), 3890498015908861245) | {"num_samples": 4000}


@pytest.mark.parametrize(
    ("sampler", "start", "draws", "state"),
    [
        (
            GroupSampler(np.arange(5000) % 5, shares=[5, 4, 3, 2, 1], seed=2025),
            4000,
            [4357, 975, 482, 4642, 3939, 2892],
            OF_GROUPS | {"num_samples": 5000, "independent": False},
        ),
        (
            GroupSampler(np.arange(5000) % 5, shares=[5, 4, 3, 2, 1], seed=2025, independent=True),
            4000,
            [3526, 3331, 4755, 4315, 4030, 2978],
            OF_GROUPS | {"num_samples": 5000, "independent": True},
        ),
        (
            GroupBatchSampler(np.arange(5000) % 5, 6, shares=[5, 4, 3, 2, 1], seed=2025),
            500,
            [[3579, 4390, 1282, 4391, 2230, 68], [4550, 2555, 591, 2834, 447, 1043]],
            OF_BATCHES,
        ),
        (WeightedSampler(np.arange(5000) % 13, 4000, seed=2025), 3990, [2460, 2191, 3557, 2830, 830, 893], OF_WEIGHTS),
    ],
)
def test_draws_and_states_are_pinned(sampler, start, draws, state):
    sampler.set_epoch(3)
    assert sampler.indices(start, start + len(draws)).tolist() == draws
    assert sampler.state_dict() == {"version": 3, "num_replicas": 1, "seed": 2025, "epoch": 3, "position": 0} | state


def test_batches_of_different_groups_are_pinned():
    sampler = GroupBatchSampler(np.arange(5000) % 50, 6, groups_per_batch=3, seed=2025)
    sampler.set_epoch(3)
    assert sampler.indices(500, 502).tolist() == [
        [133, 4953, 2057, 707, 1653, 1783],
        [1997, 4347, 2518, 1213, 868, 2713],
    ]
