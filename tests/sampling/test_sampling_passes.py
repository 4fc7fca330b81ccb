"""Passes of both samplers: ranks go to the next epoch together, and only the last pass moves the sampler."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler, GroupSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
KINDS = pytest.mark.parametrize("kind", ["rows", "batches"])


def make(kind, length, rank=0, num_replicas=1, **keywords):
    keywords = {"rank": rank, "num_replicas": num_replicas, "seed": 3} | keywords
    if kind == "rows":
        return GroupSampler(GROUPS, num_samples=length, **keywords)
    return GroupBatchSampler(GROUPS, 8, num_batches=length, **keywords)


def ranks_of(kind, length, world):
    return [make(kind, length, rank, world) for rank in range(world)]


def in_turn(parts):
    """What ranks draw in step, as one list."""
    return [row for step in zip(*parts, strict=True) for row in step]


@KINDS
@given(st.integers(1, 70), st.integers(1, 200), st.booleans())
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=60, deadline=None)
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
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_all_ranks_go_to_the_next_epoch_together(kind, world, new_world, length, steps):
    """In a whole pass and in one resumed by another number of ranks."""
    old = ranks_of(kind, length, world)
    for rank in old:
        list(itertools.islice(rank, min(steps, length // world)))
    new = ranks_of(kind, length, new_world)
    for rank in new:
        rank.load_state_dict(old[0].state_dict())
        rank.set_epoch(0)
    drawn = [list(rank) for rank in new]
    states = [rank.state_dict() for rank in new]
    assert states == [{**old[0].state_dict(), "position": length, "num_replicas": new_world}] * new_world
    parts = [list(rank) for rank in new]
    assert [rank.epoch for rank in new] == [1] * new_world
    assert len({len(part) for part in [*drawn]}) == 1
    assert in_turn(parts)[:length] == new[0].indices().tolist()


@KINDS
def test_an_older_pass_goes_on_alone(kind):
    """It draws what it would have drawn, and the sampler stays where its newest pass, or set_epoch, has put it."""
    length = 40_000 if kind == "rows" else 40  # more than become Python objects at a time
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
    sampler.set_shares("natural")
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
def test_new_shares_leave_a_loaded_pass_alone(kind):
    sampler = make(kind, 40)
    order = sampler.indices().tolist()
    half = list(itertools.islice(sampler, 20))
    resumed = make(kind, 40)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_shares([1, 1, 1, 5])
    assert half + list(resumed) == order
    next(iter(resumed))
    assert resumed.quotas[3] == 5 * resumed.quotas[0]


@KINDS
def test_a_loaded_state_replaces_seed_and_shares_at_once(kind):
    other = make(kind, 40, seed=8)
    other.set_shares([1, 1, 1, 5])
    sampler = make(kind, 40)
    assert not np.array_equal(sampler.indices(), other.indices())
    sampler.load_state_dict(other.state_dict())
    assert np.array_equal(sampler.indices(), other.indices())


@KINDS
def test_seed_and_epoch_are_not_set_behind_the_back_of_a_pass(kind):
    """An order that was already opened would not follow them."""
    sampler = make(kind, 40)
    for name in ("seed", "epoch"):
        with pytest.raises(AttributeError):
            setattr(sampler, name, 5)


@KINDS
def test_passes_go_on_from_the_last_epoch_that_can_be_set(kind):
    sampler = make(kind, 40)
    sampler.set_epoch(2**63 - 1)
    first, second = list(sampler), list(sampler)
    assert sampler.epoch == 2**63
    assert first != second
    with pytest.raises(InputError, match="^epoch is 9223372036854775808; expected an integer from 0 to"):
        sampler.set_epoch(2**63)


@KINDS
def test_there_may_be_any_number_of_ranks(kind):
    ranks = [make(kind, 3, rank, 2**48) for rank in (0, 1, 2**48 - 1)]
    assert [list(rank) for rank in ranks] == [make(kind, 3).indices(i, i + 1).tolist() for i in (0, 1, 0)]
    with pytest.raises(InputError, match="^num_replicas is 281474976710657; expected an integer from 1 to"):
        make(kind, 3, 0, 2**48 + 1)
