"""The law over epochs: with more groups than places, each group gets its share, and any groups meet."""

import itertools

import numpy as np
import pytest
import reference

from dbpt.sampling import GroupBatchSampler, GroupSampler, WeightedSampler

TWENTY, IDENTITIES = np.arange(60) % 20, np.arange(2253) // 3
# Skewed shares of ten groups, the smallest of 1 %; the last has no members.
SKEWED, SHARES = np.arange(200) % 10, [1, 1, 2, 3, 3, 5, 15, 20, 50, 0, 0]
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
    "10 of 20 rows": lambda seed: (GroupSampler(TWENTY, num_samples=10, seed=seed), TWENTY, 1, np.full(20, 0.5)),
    "7 of 20 rows": lambda seed: (GroupSampler(TWENTY, num_samples=7, seed=seed), TWENTY, 1, np.full(20, 0.35)),
    "1 of 20 rows": lambda seed: (GroupSampler(TWENTY, num_samples=1, seed=seed), TWENTY, 1, np.full(20, 0.05)),
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
    "3 groups × 4": lambda seed: (
        GroupBatchSampler(TWENTY, 12, groups_per_batch=3, seed=seed),
        TWENTY,
        4,
        np.full(20, 0.75),
    ),
    "2 skewed groups × 3": lambda seed: (
        GroupBatchSampler(SKEWED, 6, groups_per_batch=2, shares=SHARES, num_groups=11, num_batches=7, seed=seed),
        SKEWED,
        3,
        reference.exact_quotas(SHARES, 14, most=7),
    ),
    "16 identities × 4": lambda seed: (
        GroupBatchSampler(IDENTITIES, 64, groups_per_batch=16, seed=seed),
        IDENTITIES,
        4,
        np.full(751, 576 / 751),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
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


@pytest.mark.parametrize("case", CASES)
def test_each_group_is_drawn_as_soon_as_its_share_is_two_draws(case):
    sampler, groups, _, exact = CASES[case](7)
    epochs = int(np.ceil(2 / exact[exact > 0].min()))
    assert np.array_equal(totals(sampler, groups, range(epochs)).sum(axis=0) > 0, exact > 0)


@pytest.mark.parametrize(("num_groups", "places"), [(20, 10), (20, 7), (20, 2), (5, 2), (7, 5)])
def test_any_two_groups_get_the_rest_together(num_groups, places):
    """As often as in a random choice of the groups: none always together, none never."""
    groups, epochs = np.arange(num_groups * 3) % num_groups, 2000
    found = totals(GroupSampler(groups, num_samples=places, seed=1), groups, range(epochs))
    pairs = list(itertools.combinations(range(num_groups), 2))
    met = np.array([(found[:, a] * found[:, b]).sum() for a, b in pairs])
    rate = places * (places - 1) / (num_groups * (num_groups - 1))
    deviations = (met - epochs * rate) / (epochs * rate * (1 - rate)) ** 0.5
    assert np.abs(deviations).max() < 5


def test_any_two_groups_meet_in_a_batch():
    """P × K with a part of the groups in each epoch, and batches that do without most groups."""
    for options in ({"groups_per_batch": 4}, {"min_per_group": 0, "num_batches": 3}):
        sampler = GroupBatchSampler(TWENTY, 4, **options)
        met, batches = np.zeros((20, 20)), 0
        for epoch in range(600):
            sampler.set_epoch(epoch)
            for batch in TWENTY[sampler.indices()]:
                met[np.ix_(batch, batch)] += 1
                batches += 1
        pairs, expected = met[np.triu_indices(20, 1)], batches * 12 / 380
        assert np.abs(pairs - expected).max() < 6 * expected**0.5


def test_in_each_epoch_all_groups_have_the_same_chance_over_seeds():
    shares = reference.exact_quotas(SHARES, 4)[:9]
    for epoch in (0, 5, 1000):
        skewed = [GroupSampler(SKEWED, num_samples=4, shares=SHARES, num_groups=11, seed=seed) for seed in range(500)]
        found = np.array([totals(sampler, SKEWED, [epoch])[0] for sampler in skewed])
        assert np.abs(found.mean(axis=0)[:9] - shares).max() < 0.15
        equal = [GroupSampler(TWENTY, num_samples=7, seed=seed) for seed in range(500)]
        found = np.array([totals(sampler, TWENTY, [epoch])[0] for sampler in equal])
        assert np.abs(found.mean(axis=0) - 0.35).max() < 5 * (0.35 * 0.65 / 500) ** 0.5


def test_shares_that_change_each_epoch_hold_on_the_whole():
    rng, sampler = np.random.default_rng(0), GroupSampler(TWENTY, num_samples=13)
    due, found = np.zeros(20), np.zeros(20)
    for _ in range(400):
        shares = rng.random(20)
        sampler.set_shares(shares)
        shares *= 0  # the sampler has its own
        found += np.bincount(TWENTY[list(sampler)], minlength=20)
        due += sampler._distribution / sampler._distribution.sum() * 13
    assert np.abs(found - due).max() < 5 * (400 * 0.25) ** 0.5


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


@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_agree_in_each_epoch_and_have_the_same_law(drop_last):
    ranks = [GroupSampler(TWENTY, num_samples=9, rank=rank, num_replicas=2, drop_last=drop_last) for rank in range(2)]
    found = np.zeros((2, 20))
    for epoch in range(400):
        orders = []
        for rank in ranks:
            rank.set_epoch(epoch)
            orders.append(list(rank))
        union = [row for step in zip(*orders, strict=True) for row in step]
        assert union == [ranks[0].indices()[i % 9] for i in range(8 if drop_last else 10)]
        found += [np.bincount(TWENTY[order], minlength=20) for order in orders]
    expected = 400 * (4 if drop_last else 5) / 20
    assert np.abs(found - expected).max() < 5 * expected**0.5


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


@pytest.mark.parametrize("independent", [True, False])
def test_independent_draws_have_the_shares_on_average(independent):
    """Of `GroupSampler` and of `WeightedSampler`, with fewer draws in an epoch than groups."""
    shares = np.array(SHARES[:9])
    if independent:
        sampler = GroupSampler(SKEWED, num_samples=7, shares=SHARES, num_groups=11, independent=True)
    else:
        sampler = WeightedSampler(np.array(SHARES)[SKEWED], 7)
    found = totals(sampler, SKEWED, range(1500), 11).sum(axis=0)[:9]
    expected = shares / shares.sum() * 1500 * 7
    assert ((found - expected) ** 2 / expected).sum() < 8 + 6 * 16**0.5
