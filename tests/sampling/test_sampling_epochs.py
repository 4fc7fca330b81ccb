"""The law over epochs: with more groups than places, each group gets its share, and any groups meet."""

import itertools

import numpy as np
import pytest
import reference

from dbpt.sampling import GroupBatchSampler, GroupSampler

TWENTY, IDENTITIES = np.arange(60) % 20, np.arange(2253) // 3
# Skewed shares of ten groups, the smallest of 1 %; the last has no members.
SKEWED, SHARES = np.arange(200) % 10, [1, 1, 2, 3, 3, 5, 15, 20, 50, 0, 0]
LARGE = [*SHARES[:8], 200, 0, 0]  # over a half is a group in every batch of two
UNKNOWN, CLASSES = np.where(np.arange(300) % 4 == 0, -1, np.arange(300) % 30), np.arange(300) % 30 // 3


def totals(sampler, groups, epochs, num_groups=None):
    """(E, G) the draws of each group in each epoch, from the drawn rows."""
    num_groups, found = num_groups or sampler.num_groups, []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        found.append(np.bincount(groups[sampler.indices().ravel()], minlength=num_groups))
    return np.array(found)


# By name: a sampler, the group of each row, the draws that go together, and the exact draws of each group in an epoch.
CASES = {
    "7 of 20 rows": lambda seed: (GroupSampler(TWENTY, num_samples=7, seed=seed), TWENTY, 1, np.full(20, 0.35)),
    "skewed rows": lambda seed: (
        GroupSampler(SKEWED, num_samples=37, shares=SHARES, num_groups=11, seed=seed),
        SKEWED,
        1,
        reference.exact_quotas(SHARES, 37),
    ),
    "2 batches of 4": lambda seed: (
        GroupBatchSampler(TWENTY, 4, min_per_group=0, num_batches=2, seed=seed),
        TWENTY,
        1,
        np.full(20, 0.4),
    ),
    "at least 1": lambda seed: (
        GroupBatchSampler(SKEWED, 16, shares=SHARES, num_groups=11, num_batches=3, seed=seed),
        SKEWED,
        1,
        reference.exact_quotas(SHARES, 48, least=3),
    ),
    "2 skewed groups × 3": lambda seed: (
        GroupBatchSampler(SKEWED, 6, groups_per_batch=2, shares=LARGE, num_groups=11, num_batches=7, seed=seed),
        SKEWED,
        3,
        reference.exact_quotas(LARGE, 14, most=7),
    ),
    "16 identities × 4": lambda seed: (
        GroupBatchSampler(IDENTITIES, 64, groups_per_batch=16, seed=seed),
        IDENTITIES,
        4,
        np.full(751, 576 / 751),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_up_to_any_epoch_each_group_has_had_its_share(case, seed):
    sampler, groups, together, exact = CASES[case](seed)
    found = totals(sampler, groups, range(120)) / together
    assert ((found >= np.floor(exact + 1e-6)) & (found <= np.ceil(exact - 1e-6))).all()
    off = found.cumsum(axis=0) - np.arange(1, 121)[:, None] * exact
    assert np.abs(off).max() < 2
    # From any epoch to any other.
    start = sampler.epoch * 1_000_003
    later = totals(sampler, groups, range(start, start + 60)).sum(axis=0) / together
    assert np.abs(later - 60 * exact).max() < 4


def test_unknown_rows_of_each_class_have_their_share_too():
    extended = np.where(UNKNOWN < 0, 30 + CLASSES, UNKNOWN)
    for make in (
        lambda **options: GroupSampler(UNKNOWN, num_samples=17, **options),
        lambda **options: GroupBatchSampler(UNKNOWN, 17, min_per_group=0, num_batches=1, **options),
    ):
        sampler = make(unknown="class", labels=CLASSES)
        due = make(unknown="class", labels=CLASSES)._distribution
        found = totals(sampler, extended, range(200), 40).cumsum(axis=0)
        assert np.abs(found - np.arange(1, 201)[:, None] * due / due.sum() * 17).max() < 2


@pytest.mark.parametrize("case", CASES)
def test_iterating_and_setting_epochs_in_any_order_give_the_same_epochs(case):
    sampler, groups, _, _ = CASES[case](3)
    in_order = [np.bincount(groups[np.ravel(list(sampler))], minlength=sampler.num_groups) for _ in range(12)]
    assert sampler.epoch == 11
    shuffled = [5, 0, 11, 3, 3, 8]
    assert np.array_equal(totals(sampler, groups, shuffled), np.array(in_order)[shuffled])
    sampler.set_epoch(4)
    assert np.array_equal(sampler.quotas, in_order[4])
    # Stopped in mid-epoch and resumed, the next epoch has its own quotas.
    half = list(itertools.islice(sampler, len(sampler) // 2))
    resumed = CASES[case](0)[0]
    resumed.load_state_dict(sampler.state_dict())
    assert np.array_equal(resumed.quotas, in_order[4])
    rest = list(resumed)
    assert np.array_equal(np.bincount(groups[np.ravel(half + rest)], minlength=len(in_order[4])), in_order[4])
    assert np.array_equal(np.bincount(groups[np.ravel(list(resumed))], minlength=len(in_order[4])), in_order[5])
