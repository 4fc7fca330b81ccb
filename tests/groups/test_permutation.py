"""`permutation`: every row once, in an order that is pinned."""

import numpy as np

from dbpt.groups.permutation import permutation


def test_every_row_comes_once_in_the_order_of_seed_and_epoch():
    orders = [permutation(7, seed, epoch).tolist() for seed, epoch in ((0, 0), (1, 0), (0, 1))]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3 and permutation(7, 0).tolist() == orders[0]
    firsts = np.bincount([permutation(3, seed)[0] for seed in range(3_000)], minlength=3)
    assert (abs(firsts - 1_000) < 110).all()  # over four standard deviations
