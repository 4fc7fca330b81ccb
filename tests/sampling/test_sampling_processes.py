"""The samplers where there is no torch, no memory, or more than one process."""

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import dbpt.sampling.rank_draws
from dbpt._core import BatchStream, GroupIndex, GroupStream
from dbpt.errors import InputError
from dbpt.sampling import GroupBatchSampler, GroupSampler, WeightedSampler

GROUPS = np.arange(96) % 3


def test_what_is_too_large_for_memory_is_a_memory_error():
    """It ended the process; a shape beyond what NumPy can count is told as a ValueError."""
    index = GroupIndex(np.zeros(3, np.int8), 1)
    draws = 2**48
    for call in (
        lambda: GroupStream(index, np.array([draws]), 0, 0).indices(0, draws),
        lambda: BatchStream(index, np.array([draws]), 2**20, 0, 0).indices(0, 2**28),
        lambda: GroupBatchSampler(np.zeros(3, np.int8), 2**22, num_batches=2**26).indices(),
        lambda: GroupSampler([0, 0], num_samples=draws, independent=True).indices(),
        lambda: WeightedSampler([1, 2], draws, dataset=range(2)).indices(),
    ):
        with pytest.raises(MemoryError):
            call()


def test_batches_of_any_size_become_python_numbers_a_few_at_a_time():
    """32 at a time of 2**22 rows each were 5 GB of Python ints."""
    sampler = GroupBatchSampler(np.zeros(3, np.int8), 2**18, num_batches=2**20)
    assert len(next(iter(sampler))) == 2**18
    assert sampler.state_dict()["position"] == 1
    assert sampler._pass._read == 1


@pytest.fixture
def two_processes(monkeypatch):
    """One of two processes, to the samplers alone."""
    monkeypatch.setattr(dbpt.sampling.rank_draws, "_has_warned", False)
    monkeypatch.setattr(dbpt.sampling.rank_draws, "_num_processes", lambda: 2)


def test_processes_are_those_of_torch_distributed(monkeypatch):
    assert dbpt.sampling.rank_draws._num_processes() == 1
    initialized = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, get_world_size=lambda: 2)
    monkeypatch.setitem(sys.modules, "torch.distributed", initialized)
    assert dbpt.sampling.rank_draws._num_processes() == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda **ranks: GroupSampler(GROUPS, **ranks),
        lambda **ranks: GroupBatchSampler(GROUPS, 6, **ranks),
        lambda **ranks: WeightedSampler(GROUPS, 9, **ranks),
    ],
)
def test_processes_that_all_draw_everything_are_warned_once(make, two_processes):
    with pytest.warns(UserWarning, match="^each of 2 processes draws all rows of the epoch; give the sampler rank="):
        list(make())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(make())


def test_ranks_that_were_given_are_not_warned_of(two_processes):
    for rank, num_replicas in ((1, 2), (0, 1)):
        list(GroupSampler(GROUPS, rank=rank, num_replicas=num_replicas))
    GroupSampler(GROUPS).indices()
    with pytest.raises(InputError, match="^seed is None with 2 processes; expected an integer, the same on each"):
        GroupSampler(GROUPS, seed=None)


@pytest.mark.parametrize("batches", [False, True])
def test_accelerate_shards_and_is_not_warned_of(batches, two_processes):
    """`BatchSamplerShard` gives every process its batches of the one order."""
    data_loader = pytest.importorskip("accelerate.data_loader")
    seen = []
    for process in range(2):
        sampler = GroupBatchSampler(GROUPS, 6) if batches else GroupSampler(GROUPS)
        options = {"batch_sampler": sampler} if batches else {"sampler": sampler, "batch_size": 6}
        loader = torch.utils.data.DataLoader(range(96), **options)
        shard = data_loader.prepare_data_loader(loader, num_processes=2, process_index=process)
        seen.append([batch.tolist() for batch in shard])
    order = sampler.indices().reshape(-1, 6).tolist()
    assert [seen[i % 2][i // 2] for i in range(16)] == order
    assert sampler.epoch == 0


def test_accelerate_repeats_the_epoch_it_names_until_it_is_told_another():
    """It calls `set_epoch` before each pass, and counts only those that were finished."""
    data_loader = pytest.importorskip("accelerate.data_loader")
    sampler = GroupSampler(GROUPS)
    loader = data_loader.prepare_data_loader(torch.utils.data.DataLoader(range(96), sampler=sampler, batch_size=6))
    first = [next(iter(loader)).tolist() for _ in range(2)]
    assert first[0] == first[1]
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert next(iter(loader)).tolist() == sampler.indices(0, 6).tolist()
        assert sampler.epoch == epoch


@pytest.mark.full
def test_lightning_shards_and_is_not_warned_of(two_processes):
    """`DistributedSamplerWrapper` draws the whole order on each process and takes every second, here not shuffled."""
    distributed = pytest.importorskip("lightning.fabric.utilities.distributed")
    sampler = GroupSampler(GROUPS)
    parts = []
    for rank in range(2):
        wrapped = distributed.DistributedSamplerWrapper(sampler, num_replicas=2, rank=rank, shuffle=False)
        wrapped.set_epoch(3)
        parts.append(list(wrapped))
    assert sampler.epoch == 3
    order = sampler.indices().tolist()
    assert parts == [order[::2], order[1::2]]
