"""`permutation`: every row once, in an order that is pinned; `random_part`: some of each stratum."""

import numpy as np

from dbpt.groups.permutation import permutation, random_part


def test_every_row_comes_once_in_the_order_of_seed_and_epoch():
    orders = [permutation(7, seed, epoch).tolist() for seed, epoch in ((0, 0), (1, 0), (0, 1))]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3 and permutation(7, 0).tolist() == orders[0]
    firsts = np.bincount([permutation(3, seed)[0] for seed in range(3_000)], minlength=3)
    assert (abs(firsts - 1_000) < 110).all()  # over four standard deviations


def test_a_random_part_has_its_size_in_each_stratum_and_keeps_copies_together():
    strata, images = np.array([0] * 8 + [1] * 6), np.array([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 8, 8])
    parts = [random_part(strata, lambda n: n // 2, seed, images) for seed in range(200)]
    for part in parts:
        assert len(set(images[part]) & set(images[~part])) == 0
        assert [len(set(images[part & (strata == stratum)])) for stratum in (0, 1)] == [2, 2]
    assert np.mean(parts, axis=0)[0] == np.mean(parts, axis=0)[1]
    np.testing.assert_allclose(np.mean(parts, axis=0)[[0, 2, 8, 13]], [0.4, 0.4, 0.5, 0.5], atol=0.12)
    whole = random_part(strata, lambda n: n // 2, 3)
    assert np.bincount(strata[whole]).tolist() == [4, 3]
