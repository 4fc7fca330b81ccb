"""The distribution that WeightedSampler draws by."""

from fractions import Fraction

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import WEIGHTS, at_most, chi2, sampler_of

from dbpt._core import AliasTable
from dbpt.sampling import WeightedSampler

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


@pytest.mark.parametrize(
    "weights",
    [
        np.ones(1000),
        np.arange(1000) % 2,
        1.0 / np.arange(1, 1001) ** 2,
        np.exp(np.linspace(-690, 690, 1000)),
        np.r_[1e308, 1e308, 1.7e308, 0, 1e307],
        np.r_[5e-324, 0, 1e-323, 1.5e-323],
        np.r_[np.full(999, 1e-3), 1.0],
    ],
    ids=["equal", "zeros", "skewed", "1e-300..1e300", "huge", "subnormal", "one heavy"],
)
def test_draws_follow_the_exact_distribution(weights):
    draws = 500_000
    rows = WeightedSampler(weights, draws, seed=1).indices()
    largest = weights.max()
    distribution = weights / largest / (weights / largest).sum()
    times = np.bincount(rows, minlength=len(weights))
    assert not times[weights == 0].any()
    often = distribution * draws >= 5  # the others together in one cell
    cells = [np.r_[values[often], values[~often].sum()] for values in (times, distribution * draws)]
    cells = [values[cells[1] > 0] for values in cells]
    assert chi2(*cells) < at_most(len(cells[0]))


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
