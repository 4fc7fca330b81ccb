"""The distribution of GroupSampler: independent draws against the exact one, spread over a group."""

import itertools

import numpy as np
import pytest

from dbpt.sampling import GroupSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)


def chi2(seen, expected):
    return ((seen - expected) ** 2 / expected).sum()


def more_often(sampler, size, epoch):
    """The members of group 0, its first `size` rows, that the epoch draws once more than the others."""
    sampler.set_epoch(epoch)
    times = np.bincount(sampler.indices(), minlength=size)[:size]
    return tuple(np.flatnonzero(times > times.min()).tolist())


@pytest.mark.parametrize(
    ("size", "drawn", "others"),
    [
        (6, 2, 0),  # the case: only the six adjacent pairs came
        (6, 4, 3),
        (6, 13, 5),  # two passes and a member: singles
        (7, 17, 0),  # three of an odd number, after two passes
        (2, 3, 1),
        (3, 2, 0),
        (70, 2, 0),  # longer than a table
        (70, 213, 9),
    ],
)
@pytest.mark.parametrize("over", ["seeds", "epochs"])
def test_what_is_drawn_once_more_is_a_random_subset(size, drawn, others, over):
    """χ² of all subsets of so many members, and by that of pairs and triples, not only of single members."""
    groups = np.repeat([0, 1], [size, 4])
    subsets = dict.fromkeys(itertools.combinations(range(size), drawn % size), 0)
    runs = 40 * len(subsets) if size < 70 and len(subsets) < 1000 else 3 * len(subsets)
    runs = min(max(runs, 1000), 12_000)
    sampler = GroupSampler(groups, shares=[drawn, others], num_samples=drawn + others)
    for run in range(runs):
        if over == "seeds":
            sampler = GroupSampler(groups, shares=[drawn, others], num_samples=drawn + others, seed=run)
        key = more_often(sampler, size, 0 if over == "seeds" else run)
        assert len(key) == drawn % size
        subsets[key] = subsets[key] + 1
    seen, freedom = np.array(list(subsets.values())), len(subsets) - 1
    assert chi2(seen, runs / len(subsets)) < freedom + 6 * (2 * freedom) ** 0.5 + 8


def test_independent_draws_follow_the_exact_distribution():
    shares = np.array([1, 2, 3, 4])
    sampler = GroupSampler(GROUPS, shares=shares, num_samples=2_000_000, independent=True)
    times = np.bincount(sampler.indices(), minlength=1000)
    distribution = (shares / shares.sum() / COUNTS)[GROUPS]
    assert chi2(times, distribution * 2_000_000) < 999 + 6 * 1998**0.5
    # An epoch with exact quotas would have no spread at all.
    by_group = np.bincount(GROUPS, times)
    assert (by_group != shares * 200_000).any()
    assert sampler.quotas.tolist() == [200_000, 400_000, 600_000, 800_000]


def test_independent_draws_are_a_function_of_their_number():
    sampler = GroupSampler(GROUPS, seed=5, num_samples=70_002, independent=True)
    order = sampler.indices()
    assert np.array_equal(sampler.indices(60_000, 60_100), order[60_000:60_100])
    options = {"seed": 5, "num_samples": 70_002, "independent": True, "num_replicas": 3}
    ranks = [GroupSampler(GROUPS, rank=rank, **options) for rank in range(3)]
    assert all(list(rank) == order[i::3].tolist() for i, rank in enumerate(ranks))
    half = list(itertools.islice(sampler, 40_000))
    resumed = GroupSampler(GROUPS, independent=True)
    resumed.load_state_dict(sampler.state_dict())
    assert half + list(resumed) == order.tolist()
    assert list(resumed) != order.tolist()
    assert repr(sampler).endswith("independent=True, seed=5, epoch=0)")
