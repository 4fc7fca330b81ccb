"""The Rust core through its Python border: equality with the plain references, laws, pinned values, bad input."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt._core import (
    AliasTable,
    BatchStream,
    GroupIndex,
    GroupStream,
    IndependentStream,
    WeightedStream,
    group_sums,
    quotas,
)
from dbpt.errors import InputError


def random_groups(rows, num_groups, seed=0, low=-1):
    return np.random.default_rng(seed).integers(low, num_groups, rows)


def stream(groups, quota, seed=0, epoch=0):
    return GroupStream(GroupIndex(groups, len(quota)), np.asarray(quota, np.int64), seed, epoch)


@given(st.lists(st.integers(-1, 5)), st.integers(6, 8))
def test_index_equals_reference(values, num_groups):
    groups = np.array(values, np.int64)
    index = GroupIndex(groups, num_groups)
    assert (index.num_rows, index.num_groups) == (len(values), num_groups)
    assert index.counts.tolist() == [int((groups == g).sum()) for g in range(num_groups)]
    for group in range(num_groups):
        assert np.array_equal(index.members(group), reference.members(groups, group))
    assert np.array_equal(index.groups(), groups)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("num_groups", [None, 9])
def test_index_takes_any_integer_type_and_any_number_of_threads(dtype, num_groups):
    groups = random_groups(600_000, 5, low=0 if np.dtype(dtype).kind == "u" else -1)
    found = GroupIndex(groups.astype(dtype), num_groups, 3)
    assert found.num_groups == (num_groups or 5)
    assert np.array_equal(found.groups(), groups)
    assert found.num_outside == (groups == -1).sum()
    assert found.first_outside == (int((groups == -1).argmax()) if found.num_outside else None)
    assert found.digest(2) == GroupIndex(groups, found.num_groups).digest()


def test_index_pickles_and_its_digest_tells_groups_apart():
    groups = random_groups(100, 3)
    index = GroupIndex(groups, 3)
    copy = pickle.loads(pickle.dumps(index))
    assert np.array_equal(copy.groups(), groups)
    assert copy.digest() == index.digest()
    assert repr(index) == "GroupIndex(num_rows=100, num_groups=3)"
    assert len(pickle.dumps(index)) < 400
    for num_groups in (128, 129, 2**15, 2**15 + 1):
        large = GroupIndex(np.array([0, -1, num_groups - 1]), num_groups)
        assert pickle.loads(pickle.dumps(large)).groups().tolist() == [0, -1, num_groups - 1]
    swapped = groups.copy()
    swapped[[0, 1]] = [(groups[0] + 2) % 3, groups[1]]
    assert GroupIndex(swapped, 3).digest() != index.digest()
    assert GroupIndex(groups, 4).digest() != index.digest()


@pytest.mark.parametrize("bad", [-2, 3, 2**62])
def test_index_refuses_bad_groups_by_row(bad):
    with pytest.raises(InputError, match=rf"^groups\[2\] is {bad}; expected -1 \(outside\) or 0 to 2"):
        GroupIndex(np.array([0, 1, bad]), 3)
    with pytest.raises(InputError, match=r"^group is 3; "):
        GroupIndex(np.array([0]), 3).members(3)
    with pytest.raises(InputError, match=r"^num_groups is 0; "):
        GroupIndex(np.array([0]), 0)


def sums(groups, values, num_groups, least=-1e9, most=1e9, **keywords):
    groups, values = np.asarray(groups), np.asarray(values)
    return group_sums(groups, values, num_groups, argument="losses", least=least, most=most, **keywords)


def test_sums_are_whole_numbers_of_their_unit():
    found = sums([0, 0, 2, 2, -1], [0.25, 8.0, -(2.0**-30), 1.5 * 2.0**-30, 1.0], 3)
    assert found.tolist() == [[2, 2**28, 2], [0, 0, 0], [-1, 2**32 - 1 + 2, 2]]
    assert sums([0, 0], [1e9, 1e9], 1).tolist() == [[2 * 10**9 // 4, 0, 2]]


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=30)
def test_sums_equal_whole_numbers_of_python(seed, num_threads):
    rng = np.random.default_rng(seed)
    groups, values = rng.integers(-1, 4, 50), rng.normal(0, 1e4, 50)
    found = sums(groups, values, 4, num_threads=num_threads)
    for group in range(4):
        units = sum(round(value * 2**30) for value in values[groups == group].tolist())
        high, low, rows = found[group].tolist()
        assert (high * 2**32 + low, rows) == (units, (groups == group).sum())


shares_lists = st.lists(st.floats(0, 100), min_size=1, max_size=8).filter(lambda shares: sum(shares) > 1e-3)


@given(shares_lists, st.integers(1, 10**6), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_quotas_equal_reference_and_are_exact(shares, num_samples, seed, epoch):
    found = quotas(np.array(shares), np.ones(len(shares), np.int64), num_samples, seed, epoch)
    assert found.sum() == num_samples
    assert np.abs(found - np.array(shares) * num_samples / sum(shares)).max() < 1 + 1e-6
    assert np.array_equal(found, reference.quotas(shares, num_samples, seed, epoch))


@pytest.mark.parametrize("rows", [1, 5, 700, 4097])
@pytest.mark.parametrize("num_groups", [1, 40])
def test_stream_equals_reference(rows, num_groups):
    groups = random_groups(rows, num_groups, low=0)
    counts = np.bincount(groups, minlength=num_groups)
    quota = quotas((counts > 0) * 1.0, counts, rows, 0, 0)
    for seed, epoch in [(0, 0), (2**64 - 1, 3)]:
        found = stream(groups, quota, seed, epoch)
        assert np.array_equal(found.indices(0, rows), reference.group_stream(groups, quota, seed, epoch))


def test_independent_draws_equal_reference():
    groups = random_groups(500, 20)
    quota = np.random.default_rng(1).integers(0, 2**40, 20)
    draws = IndependentStream(GroupIndex(groups, 20), quota, 400, 7, 2**64 - 1)
    assert len(draws) == 400
    expected = reference.independent_stream(groups, quota, 400, 7, 2**64 - 1)
    assert np.array_equal(draws.indices(0, 400), expected)
    assert np.array_equal(draws.indices(100, 399, 7, 2), expected[100:399:7])


INDEX, WEIGHTS = GroupIndex(np.array([0, 1, 1]), 3), AliasTable(np.ones(3))


@pytest.mark.parametrize("make", [GroupStream, lambda index, quota, *rest: BatchStream(index, quota, 2, *rest)])
def test_streams_refuse_bad_quotas(make):
    for quota, message in [
        ([1, 1], "^quotas has length 2; expected 3"),
        ([1, -1, 0], r"^quotas\[1\] is -1"),
        ([1, 1, 1], r"^quotas\[2\] is 1, but group 2 has no members"),
        ([0, 0, 0], "^the sum of quotas is 0"),
    ]:
        with pytest.raises(InputError, match=message):
            make(INDEX, np.array(quota), 0, 0)
    with pytest.raises(InputError, match="^quotas is not C-contiguous"):
        make(INDEX, np.array([2, 0, 2, 0, 0, 0])[::2], 0, 0)
    with pytest.raises(TypeError):
        make(INDEX, np.array([1.0, 1.0, 0.0]), 0, 0)


@pytest.mark.parametrize(
    "draws",
    [
        GroupStream(INDEX, np.array([1, 1, 0]), 0, 0),
        IndependentStream(INDEX, np.array([1, 1, 0]), 2, 0, 0),
        BatchStream(INDEX, np.array([2, 2, 0]), 2, 0, 0),
        WeightedStream(WEIGHTS, 2, 0, 0),
    ],
)
def test_streams_refuse_positions_that_they_do_not_have(draws):
    assert len(draws) == 2
    with pytest.raises(InputError, match="^step is 0"):
        draws.indices(0, 2, 0)
    for start, stop in [(1, 0), (0, 3)]:
        with pytest.raises(InputError, match=f"^start and stop are {start} and {stop}; "):
            draws.indices(start, stop)


def test_streams_work_in_several_python_threads_at_once():
    draws = stream(random_groups(50_000, 4, low=0), [100_000] * 4)
    expected = draws.indices(0, len(draws))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: draws.indices(0, len(draws), 1, 2), range(4)):
            assert np.array_equal(found, expected)
