"""An epoch of group-balanced batches: GroupBatchSampler against torch's samplers.

Run: pytest benches/bench_group_batches.py --benchmark-sort=fullname
The peer draws the whole epoch and cuts it into batches, which are balanced only on average. The last test counts its
batches that lack a group.
"""

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, WeightedRandomSampler

from dbpt.sampling import GroupBatchSampler

SHARES = [0.73, 0.04, 0.01, 0.22]  # Waterbirds
ROWS, BATCH_SIZE = 1_000_000, 16


@pytest.fixture(scope="module")
def groups():
    return np.random.default_rng(0).choice(4, ROWS, p=SHARES)


@pytest.fixture(scope="module")
def weights(groups):
    return torch.from_numpy(1 / np.bincount(groups)[groups])


def test_iterate_group_batch_sampler(benchmark, groups):
    sampler = GroupBatchSampler(groups, BATCH_SIZE)
    assert benchmark.pedantic(lambda: sum(1 for _ in sampler), rounds=5, warmup_rounds=1) == ROWS // BATCH_SIZE


def test_iterate_weighted_random_sampler_in_batches(benchmark, weights):
    sampler = BatchSampler(WeightedRandomSampler(weights, ROWS), BATCH_SIZE, drop_last=True)
    assert benchmark.pedantic(lambda: sum(1 for _ in sampler), rounds=5, warmup_rounds=1) == ROWS // BATCH_SIZE


def test_indices_of_group_batch_sampler(benchmark, groups):
    sampler = GroupBatchSampler(groups, BATCH_SIZE)
    epochs = iter(range(1000))

    def epoch():
        sampler.set_epoch(next(epochs))
        return sampler.indices()

    assert benchmark.pedantic(epoch, rounds=7, warmup_rounds=1).size == ROWS


def test_a_thousand_groups(benchmark):
    sampler = GroupBatchSampler(np.random.default_rng(0).integers(0, 1000, ROWS), 2000)
    assert benchmark.pedantic(sampler.indices, rounds=7, warmup_rounds=1).size == ROWS


def test_batches_of_some_groups(benchmark):
    sampler = GroupBatchSampler(np.random.default_rng(0).integers(0, 1000, ROWS), 64, groups_per_batch=16)
    assert benchmark.pedantic(sampler.indices, rounds=7, warmup_rounds=1).size == ROWS


def test_how_many_batches_lack_a_group(groups, weights):
    peer = torch.multinomial(weights, ROWS, True).reshape(-1, BATCH_SIZE).numpy()
    for name, batches in (("torch", peer), ("dbpt", GroupBatchSampler(groups, BATCH_SIZE).indices())):
        present = np.stack([(groups[batches] == group).any(axis=1) for group in range(4)])
        print(f"\n{name}: {(~present.all(axis=0)).mean():.2%} of {len(batches)} batches lack a group")
