"""`permutation`: every row once, in an order that is pinned; `random_part`: some of each stratum."""

import numpy as np

from dbpt.groups.association import explained_errors, first_of_unit, permutation, random_part


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


def test_copies_are_rows_of_the_same_unit_and_stratum():
    units, strata = np.array([4, 4, 2, 4, 2, 9]), np.array([0, 0, 1, 1, 1, 0])
    assert first_of_unit(units, strata).tolist() == [0, 0, 2, 3, 2, 5]


def test_images_thrice_without_a_bias_are_found_biased_far_too_often_unless_each_counts_once():
    """Each of 120 images three times: at 5 %, the test of all rows rejects in more than a quarter of the cases."""
    units, rng = np.repeat(np.arange(120), 3), np.random.default_rng(0)
    rejected = np.zeros(2)
    for seed in range(400):
        of_image = rng.random(120) < 0.7, rng.integers(0, 2, 120), rng.integers(0, 2, 120)
        rows = [each[units] for each in of_image]
        distinct = first_of_unit(units, rows[1]) == np.arange(len(units))
        for place, of in enumerate((rows, [each[distinct] for each in rows])):
            sizes = {"num_classes": 2, "num_attributes": 2, "permutations": 199, "seed": seed}
            rejected[place] += explained_errors(*of, **sizes).p_value <= 0.05
    assert rejected[0] / 400 > 0.25 and rejected[1] / 400 < 0.085  # 3.2 standard deviations
