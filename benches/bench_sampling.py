"""An epoch of group-balanced draws: GroupSampler against NumPy and torch that know the groups, and torch.multinomial.

Run: pytest benches/bench_sampling.py --benchmark-sort=fullname
Times include all work that new shares cause. The index of GroupSampler and the weights of torch.multinomial are built
beforehand. For 10⁸ rows and more see benches/large_sampling.py.
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


@pytest.fixture(params=[1, 2], ids=lambda threads: f"{threads} threads")
def num_threads(request):
    return request.param


@pytest.fixture
def torch_threads(num_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("independent", [False, True], ids=["exact", "independent"])
def test_group_sampler(benchmark, groups, independent, num_threads):
    sampler = GroupSampler(groups, independent=independent, num_threads=num_threads)
    epochs = iter(range(1000))

    def epoch():
        sampler.set_epoch(next(epochs))
        return sampler.indices()

    assert len(benchmark.pedantic(epoch, rounds=15, warmup_rounds=1)) == len(groups)


def test_torch_multinomial(benchmark, groups, torch_threads):
    weights = torch.from_numpy(1 / np.bincount(groups)[groups])
    draws = benchmark.pedantic(
        torch.multinomial, args=(weights, len(groups), True), rounds=3 if len(groups) > 2e6 else 7, warmup_rounds=1
    )
    assert len(draws) == len(groups)


def test_numpy_that_knows_the_groups(benchmark, groups):
    """Draw whole passes over each group and a random part of it, and shuffle all: the same distribution."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in range(4)]

    def epoch():
        whole, rest = zip(*(divmod(len(groups) // 4, len(rows)) for rows in members), strict=True)
        parts = [np.tile(rows, times) for rows, times in zip(members, whole, strict=True)]
        parts += [rng.choice(rows, size, replace=False) for rows, size in zip(members, rest, strict=True)]
        draws = np.concatenate(parts)
        rng.shuffle(draws)
        return draws

    assert len(benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)) == len(groups)


def test_torch_that_knows_the_groups(benchmark, groups, torch_threads):
    """Draw the same with `torch.randperm` and gathers."""
    members = [torch.from_numpy(np.flatnonzero(groups == group)) for group in range(4)]

    def epoch():
        parts = []
        for rows in members:
            whole, rest = divmod(len(groups) // 4, len(rows))
            parts += [rows.repeat(whole), rows[torch.randperm(len(rows))[:rest]]]
        draws = torch.cat(parts)
        return draws[torch.randperm(len(draws))]

    assert len(benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)) == len(groups)


def test_build_group_sampler(benchmark, groups):
    assert len(benchmark.pedantic(GroupSampler, args=(groups,), rounds=9, warmup_rounds=1)) == len(groups)


def test_iterate_group_sampler(benchmark, groups):
    if len(groups) > 2e6:
        pytest.skip("a million Python ints tell enough")
    sampler = GroupSampler(groups)
    assert benchmark.pedantic(lambda: sum(1 for _ in sampler), rounds=9, warmup_rounds=1) == len(groups)


def test_list_of_weighted_random_sampler(benchmark, groups):
    if len(groups) > 2e6:
        pytest.skip("a million Python ints tell enough")
    weights = torch.from_numpy(1 / np.bincount(groups)[groups])
    sampler = torch.utils.data.WeightedRandomSampler(weights, len(groups))
    assert len(benchmark.pedantic(lambda: list(sampler), rounds=5, warmup_rounds=1)) == len(groups)
