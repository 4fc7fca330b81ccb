"""WeightedSampler as training loops use it: laws, epochs, new weights, ranks, resuming, workers, bad input."""

import doctest
import itertools
import json
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dbpt.sampling.weighted_sampler
from dbpt._core import AliasTable, SampleWeights, SuccessiveStream, WeightedStream
from dbpt.errors import InputError
from dbpt.sampling import WeightedSampler

WEIGHTS = np.random.default_rng(0).exponential(size=1000) * (np.arange(1000) % 7 > 0)
OTHERS = np.roll(WEIGHTS, 1)
POSITIVE = np.count_nonzero(WEIGHTS)
BOTH = pytest.mark.parametrize("replacement", [True, False])

any_weights = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.floats(5e-324, 1.7e308)), min_size=1, max_size=40
).filter(any)


def sampler_of(replacement=True, **keywords):
    """One with 700 draws, of 857 rows that can be drawn."""
    keywords = {"weights": WEIGHTS, "num_samples": 700, "replacement": replacement, "seed": 3} | keywords
    return WeightedSampler(keywords.pop("weights"), keywords.pop("num_samples"), **keywords)


def chi2(seen, expected):
    return ((seen - expected) ** 2 / expected).sum()


def at_most(freedom):
    """What χ² stays below but for one time in a billion, and some more for few degrees of freedom."""
    return freedom + 7 * (2 * freedom) ** 0.5 + 10


def test_docstring_example():
    found = doctest.testmod(dbpt.sampling.weighted_sampler)
    assert found.failed == 0
    assert found.attempted > 0


# --- the law with replacement -----------------------------------------------------------------------


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


# --- the law without replacement --------------------------------------------------------------------


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


# --- epochs and new weights -------------------------------------------------------------------------


@BOTH
def test_passes_follow_one_another(replacement):
    sampler = sampler_of(replacement)
    first, second = list(sampler), list(sampler)
    assert sampler.epoch == 1
    assert first != second
    sampler.set_epoch(0)
    assert list(itertools.islice(sampler, 30)) == first[:30]
    assert list(sampler) == first == sampler_of(replacement).indices().tolist()
    assert sampler_of(replacement, seed=4).indices().tolist() != first
    assert len(sampler) == sampler.num_samples == 700
    assert sampler.num_rows == 1000


@BOTH
def test_any_stretch_can_be_had_at_once(replacement):
    sampler = sampler_of(replacement)
    order = sampler.indices()
    assert order.dtype == np.int64
    assert np.array_equal(sampler.indices(650, 660), order[650:660])
    assert sampler.indices(700).tolist() == []


@BOTH
def test_new_weights_start_with_the_next_pass(replacement):
    sampler = sampler_of(replacement)
    sampler.set_weights(OTHERS)  # not begun yet
    assert list(sampler) == sampler_of(replacement, weights=OTHERS).indices().tolist()
    running = iter(sampler)
    head = list(itertools.islice(running, 5))
    sampler.set_weights(WEIGHTS)
    epoch_1 = sampler_of(replacement, weights=OTHERS)
    epoch_1.set_epoch(1)
    assert head + list(running) == epoch_1.indices().tolist()
    epoch_2 = sampler_of(replacement)
    epoch_2.set_epoch(2)
    assert list(sampler) == epoch_2.indices().tolist()


def test_weights_of_the_caller_may_change_afterwards():
    for replacement, kind in itertools.product([True, False], [np.array, torch.tensor]):
        weights = kind(WEIGHTS)
        sampler = sampler_of(replacement, weights=weights)
        weights[:] = 0
        assert np.array_equal(sampler.indices(), sampler_of(replacement).indices())


# --- ranks and states -------------------------------------------------------------------------------


@given(st.booleans(), st.integers(1, 7), st.integers(1, 7), st.integers(1, 300), st.data())
@settings(max_examples=80, deadline=None)
def test_ranks_share_the_global_order_and_others_resume_it(replacement, world, new_world, num_samples, data):
    def ranks(world):
        keywords = {"num_samples": num_samples, "num_replicas": world}
        return [sampler_of(replacement, rank=rank, **keywords) for rank in range(world)]

    old = ranks(world)
    order = old[0].indices().tolist()
    parts = [list(rank) for rank in ranks(world)]
    assert [len(rank) for rank in old] == [len(part) for part in parts]
    assert [row for step in itertools.zip_longest(*parts) for row in step if row is not None] == order
    steps = data.draw(st.integers(0, num_samples // world))
    head = [list(itertools.islice(rank, steps)) for rank in old]
    assert [row for step in zip(*head, strict=True) for row in step] == order[: steps * world]
    states = [rank.state_dict() for rank in old]
    assert all(state == states[0] for state in states)
    new = ranks(new_world)
    for rank in new:
        rank.load_state_dict(states[0])
        rank.set_epoch(0)
    rest = [list(rank) for rank in new]
    assert [row for step in itertools.zip_longest(*rest) for row in step if row is not None] == order[steps * world :]


@given(st.booleans(), st.integers(0, 120), st.integers(0, 120))
@settings(max_examples=60, deadline=None)
def test_resuming_at_any_position_continues_as_if_uninterrupted(replacement, first, second):
    def run(sampler, draws):
        """Draw as a loop without set_epoch does: pass after pass."""
        found = []
        while len(found) < draws:
            found += itertools.islice(sampler, draws - len(found))
        return found

    plain, expected = sampler_of(replacement, num_samples=50), []
    for epoch in range(5):
        plain.set_epoch(epoch)
        expected += plain.indices().tolist()
    sampler = sampler_of(replacement, num_samples=50)
    found = run(sampler, first)
    resumed = sampler_of(replacement, num_samples=9, seed=99)
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


@BOTH
def test_a_state_with_new_weights_to_come_names_both(replacement):
    sampler = sampler_of(replacement)
    running = iter(sampler)
    half = list(itertools.islice(running, 350))
    sampler.set_weights(OTHERS)
    state = sampler.state_dict()
    assert state["weights_digest"] != state["next_weights_digest"]
    assert half + list(running) == sampler_of(replacement).indices().tolist()
    following = list(sampler)

    resumed = sampler_of(replacement)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    resumed.set_weights(OTHERS)
    assert resumed.state_dict() == state
    assert half + list(resumed) == sampler_of(replacement).indices().tolist()
    assert list(resumed) == following

    # Its pass can be finished without the new weights, but not the next one begun.
    forgetful = sampler_of(replacement)
    forgetful.load_state_dict(state)
    assert half + list(forgetful) == sampler_of(replacement).indices().tolist()
    with pytest.raises(InputError, match="^the weights of this pass are missing: .* call set_weights"):
        iter(forgetful)
    forgetful.set_weights(OTHERS)
    assert list(forgetful) == following

    # The new weights alone are not those of the pass.
    with pytest.raises(InputError, match=r"^state\['weights_digest'\] differs: .*those of the pass"):
        sampler_of(replacement, weights=OTHERS).load_state_dict(state)


@BOTH
def test_a_state_from_the_end_of_a_pass_needs_only_the_new_weights(replacement):
    sampler = sampler_of(replacement)
    list(sampler)
    sampler.set_weights(OTHERS)
    state = sampler.state_dict()
    following = list(sampler)
    for weights in (OTHERS, WEIGHTS):
        resumed = sampler_of(replacement, weights=weights)
        resumed.load_state_dict(state)
        if weights is WEIGHTS:
            resumed.set_weights(OTHERS)
        resumed.set_epoch(0)
        assert list(resumed) == []
        assert list(resumed) == following


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"^state\['version'\] is 2; expected 1"),
        ({"weights_digest": 1}, r"^state\['weights_digest'\] differs: the state was saved with other weights"),
        ({"weights_digest": "1"}, r"^state\['weights_digest'\] is '1'; expected an integer"),
        ({"next_weights_digest": -1}, r"^state\['next_weights_digest'\] is -1"),
        ({"position": 701}, r"^state\['position'\] is 701; expected an integer from 0 to 700"),
        ({"epoch": -1}, r"^state\['epoch'\] is -1"),
        ({"seed": 0.5}, r"^state\['seed'\] is 0.5"),
        ({"num_samples": 0}, r"^state\['num_samples'\] is 0"),
        ({"num_samples": 900}, "^num_samples is 900, but only 857 weights are above 0"),
        ({"replacement": True}, r"^state\['replacement'\] is True; expected False"),
        ({"replacement": 0}, r"^state\['replacement'\] is 0; expected False"),
        ({"extra": 1}, "^state is not that of a WeightedSampler"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(change, message):
    sampler = sampler_of(False)
    list(itertools.islice(sampler, 10))
    before = sampler.state_dict()
    with pytest.raises(InputError, match=message):
        sampler.load_state_dict({**before, **change})
    assert sampler.state_dict() == before


# --- PyTorch ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataloader_with_forked_workers_gets_the_same_order(replacement, num_workers):
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    sampler = sampler_of(replacement)
    context = "fork" if num_workers else None
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=64, sampler=sampler, num_workers=num_workers, multiprocessing_context=context
    )
    order = sampler.indices().tolist()
    assert torch.cat([batch for (batch,) in loader]).tolist() == order
    assert torch.cat([batch for (batch,) in loader]).tolist() != order


class DrawingDataset(torch.utils.data.Dataset):
    """Builds and draws inside the worker, with threads, from a sampler of the main process and from one of its own."""

    def __init__(self, samplers):
        self.samplers = samplers

    def __len__(self):
        return 3

    def __getitem__(self, epoch):
        weights = np.arange(300_000) % 11
        own = [WeightedSampler(weights, 100_000, replacement) for replacement in (True, False)]
        for sampler in (*own, *self.samplers):
            sampler.set_epoch(epoch)
        return [int(sampler.indices()[-1]) for sampler in (*own, *self.samplers)]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_threads_work_inside_workers(context):
    samplers = [WeightedSampler(np.arange(200_000) % 5, 100_000, replacement, seed=1) for replacement in (True, False)]
    for sampler in samplers:
        sampler.indices()  # threads in the parent first
    dataset = DrawingDataset(samplers)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=1, multiprocessing_context=context, timeout=120
    )
    assert list(loader) == [dataset[epoch] for epoch in range(3)]


@BOTH
def test_python_threads_may_share_a_stream(replacement):
    weights = np.arange(100_000) % 3
    if replacement:
        stream = WeightedStream(AliasTable(weights.astype(float)), 60_000, 0, 0)
    else:
        stream = SuccessiveStream(SampleWeights(weights.astype(float)), 60_000, 0, 0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: stream.indices(0, 60_000, 1, 2), range(4)))
    assert all(np.array_equal(rows, found[0]) for rows in found)


def test_it_looks_like_a_sampler_to_frameworks():
    sampler = sampler_of()
    assert isinstance(sampler, torch.utils.data.Sampler)
    assert not hasattr(sampler, "generator")
    assert type(next(iter(sampler))) is int


@BOTH
def test_pickling_and_repr(replacement):
    sampler = sampler_of(replacement, rank=1, num_replicas=4)
    list(itertools.islice(sampler, 7))
    sampler.set_weights(OTHERS)
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.state_dict() == sampler.state_dict()
    assert list(copy) == list(sampler)
    assert list(copy) == list(sampler)
    law = "" if replacement else ", replacement=False"
    assert (
        repr(sampler)
        == f"WeightedSampler(num_rows=1000, num_samples=700{law}, seed=3, epoch=1, rank=1, num_replicas=4)"
    )
    assert repr(sampler_of(replacement)).endswith("seed=3, epoch=0)")


# --- types, values, scale ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_weights_come_in_any_container(make):
    whole = [1, 0, 2, 3, 255]
    expected = WeightedSampler(np.array(whole, float), 100).indices()
    assert np.array_equal(WeightedSampler(make(whole), 100).indices(), expected)


@BOTH
@pytest.mark.parametrize(
    "dtype",
    [
        *map(np.dtype, ("u1", "i1", "u2", "i4", "u8", "i8", "f2", "f4", "f8", ">f4", ">f8", ">i2", "g")),
        *(torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    ],
    ids=str,
)
def test_weights_come_in_any_real_type(dtype, replacement):
    whole = np.array([1, 0, 2, 3, 100] * 30)
    weights = torch.from_numpy(whole).to(dtype) if isinstance(dtype, torch.dtype) else whole.astype(dtype)
    expected = WeightedSampler(whole.astype(float), 100, replacement)
    sampler = WeightedSampler(weights, 100, replacement)
    assert sampler.state_dict() == expected.state_dict()
    assert np.array_equal(sampler.indices(), expected.indices())
    strided = weights[::2]
    assert np.array_equal(
        WeightedSampler(strided, 50, replacement).indices(), WeightedSampler(whole[::2], 50, replacement).indices()
    )


def test_tensors_with_a_gradient_are_read():
    weights = torch.tensor([1.0, 2.0], requires_grad=True)
    assert np.array_equal(WeightedSampler(weights, 9).indices(), WeightedSampler([1.0, 2.0], 9).indices())


def test_draws_are_pinned():
    weights = np.arange(5000) % 13
    for replacement, rows in PINNED.items():
        sampler = WeightedSampler(weights, 4000, replacement, seed=2025)
        sampler.set_epoch(3)
        assert sampler.indices(3990, 3996).tolist() == rows
        digest = PINNED_DIGESTS[replacement]
        digests = {"weights_digest": digest, "next_weights_digest": digest}
        assert sampler.state_dict() == {**PINNED_STATE, **digests, "replacement": replacement}


PINNED = {True: [2460, 2191, 3557, 2830, 830, 893], False: [4675, 3195, 3230, 3164, 1281, 380]}
PINNED_STATE = {"version": 1, "seed": 2025, "epoch": 3, "position": 0, "num_samples": 4000}
PINNED_DIGESTS = {True: 8683530056824045251, False: 4250282027780983896}


@BOTH
def test_beyond_the_limit_of_torch(replacement):
    """2²⁴ + 1 rows, the last of which can be drawn; torch.multinomial refuses as many."""
    weights = np.zeros(2**24 + 1, np.float32)
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.from_numpy(weights), 1, replacement)
    rows = [5, 2**23, 2**24 - 1, 2**24]
    weights[rows] = [1, 2, 3, 4]
    found = WeightedSampler(weights, 4 if not replacement else 40_000, replacement).indices()
    assert sorted(set(found.tolist())) == rows
    if replacement:
        assert chi2(np.bincount(np.searchsorted(rows, found)), 4000 * np.array([1, 2, 3, 4])) < at_most(3)


def test_epochs_beyond_32_bits_can_be_sought():
    sampler = WeightedSampler([1, 2], 2**48, seed=1)
    rows = sampler.indices(2**47, 2**47 + 1000)
    assert np.array_equal(sampler.indices(2**47 + 999, 2**47 + 1000), rows[999:])
    assert 600 < rows.sum() < 730
    assert len(sampler.indices(2**48 - 1)) == 1


def test_an_epoch_longer_than_a_chunk_is_seamless():
    for replacement in (True, False):
        weights = np.arange(120_001)
        sampler = WeightedSampler(weights, 100_001, replacement, rank=1, num_replicas=2)
        assert list(sampler) == WeightedSampler(weights, 100_001, replacement).indices()[1::2].tolist()


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "num_samples", "keywords", "message"),
    [
        ([], 1, {}, r"^weights has shape \(0,\); expected \(N,\) with at least one row"),
        ([[1.0]], 1, {}, r"^weights has shape \(1, 1\)"),
        (3.0, 1, {}, r"^weights has shape \(\)"),
        ([[1], [1, 2]], 1, {}, "^weights is ragged"),
        ([1, -0.5], 1, {}, r"^weights\[1\] is -0.5; expected a finite number, 0 or above"),
        ([1, math.nan], 1, {}, r"^weights\[1\] is NaN; expected a finite number"),
        ([math.inf], 1, {}, r"^weights\[0\] is inf"),
        (np.r_[1.0, -np.inf], 1, {"replacement": False}, r"^weights\[1\] is -inf"),
        ([0.0, 0.0], 1, {}, "^the sum of weights is 0; expected above 0"),
        ([0.0, 0.0], 1, {"replacement": False}, "^num_samples is 1, but only 0 weights are above 0"),
        (["a"], 1, {}, "^weights has dtype <U1; expected real numbers"),
        ([True], 1, {}, "^weights has dtype bool; expected real numbers"),
        ([1j], 1, {}, "^weights has dtype complex128; expected real numbers"),
        (None, 1, {}, "^weights has dtype object; expected real numbers"),
        (torch.ones(3, device="meta"), 1, {}, "^weights is a tensor that cannot be copied to the host"),
        (torch.ones(3).to_sparse(), 1, {}, "^weights is a Tensor that NumPy cannot read"),
        ([1, 2], 0, {}, "^num_samples is 0; expected an integer from 1 to 281474976710656"),
        ([1, 2], None, {}, "^num_samples is None; expected an integer"),
        ([1, 2], 2.0, {}, "^num_samples is 2.0; expected an integer"),
        ([1, 2], 2**49, {}, "^num_samples is 562949953421312; expected"),
        ([1, 2, 0], 3, {"replacement": False}, "^num_samples is 3, but only 2 weights .*or replacement=True"),
        ([1, 2], 1, {"replacement": 1}, "^replacement is 1; expected True or False"),
        ([1, 2], 1, {"seed": -1}, "^seed is -1; expected an integer from 0 to"),
        ([1, 2], 1, {"rank": 0}, "^rank is 0 and num_replicas is None; expected both or neither"),
        ([1, 2], 1, {"rank": 2, "num_replicas": 2}, "^rank is 2; expected an integer from 0 to 1"),
    ],
)
def test_bad_arguments_are_named(weights, num_samples, keywords, message):
    with pytest.raises(InputError, match=message):
        WeightedSampler(weights, num_samples, **keywords)


@BOTH
def test_bad_calls_are_named_and_change_nothing(replacement):
    sampler = sampler_of(replacement)
    before = sampler.state_dict()
    with pytest.raises(InputError, match="^stop is 701; expected an integer from 0 to 700"):
        sampler.indices(0, 701)
    with pytest.raises(InputError, match="^epoch is -1"):
        sampler.set_epoch(-1)
    with pytest.raises(InputError, match="^consumed is 701"):
        sampler.state_dict(consumed=701)
    with pytest.raises(InputError, match="^weights has length 2; expected 1000, as before"):
        sampler.set_weights([1, 2])
    with pytest.raises(InputError, match=r"^weights\[0\] is -1"):
        sampler.set_weights(np.full(1000, -1))
    if not replacement:
        with pytest.raises(InputError, match="^num_samples is 700, but only 1 weights are above 0"):
            sampler.set_weights(np.eye(1000)[5])
    assert sampler.state_dict() == before


def test_arrays_that_do_not_fit_are_refused_by_the_core():
    for build in (AliasTable, SampleWeights):
        with pytest.raises(InputError, match="^weights is not C-contiguous"):
            build(np.ones(6)[::2])
        with pytest.raises(TypeError, match="^weights is a ndarray; expected a one-dimensional NumPy array of float64"):
            build(np.ones(3, int))
    with pytest.raises(InputError, match=r"^entries\[1\] is 3; expected an alias below the number of rows"):
        AliasTable.from_entries(np.array([0, 3], np.uint64))
    with pytest.raises(InputError, match="^entries has length 0"):
        AliasTable.from_entries(np.array([], np.uint64))
    for stream in (
        WeightedStream(AliasTable(np.ones(3)), 2, 0, 0),
        SuccessiveStream(SampleWeights(np.ones(3)), 2, 0, 0),
    ):
        assert len(stream) == 2
        with pytest.raises(InputError, match="^start and stop are 1 and 3"):
            stream.indices(1, 3)
        with pytest.raises(InputError, match="^step is 0"):
            stream.indices(0, 2, 0)
        with pytest.raises(InputError, match="^out has length 1; expected 2"):
            stream.indices(0, 2, out=np.zeros(1, np.int64))
    with pytest.raises(InputError, match="^length is 0; expected 1 to"):
        WeightedStream(AliasTable(np.ones(3)), 0, 0, 0)
