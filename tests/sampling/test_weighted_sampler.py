"""WeightedSampler in PyTorch loops; its types, pinned values, scale and bad input."""

import doctest
import itertools
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from weighted_draws import OTHERS, at_most, chi2, sampler_of

import dbpt.sampling.weighted_sampler
from dbpt._core import AliasTable, WeightedStream
from dbpt.errors import InputError
from dbpt.sampling import WeightedSampler


def test_docstring_example():
    found = doctest.testmod(dbpt.sampling.weighted_sampler)
    assert found.failed == 0
    assert found.attempted > 0


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataloader_with_forked_workers_gets_the_same_order(num_workers):
    dataset = torch.utils.data.TensorDataset(torch.arange(1000))
    sampler = sampler_of()
    context = "fork" if num_workers else None
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=64, sampler=sampler, num_workers=num_workers, multiprocessing_context=context
    )
    order = sampler.indices().tolist()
    assert torch.cat([batch for (batch,) in loader]).tolist() == order
    assert torch.cat([batch for (batch,) in loader]).tolist() != order


class DrawingDataset(torch.utils.data.Dataset):
    """Builds and draws inside the worker, with threads, from a sampler of the main process and from one of its own."""

    def __init__(self, sampler):
        self.sampler = sampler

    def __len__(self):
        return 3

    def __getitem__(self, epoch):
        weights = np.arange(300_000) % 11
        own = WeightedSampler(weights, 100_000)
        for sampler in (own, self.sampler):
            sampler.set_epoch(epoch)
        return [int(own.indices()[-1]), int(self.sampler.indices()[-1])]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_threads_work_inside_workers(context):
    sampler = WeightedSampler(np.arange(200_000) % 5, 100_000, seed=1)
    sampler.indices()  # threads in the parent first
    dataset = DrawingDataset(sampler)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=1, multiprocessing_context=context, timeout=600
    )
    assert list(loader) == [dataset[epoch] for epoch in range(3)]


def test_python_threads_may_share_a_stream():
    weights = np.arange(100_000) % 3
    stream = WeightedStream(AliasTable(weights.astype(float)), 60_000, 0, 0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: stream.indices(0, 60_000, 1, 2), range(4)))
    assert all(np.array_equal(rows, found[0]) for rows in found)


def test_it_looks_like_a_sampler_to_frameworks():
    sampler = sampler_of()
    assert isinstance(sampler, torch.utils.data.Sampler)
    assert not hasattr(sampler, "generator")
    assert type(next(iter(sampler))) is int


def test_pickling_and_repr():
    sampler = sampler_of(rank=1, num_replicas=4)
    list(itertools.islice(sampler, 7))
    sampler.set_weights(OTHERS)
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.state_dict() == sampler.state_dict()
    assert list(copy) == list(sampler)
    assert list(copy) == list(sampler)
    assert repr(sampler) == ("WeightedSampler(num_rows=1000, num_samples=700, seed=3, epoch=2, rank=1, num_replicas=4)")
    assert repr(sampler_of()).endswith("seed=3, epoch=0)")


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_weights_come_in_any_container(make):
    whole = [1, 0, 2, 3, 255]
    expected = WeightedSampler(np.array(whole, float), 100).indices()
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


def test_tensors_with_a_gradient_are_read():
    weights = torch.tensor([1.0, 2.0], requires_grad=True)
    assert np.array_equal(WeightedSampler(weights, 9).indices(), WeightedSampler([1.0, 2.0], 9).indices())


def test_draws_are_pinned():
    sampler = WeightedSampler(np.arange(5000) % 13, 4000, seed=2025)
    sampler.set_epoch(3)
    assert sampler.indices(3990, 3996).tolist() == PINNED
    assert sampler.state_dict() == PINNED_STATE


PINNED = [2460, 2191, 3557, 2830, 830, 893]
PINNED_STATE = {
    "version": 2,
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


def test_an_epoch_longer_than_a_chunk_is_seamless():
    sampler = WeightedSampler(np.arange(120_001), 100_000, rank=1, num_replicas=2)
    assert list(sampler) == WeightedSampler(np.arange(120_001), 100_000).indices()[1::2].tolist()


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
        ([0.0, 0.0], 1, {}, "^the sum of weights is 0; expected above 0"),
        (["a"], 1, {}, "^weights has dtype <U1; expected real numbers"),
        ([True], 1, {}, "^weights has dtype bool; expected real numbers"),
        ([1j], 1, {}, "^weights has dtype complex128; expected real numbers"),
        (None, 1, {}, "^weights has dtype object; expected real numbers"),
        (torch.ones(3, device="meta"), 1, {}, "^weights is a tensor that cannot be copied to the host"),
        (torch.ones(3).to_sparse(), 1, {}, "^weights is a tensor that cannot be copied to the host"),
        ([1, 2], 0, {}, "^num_samples is 0; expected an integer from 1 to 281474976710656"),
        ([1, 2], None, {}, "^num_samples is None; expected an integer"),
        ([1, 2], 2.0, {}, "^num_samples is 2.0; expected an integer"),
        ([1, 2], 2**49, {}, "^num_samples is 562949953421312; expected"),
        ([1, 2], 1, {"seed": -1}, "^seed is -1; expected an integer from 0 to"),
        ([1, 2], 1, {"rank": 0}, "^rank is 0 and num_replicas is None; expected both or neither"),
        ([1, 2], 1, {"rank": 2, "num_replicas": 2}, "^rank is 2; expected an integer from 0 to 1"),
    ],
)
def test_bad_arguments_are_named(weights, num_samples, keywords, message):
    with pytest.raises(InputError, match=message):
        WeightedSampler(weights, num_samples, **keywords)


def test_bad_calls_are_named_and_change_nothing():
    sampler = sampler_of()
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
    assert sampler.state_dict() == before


def test_arrays_that_do_not_fit_are_refused_by_the_core():
    with pytest.raises(InputError, match="^weights is not C-contiguous"):
        AliasTable(np.ones(6)[::2])
    with pytest.raises(TypeError, match="^weights is a ndarray; expected a one-dimensional NumPy array of float64"):
        AliasTable(np.ones(3, int))
    with pytest.raises(InputError, match=r"^entries\[1\] is 3; expected an alias below the number of rows"):
        AliasTable.from_entries(np.array([0, 3], np.uint64))
    with pytest.raises(InputError, match="^weights has length 0"):
        AliasTable.from_entries(np.array([], np.uint64))
    stream = WeightedStream(AliasTable(np.ones(3)), 2, 0, 0)
    assert len(stream) == 2
    with pytest.raises(InputError, match="^start and stop are 1 and 3"):
        stream.indices(1, 3)
    with pytest.raises(InputError, match="^step is 0"):
        stream.indices(0, 2, 0)
    with pytest.raises(InputError, match="^length is 0; expected 1 to"):
        WeightedStream(AliasTable(np.ones(3)), 0, 0, 0)
