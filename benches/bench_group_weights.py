"""Group weights: dbpt against float sums by group, with torch's index_add_ in a training step and NumPy's bincount.

Run: pytest benches/bench_group_weights.py
CPU tensors, one thread. The peers add floats, so their weights depend on the order of the samples, and they check
nothing. dbpt adds integers.
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
    """Restrict the process to one processor, because dbpt uses all that it may."""
    threads, processors = torch.get_num_threads(), os.sched_getaffinity(0)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(processors)})
    yield
    os.sched_setaffinity(0, processors)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def many_rows():
    return batch(ROWS, 1000)


class IndexAddDRO:
    """Group DRO's q from the group means of a batch, by torch's index_add_."""

    def __init__(self, num_groups, step_size=0.01):
        self.q, self.step_size = torch.full((num_groups,), 1 / num_groups), step_size

    def step(self, groups, losses):
        sums = torch.zeros_like(self.q).index_add_(0, groups, losses)
        counts = torch.zeros_like(self.q).index_add_(0, groups, torch.ones_like(losses))
        self.q = self.q * torch.exp(self.step_size * sums / counts.clamp(min=1))
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
def test_a_training_step_index_add(benchmark, num_groups):
    (groups, losses), dro = batch(128, num_groups), IndexAddDRO(num_groups)
    assert benchmark(dro.step, groups, losses).sum().item() == pytest.approx(1, abs=1e-5)


def test_an_epoch_at_once_dbpt(benchmark, many_rows):
    groups, p_true = many_rows
    weights = dbpt.GroupWeights(np.bincount(groups), 1.0, 0.5)

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
