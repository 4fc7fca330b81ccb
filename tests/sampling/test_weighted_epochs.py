"""WeightedSampler over epochs: new weights, ranks, states."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import OTHERS, WEIGHTS, sampler_of

from dbpt.errors import InputError


def test_passes_follow_one_another():
    sampler = sampler_of()
    first, second = list(sampler), list(sampler)
    assert sampler.epoch == 1
    assert first != second
    sampler.set_epoch(0)
    assert list(itertools.islice(sampler, 30)) == first[:30]
    assert list(sampler) == second
    assert first == sampler_of().indices().tolist()
    assert sampler_of(seed=4).indices().tolist() != first
    assert len(sampler) == sampler.num_samples == 700
    assert sampler.num_rows == 1000


def test_any_stretch_can_be_had_at_once():
    sampler = sampler_of()
    order = sampler.indices()
    assert order.dtype == np.int64
    assert np.array_equal(sampler.indices(650, 660), order[650:660])
    assert sampler.indices(700).tolist() == []


def test_new_weights_start_with_the_next_pass():
    sampler = sampler_of()
    sampler.set_weights(OTHERS)  # not begun yet
    assert list(sampler) == sampler_of(weights=OTHERS).indices().tolist()
    running = iter(sampler)
    head = list(itertools.islice(running, 5))
    sampler.set_weights(WEIGHTS)
    epoch_1 = sampler_of(weights=OTHERS)
    epoch_1.set_epoch(1)
    assert head + list(running) == epoch_1.indices().tolist()
    epoch_2 = sampler_of()
    epoch_2.set_epoch(2)
    assert list(sampler) == epoch_2.indices().tolist()


def test_weights_of_the_caller_may_change_afterwards():
    for kind in (np.array, torch.tensor):
        weights = kind(WEIGHTS)
        sampler = sampler_of(weights=weights)
        weights[:] = 0
        assert np.array_equal(sampler.indices(), sampler_of().indices())


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 300), st.data())
@settings(max_examples=80, deadline=None)
def test_ranks_share_the_global_order_and_others_resume_it(world, new_world, num_samples, data):
    def ranks(world):
        keywords = {"num_samples": num_samples, "num_replicas": world}
        return [sampler_of(rank=rank, **keywords) for rank in range(world)]

    old = ranks(world)
    order = old[0].indices().tolist()
    parts = [list(rank) for rank in ranks(world)]
    assert [len(rank) for rank in old] == [len(part) for part in parts] == [-(-num_samples // world)] * world
    filled = [row for step in zip(*parts, strict=True) for row in step]
    assert filled == [order[i % num_samples] for i in range(len(filled))]
    steps = data.draw(st.integers(0, num_samples // world))
    head = [list(itertools.islice(rank, steps)) for rank in old]
    assert [row for step in zip(*head, strict=True) for row in step] == order[: steps * world]
    states = [rank.state_dict() for rank in old]
    assert all(state == states[0] for state in states)
    new = ranks(new_world)
    for rank in new:
        rank.load_state_dict(states[0])
        rank.set_epoch(0)
    rest = [row for step in zip(*new, strict=True) for row in step]
    assert rest[: num_samples - steps * world] == order[steps * world :]


@given(st.integers(0, 120), st.integers(0, 120))
@settings(max_examples=60, deadline=None)
def test_resuming_at_any_position_continues_as_if_uninterrupted(first, second):
    def run(sampler, draws):
        """Draw as a loop without set_epoch does: pass after pass."""
        return list(itertools.islice(itertools.chain.from_iterable(iter(sampler.__iter__, None)), draws))

    plain, expected = sampler_of(num_samples=50), []
    for epoch in range(5):
        plain.set_epoch(epoch)
        expected += plain.indices().tolist()
    sampler = sampler_of(num_samples=50)
    found = run(sampler, first)
    resumed = sampler_of(num_samples=9, seed=99)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert resumed.state_dict() == sampler.state_dict()
    assert found + run(resumed, second) == expected[: first + second]


def test_a_loader_that_draws_ahead_says_what_it_has_consumed():
    sampler = sampler_of()
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=10, sampler=sampler, num_workers=1, multiprocessing_context="fork"
    )
    batches = iter(loader)
    seen = torch.cat([next(batches)[0] for _ in range(7)]).tolist()
    assert sampler.state_dict()["position"] > 70
    resumed = sampler_of()
    resumed.load_state_dict(sampler.state_dict(consumed=70))
    assert seen + list(resumed) == resumed.indices().tolist()


def test_a_state_with_new_weights_to_come_names_both():
    sampler = sampler_of()
    running = iter(sampler)
    half = list(itertools.islice(running, 350))
    sampler.set_weights(OTHERS)
    state = sampler.state_dict()
    assert state["weights_digest"] != state["next_weights_digest"]
    assert half + list(running) == sampler_of().indices().tolist()
    following = list(sampler)

    resumed = sampler_of()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    resumed.set_weights(OTHERS)
    assert resumed.state_dict() == state
    assert half + list(resumed) == sampler_of().indices().tolist()
    assert list(resumed) == following

    # Its pass can be finished without the new weights, but not the next one begun.
    forgetful = sampler_of()
    forgetful.load_state_dict(state)
    assert half + list(forgetful) == sampler_of().indices().tolist()
    with pytest.raises(InputError, match="^the weights of this pass are missing: .* call set_weights"):
        next(iter(forgetful))
    forgetful.set_weights(OTHERS)
    assert list(forgetful) == following

    # The new weights alone are not those of the pass.
    with pytest.raises(InputError, match=r"^state\['weights_digest'\] differs: .*those of the pass"):
        sampler_of(weights=OTHERS).load_state_dict(state)


def test_a_state_from_the_end_of_a_pass_needs_only_the_new_weights():
    sampler = sampler_of()
    list(sampler)
    sampler.set_weights(OTHERS)
    state = sampler.state_dict()
    following = list(sampler)
    for weights in (OTHERS, WEIGHTS):
        resumed = sampler_of(weights=weights)
        resumed.load_state_dict(state)
        if weights is WEIGHTS:
            resumed.set_weights(OTHERS)
        resumed.set_epoch(0)
        assert list(resumed) == []
        assert list(resumed) == following


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, r"^state\['version'\] is 1; expected 2"),
        ({"weights_digest": 1}, r"^state\['weights_digest'\] differs: the state was saved with other weights"),
        ({"weights_digest": "1"}, r"^state\['weights_digest'\] is '1'; expected an integer"),
        ({"next_weights_digest": -1}, r"^state\['next_weights_digest'\] is -1"),
        ({"position": 701}, r"^state\['position'\] is 701; expected an integer from 0 to 700"),
        ({"epoch": -1}, r"^state\['epoch'\] is -1"),
        ({"seed": 0.5}, r"^state\['seed'\] is 0.5"),
        ({"num_samples": 0}, r"^state\['num_samples'\] is 0"),
        ({"extra": 1}, "^state is not that of a WeightedSampler"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(change, message):
    sampler = sampler_of()
    list(itertools.islice(sampler, 10))
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        sampler.load_state_dict({**before, **change})
    assert sampler.state_dict() == before
