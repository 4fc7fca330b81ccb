"""Draws by individual weights: WeightedSampler against torch.multinomial and WeightedRandomSampler.

Run: pytest benches/bench_weighted_sampling.py --benchmark-sort=fullname
Times include all work that new weights cause, such as the alias table. Both sides get one or two threads, but
`torch.multinomial` always uses one.
"""

import numpy as np
import pytest
import torch

from dbpt._core import AliasTable, WeightedStream
from dbpt.sampling import WeightedSampler

ROWS = [1_000_000, 10_000_000]
THREADS = pytest.mark.parametrize("num_threads", [1, 2])


@pytest.fixture(scope="module", params=ROWS, ids=lambda rows: f"{rows:.0e}")
def weights(request):
    return np.random.default_rng(0).random(request.param)


@pytest.fixture
def torch_threads(num_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    yield
    torch.set_num_threads(before)


@THREADS
def test_build_and_draw(benchmark, weights, num_threads):
    def epoch():
        table = AliasTable(weights, num_threads)
        return WeightedStream(table, len(weights), 0, 0).indices(0, len(weights), 1, num_threads)

    assert len(benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)) == len(weights)


@THREADS
def test_torch_multinomial(benchmark, weights, num_threads, torch_threads):
    arguments = (torch.from_numpy(weights), len(weights), True)
    assert len(benchmark.pedantic(torch.multinomial, args=arguments, rounds=2, warmup_rounds=0)) == len(weights)


def test_iterate_weighted_sampler(benchmark, weights):
    if len(weights) > 2e6:
        pytest.skip("a million Python ints tell enough")

    def epoch():
        return sum(1 for _ in WeightedSampler(weights, len(weights)))

    assert benchmark.pedantic(epoch, rounds=5, warmup_rounds=1) == len(weights)


def test_iterate_weighted_random_sampler(benchmark, weights):
    if len(weights) > 2e6:
        pytest.skip("a million Python ints tell enough")

    def epoch():
        return sum(1 for _ in torch.utils.data.WeightedRandomSampler(torch.from_numpy(weights), len(weights)))

    assert benchmark.pedantic(epoch, rounds=3, warmup_rounds=1) == len(weights)
