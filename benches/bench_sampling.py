"""An epoch of group-balanced draws: GroupSampler against torch.multinomial and NumPy's exact quotas and shuffle.

Run: pytest benches/bench_sampling.py --benchmark-sort=fullname
Times include what each must redo when the shares change; the index of GroupSampler and the weights of
torch.multinomial are built beforehand.
"""

import numpy as np
import pytest
import torch

from dbpt.sampling import GroupSampler

SHARES = [0.73, 0.04, 0.01, 0.22]  # Waterbirds
ROWS = [1_000_000, 10_000_000]


@pytest.fixture(scope="module", params=ROWS, ids=lambda rows: f"{rows:.0e}")
def groups(request):
    return np.random.default_rng(0).choice(4, request.param, p=SHARES)


def test_group_sampler(benchmark, groups):
    sampler = GroupSampler(groups)
    epochs = iter(range(1000))

    def epoch():
        sampler.set_epoch(next(epochs))
        return sampler.indices()

    assert len(benchmark.pedantic(epoch, rounds=7, warmup_rounds=1)) == len(groups)


def test_torch_multinomial(benchmark, groups):
    weights = torch.from_numpy(1 / np.bincount(groups)[groups])
    draws = benchmark.pedantic(
        torch.multinomial, args=(weights, len(groups), True), rounds=3 if len(groups) > 2e6 else 7, warmup_rounds=1
    )
    assert len(draws) == len(groups)


def test_numpy_quotas_and_shuffle(benchmark, groups):
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in range(4)]

    def epoch():
        quota = len(groups) // 4
        draws = np.concatenate([np.resize(rows, quota) for rows in members])
        rng.shuffle(draws)
        return draws

    assert len(benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)) == len(groups)


def test_iterate_group_sampler(benchmark, groups):
    if len(groups) > 2e6:
        pytest.skip("a million Python ints tell enough")
    sampler = GroupSampler(groups)
    assert benchmark.pedantic(lambda: sum(1 for _ in sampler), rounds=5, warmup_rounds=1) == len(groups)


def test_iterate_weighted_random_sampler(benchmark, groups):
    if len(groups) > 2e6:
        pytest.skip("a million Python ints tell enough")
    weights = torch.from_numpy(1 / np.bincount(groups)[groups])
    sampler = torch.utils.data.WeightedRandomSampler(weights, len(groups))
    assert benchmark.pedantic(lambda: sum(1 for _ in sampler), rounds=5, warmup_rounds=1) == len(groups)
