"""Group weights: dbpt against the one-hot matrix product with which group_DRO's loss finds the mean of each group.

Run: pytest benches/bench_group_weights.py
CPU tensors, one thread on either side where nothing else is said. The peer adds up floats, so its weights depend on the
order of the samples; ours are sums of integers. NumPy's bincount is the fastest plain way to float sums of many rows.
"""

import os

import numpy as np
import pytest
import torch

import dbpt

ROWS = 10**7


def batch(num_rows, num_groups):
    rng = np.random.default_rng(0)
    groups = rng.integers(0, num_groups, num_rows)
    return torch.from_numpy(groups), torch.from_numpy(rng.random(num_rows, dtype=np.float32))


@pytest.fixture(autouse=True)
def one_thread():
    """dbpt takes all processors that the process may use."""
    threads, processors = torch.get_num_threads(), os.sched_getaffinity(0)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(processors)})
    yield processors
    os.sched_setaffinity(0, processors)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def many_rows():
    return batch(ROWS, 1000)


class OneHotDRO:
    """q from the group means of a batch, those from a (G, B) one-hot matrix."""

    def __init__(self, num_groups, step_size=0.01):
        self.numbers = torch.arange(num_groups)[:, None]
        self.q, self.step_size = torch.full((num_groups,), 1 / num_groups), step_size

    def step(self, groups, losses):
        one_hot = (groups == self.numbers).float()
        means = one_hot @ losses / one_hot.sum(1).clamp(min=1)
        self.q = self.q * torch.exp(self.step_size * means)
        self.q /= self.q.sum()
        return self.q


@pytest.mark.parametrize("num_groups", [4, 1000])
def test_a_training_step_dbpt(benchmark, num_groups):
    (groups, losses), dro = batch(128, num_groups), dbpt.GroupDRO(np.ones(num_groups))

    def step():
        dro.observe(groups, losses)
        dro.step()
        return dro.q

    assert benchmark(step).sum() == pytest.approx(1)


@pytest.mark.parametrize("num_groups", [4, 1000])
def test_a_training_step_one_hot(benchmark, num_groups):
    (groups, losses), dro = batch(128, num_groups), OneHotDRO(num_groups)
    assert benchmark(dro.step, groups, losses).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("num_processors", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_an_epoch_at_once_dbpt(benchmark, many_rows, one_thread, dtype, num_processors):
    groups, p_true = many_rows[0], many_rows[1].to(dtype)
    weights = dbpt.GroupWeights(np.bincount(groups), 1.0, 0.5)
    os.sched_setaffinity(0, set(list(one_thread)[:num_processors]))

    def step():
        weights.observe(groups, p_true)
        weights.step()

    benchmark.pedantic(step, rounds=7, warmup_rounds=1)
    assert weights.mean_p_true.mean() == pytest.approx(0.5, abs=1e-3)


def test_an_epoch_at_once_bincount(benchmark, many_rows):
    groups, p_true = (tensor.numpy() for tensor in many_rows)

    def means():
        return np.bincount(groups, p_true, 1000) / np.bincount(groups, minlength=1000)

    assert benchmark.pedantic(means, rounds=7, warmup_rounds=1).mean() == pytest.approx(0.5, abs=1e-3)


def test_an_epoch_at_once_one_hot(benchmark, many_rows):
    """In pieces of 4096 rows: at once the matrix would have 10**10 elements."""
    groups, p_true = many_rows
    numbers = torch.arange(1000)[:, None]

    def means():
        sums, counts = torch.zeros(1000), torch.zeros(1000)
        for part, values in zip(groups.split(4096), p_true.split(4096), strict=True):
            one_hot = (part == numbers).float()
            sums += one_hot @ values
            counts += one_hot.sum(1)
        return sums / counts

    assert benchmark.pedantic(means, rounds=1).mean().item() == pytest.approx(0.5, abs=1e-3)


@pytest.fixture(scope="module")
def many_posteriors():
    rng = np.random.default_rng(0)
    p = rng.random(10**6, dtype=np.float32)
    return np.stack([p, 1 - p], axis=1), rng.integers(0, 2, len(p))


def test_soft_counts_dbpt(benchmark, many_posteriors):
    counts = benchmark.pedantic(dbpt.soft_counts, (*many_posteriors, 2), rounds=7, warmup_rounds=1)
    assert counts.sum() == 10**6


def test_soft_counts_bincount(benchmark, many_posteriors):
    posterior, labels = many_posteriors

    def counts():
        return np.stack([np.bincount(labels, column, 2) for column in posterior.T], axis=1)

    assert benchmark.pedantic(counts, rounds=7, warmup_rounds=1).sum() == pytest.approx(10**6)
