"""`permutation`: every row once, in an order that is pinned; `random_part`: some of each stratum."""

import numpy as np

from dbpt.groups.permutation import permutation, random_part


def test_every_row_comes_once_in_the_order_of_seed_and_epoch():
    orders = [permutation(7, seed, epoch).tolist() for seed, epoch in ((0, 0), (1, 0), (0, 1))]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3 and permutation(7, 0).tolist() == orders[0]
    firsts = np.bincount([permutation(3, seed)[0] for seed in range(3_000)], minlength=3)
    assert (abs(firsts - 1_000) < 110).all()  # over four standard deviations


def test_a_random_part_has_its_size_in_each_stratum():
    strata = np.array([0] * 8 + [1] * 5)
    parts = [random_part(strata, lambda n: n // 2, seed) for seed in range(200)]
    assert all(np.bincount(strata[part]).tolist() == [4, 2] for part in parts)
    np.testing.assert_allclose(np.mean(parts, axis=0), [0.5] * 8 + [0.4] * 5, atol=0.12)
