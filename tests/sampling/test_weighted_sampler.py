"""WeightedSampler: types of weights, pinned values, scale, states, bad input."""

import itertools

import numpy as np
import pytest
import torch
from weighted_draws import OTHERS, WEIGHTS, at_most, chi2, sampler_of

from dbpt._core import AliasTable
from dbpt.errors import InputError
from dbpt.sampling import WeightedSampler


@pytest.mark.parametrize("make", [list, tuple, lambda values: torch.tensor(values, requires_grad=True)])
def test_weights_come_in_any_container(make):
    whole = [1.0, 0.0, 2.0, 3.0, 255.0]
    expected = WeightedSampler(np.array(whole), 100).indices()
    assert np.array_equal(WeightedSampler(make(whole), 100).indices(), expected)


@pytest.mark.parametrize(
    "dtype",
    [
        *map(np.dtype, ("u1", "i1", "u2", "i4", "u8", "i8", "f2", "f4", "f8", ">f4", ">f8", ">i2", "g")),
        *(torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    ],
    ids=str,
)
def test_weights_come_in_any_real_type(dtype):
    whole = np.array([1, 0, 2, 3, 100] * 30)
    weights = torch.from_numpy(whole).to(dtype) if isinstance(dtype, torch.dtype) else whole.astype(dtype)
    expected = WeightedSampler(whole.astype(float), 100)
    sampler = WeightedSampler(weights, 100)
    assert sampler.state_dict() == expected.state_dict()
    assert np.array_equal(sampler.indices(), expected.indices())
    strided = weights[::2]
    assert np.array_equal(WeightedSampler(strided, 50).indices(), WeightedSampler(whole[::2], 50).indices())


def test_draws_are_pinned():
    sampler = WeightedSampler(np.arange(5000) % 13, 4000, seed=2025)
    sampler.set_epoch(3)
    assert sampler.indices(3990, 3996).tolist() == PINNED
    assert sampler.state_dict() == PINNED_STATE


PINNED = [2460, 2191, 3557, 2830, 830, 893]
PINNED_STATE = {
    "version": 3,
    "seed": 2025,
    "epoch": 3,
    "position": 0,
    "num_replicas": 1,
    "num_samples": 4000,
    "weights_digest": 3890498015908861245,
    "next_weights_digest": 3890498015908861245,
}


def test_beyond_the_limit_of_torch():
    """2²⁴ + 1 rows, the last of which can be drawn; torch.multinomial refuses as many."""
    weights = np.zeros(2**24 + 1, np.float32)
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.from_numpy(weights), 1, True)
    rows = [5, 2**23, 2**24 - 1, 2**24]
    weights[rows] = [1, 2, 3, 4]
    found = WeightedSampler(weights, 40_000).indices()
    assert sorted(set(found.tolist())) == rows
    assert chi2(np.bincount(np.searchsorted(rows, found)), 4000 * np.array([1, 2, 3, 4])) < at_most(3)


def test_epochs_beyond_32_bits_can_be_sought():
    sampler = WeightedSampler([1, 2], 2**48, seed=1)
    rows = sampler.indices(2**47, 2**47 + 1000)
    assert np.array_equal(sampler.indices(2**47 + 999, 2**47 + 1000), rows[999:])
    assert 600 < rows.sum() < 730
    assert len(sampler.indices(2**48 - 1)) == 1


def test_weights_of_the_caller_may_change_afterwards():
    for kind in (np.array, torch.tensor):
        weights = kind(WEIGHTS)
        sampler = sampler_of(weights=weights)
        weights[:] = 0
        assert np.array_equal(sampler.indices(), sampler_of().indices())


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


def test_arrays_that_do_not_fit_are_refused_by_the_core():
    with pytest.raises(InputError, match="^weights is not C-contiguous"):
        AliasTable(np.ones(6)[::2])
    with pytest.raises(TypeError, match="^weights is a ndarray; expected a one-dimensional NumPy array of float64"):
        AliasTable(np.ones(3, int))
    with pytest.raises(InputError, match=r"^entries\[1\] is 3; expected an alias below the number of rows"):
        AliasTable.from_entries(np.array([0, 3], np.uint64))
    with pytest.raises(InputError, match="^weights has length 0"):
        AliasTable.from_entries(np.array([], np.uint64))
