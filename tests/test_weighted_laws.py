"""The laws that WeightedSampler draws by, with and without replacement."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from weighted_draws import POSITIVE, WEIGHTS, at_most, chi2, sampler_of

from dbpt._core import AliasTable, SampleWeights, SuccessiveStream
from dbpt.sampling import WeightedSampler

any_weights = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.floats(5e-324, 1.7e308)), min_size=1, max_size=40
).filter(any)


def table_law(weights):
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
@settings(max_examples=200, deadline=None)
def test_the_table_is_exact_for_weights_of_any_size(weights):
    exact = [Fraction(weight) for weight in weights]
    total = sum(exact)
    law = table_law(weights)
    assert sum(law) == 1
    for weight, probability in zip(exact, law, strict=True):
        assert abs(probability - weight / total) <= Fraction(1, 2**60)
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
def test_draws_follow_the_exact_law(weights):
    draws = 500_000
    rows = WeightedSampler(weights, draws, seed=1).indices()
    largest = weights.max()
    law = weights / largest / (weights / largest).sum()
    times = np.bincount(rows, minlength=len(weights))
    assert not times[weights == 0].any()
    often = law * draws >= 5  # the others together in one cell
    cells = [np.r_[values[often], values[~often].sum()] for values in (times, law * draws)]
    cells = [values[cells[1] > 0] for values in cells]
    assert chi2(*cells) < at_most(len(cells[0]))


def test_successive_draws_are_independent():
    weights = np.array([1, 2, 0, 3, 4])
    rows = WeightedSampler(weights, 1_000_000, seed=2).indices()
    law = np.outer(weights, weights) / 100
    for lag in (1, 2, 1024):
        pairs = np.bincount(rows[lag:] * 5 + rows[:-lag], minlength=25)
        # Overlapping pairs: the degrees of freedom are those of the law of one row more.
        assert chi2(pairs[law.ravel() > 0], law.ravel()[law.ravel() > 0] * len(rows)) < at_most(30)
    pairs = np.bincount(rows[::2] * 5 + rows[1::2], minlength=25).reshape(5, 5)
    assert not pairs[2].any()
    assert not pairs[:, 2].any()


def test_the_law_is_that_of_weighted_random_sampler():
    draws = 300_000
    ours = WeightedSampler(WEIGHTS, draws, seed=1).indices()
    generator = torch.Generator().manual_seed(1)
    theirs = np.array(list(torch.utils.data.WeightedRandomSampler(torch.from_numpy(WEIGHTS), draws, True, generator)))
    a, b = (np.bincount(rows, minlength=1000)[WEIGHTS > 0] for rows in (ours, theirs))
    assert ((a - b) ** 2 / np.maximum(a + b, 1)).sum() < at_most(POSITIVE)


def successive_law(weights, draws):
    """The probability of every ordered outcome: each draw among the rows that are left."""
    rows = [row for row, weight in enumerate(weights) if weight > 0]
    law = {}
    for outcome in itertools.permutations(rows, draws):
        left, probability = sum(weights), 1.0
        for row in outcome:
            probability *= weights[row] / left
            left -= weights[row]
        law[outcome] = probability
    return law


@pytest.mark.parametrize(
    ("weights", "draws"),
    [
        ([1, 1], 2),
        ([1, 2, 3], 3),
        ([1, 2, 3], 1),
        ([5, 1, 1, 0, 3], 2),
        ([1, 2, 3, 4], 4),
        ([1, 2, 3, 4, 5], 5),
        ([1, 1, 1, 1, 1], 5),
        ([3e-310, 1e-310, 2e-310], 2),
        ([1e308, 1.5e308, 0.5e308, 0.0], 3),
    ],
)
def test_all_orders_occur_as_often_as_by_successive_draws(weights, draws):
    scaled = np.array(weights) / max(weights)
    law = successive_law(scaled.tolist(), draws)
    sampler = WeightedSampler(weights, draws, replacement=False, seed=4)
    epochs = 12_000
    ours = dict.fromkeys(law, 0)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        ours[tuple(sampler.indices().tolist())] += 1
    torch.manual_seed(0)
    outcomes = torch.multinomial(torch.from_numpy(scaled).expand(epochs, -1), draws, replacement=False)
    theirs = dict.fromkeys(law, 0)
    for outcome in map(tuple, outcomes.tolist()):
        theirs[outcome] += 1
    expected = np.array(list(law.values())) * epochs
    for found in (ours, theirs):  # torch's too, so that the law is the one it says
        assert chi2(np.array(list(found.values())), expected) < at_most(len(law) - 1)


def test_an_epoch_of_all_rows_is_a_permutation_that_begins_with_the_heavy_ones():
    sampler = sampler_of(False, num_samples=POSITIVE)
    rows = sampler.indices()
    assert sorted(rows) == np.flatnonzero(WEIGHTS).tolist()
    assert WEIGHTS[rows[:200]].mean() > 2 * WEIGHTS[rows[-200:]].mean()


@pytest.mark.parametrize("draws", [1, 1000, 30_000, 250_000])
def test_large_orders_equal_sorted_keys(draws):
    """Several parts, bins and ranges: the order is that of the keys, found here from their definition."""
    weights = np.random.default_rng(1).lognormal(sigma=3, size=300_000) * (np.arange(300_000) % 6 > 0)
    found = [
        SuccessiveStream(SampleWeights(weights), draws, 9, 2).indices(0, draws, 1, num_threads)
        for num_threads in (1, 3)
    ]
    assert np.array_equal(*found)
    words = splitmix(9, 6, 2, len(weights))
    keys = -np.log1p(-((words.astype(np.float64) + 0.5) / 2.0**64)) / np.where(weights > 0, weights, 1e-300)
    expected = np.argsort(keys, kind="stable")[:draws]
    # NumPy's logarithm may be off by the last bit: the keys are in order, and the rows but for neighbours too.
    assert np.all(np.diff(keys[found[0]]) >= -1e-12 * keys[found[0]][1:])
    assert (found[0] != expected).sum() <= 10
    assert len(set(found[0].tolist())) == draws


def splitmix(seed, purpose, counter, length):
    """The random words of a stream of the core."""
    golden, mask = 0x9E3779B97F4A7C15, 2**64 - 1

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    base = mix((mix((seed + golden * purpose) & mask) + golden * counter) & mask)
    return np.array([mix((base + golden * (i + 1)) & mask) for i in range(length)], np.uint64)


def test_draws_with_replacement_equal_the_reference():
    """Word by word: the bucket a word points at, and its row or alias."""
    entries = AliasTable(WEIGHTS).entries().tolist()
    expected = []
    for word in splitmix(3, 5, 2, 700).tolist():
        bucket, fraction = divmod(word * 1000, 2**64)
        threshold, alias = entries[bucket] >> 10, entries[bucket] & 1023
        expected.append(bucket if fraction >> 10 < threshold else alias)
    sampler = sampler_of()
    sampler.set_epoch(2)
    assert sampler.indices().tolist() == expected
