"""WeightedSampler: types of weights, pinned values, scale, states, bad input."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import OTHERS, WEIGHTS, sampler_of

from dbpt._core import AliasTable
from dbpt.errors import InputError
from dbpt.sampling import WeightedSampler


@pytest.mark.parametrize(
    "dtype",
    [*map(np.dtype, ("i1", "u8", "f2", "f4", ">f8", ">i2", "g")), *(torch.int32, torch.bfloat16, torch.float64)],
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


def test_beyond_the_limit_of_torch():
    """2²⁴ + 1 rows, the last of which can be drawn; torch.multinomial refuses as many."""
    weights = np.zeros(2**24 + 1, np.float32)
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.from_numpy(weights), 1, True)
    rows = [5, 2**23, 2**24 - 1, 2**24]
    weights[rows] = [1, 2, 3, 4]
    found = WeightedSampler(weights, 40_000).indices()
    assert sorted(set(found.tolist())) == rows


def test_epochs_beyond_32_bits_can_be_sought():
    sampler = WeightedSampler([1, 2], 2**48, seed=1, dataset=range(2))
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


def test_entries_that_are_no_table_are_refused():
    with pytest.raises(InputError, match=r"^entries\[1\] is 3; expected an alias below the number of rows"):
        AliasTable.from_entries(np.array([0, 3], np.uint64))
    with pytest.raises(InputError, match="^weights has length 0"):
        AliasTable.from_entries(np.array([], np.uint64))


one_weight = st.just(0.0) | st.floats(1e-3, 1e3) | st.floats(5e-324, 1.7e308)
any_weights = st.lists(one_weight, min_size=1, max_size=40).filter(any)


def table_distribution(weights):
    """The probability of each row, from the table, as exact fractions."""
    table = AliasTable(np.asarray(weights, np.float64))
    bits = len(table).bit_length()
    bucket = 1 << (64 - bits)
    slots = [0] * len(table)
    for row, entry in enumerate(table.entries().tolist()):
        threshold, alias = entry >> bits, entry & ((1 << bits) - 1)
        slots[row] += threshold
        slots[alias] += bucket - threshold
    return [Fraction(number, bucket * len(table)) for number in slots]


@given(any_weights)
@settings(max_examples=200)
def test_the_table_is_that_of_the_weights_whatever_their_size(weights):
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    distribution = table_distribution(weights)
    assert sum(distribution) == 1
    for weight, probability in zip(exact, distribution, strict=True):
        assert abs(probability - weight / total) <= Fraction(1, 2**50)
        assert weight > 0 or probability == 0


def test_draws_equal_the_reference():
    """Word by word: the bucket a word points at, and its row or alias."""
    entries = AliasTable(WEIGHTS).entries().tolist()
    expected = []
    words = reference.Key.of(3, reference.WEIGHTED, 2)
    for position in range(700):
        bucket, fraction = divmod(words.bits(position) * 1000, 2**64)
        threshold, alias = entries[bucket] >> 10, entries[bucket] & 1023
        expected.append(bucket if fraction >> 10 < threshold else alias)
    sampler = sampler_of()
    sampler.set_epoch(2)
    assert sampler.indices().tolist() == expected
