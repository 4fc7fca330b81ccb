"""Which images `dbpt label` draws: strata, how many of each, and the law of the draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt import InputError
from dbpt.human_check.strata import allocate, draw, stratify


def confidences(n: int, seed: int = 0) -> np.ndarray:
    return (1 - np.random.default_rng(seed).beta(1, 8, n)).astype(np.float32)


def test_a_stratum_is_a_band_of_confidence_within_a_cell():
    cells = np.random.default_rng(1).choice([3, 4, 9], 500, p=[0.8, 0.15, 0.05])
    confidence = confidences(500)
    strata, _ = stratify(cells, confidence, 100)
    assert np.unique(strata).tolist() == list(range(6))
    for cell in (3, 4, 9):
        low, high = np.unique(strata[cells == cell])
        assert high == low + 1
        assert confidence[strata == low].max() <= confidence[strata == high].min()
        assert (strata == low).sum() < (strata == high).sum()  # the unsure band has fewer images


def test_doubt_is_alike_in_the_bands_of_a_cell():
    strata, doubt = stratify(np.zeros(1000, dtype=np.int64), confidences(1000), 100)
    e = (1 - confidences(1000).astype(float)).clip(0.01, 0.5)
    assert doubt == pytest.approx(np.bincount(strata, np.sqrt(e * (1 - e))))
    assert doubt[0] == pytest.approx(doubt[1], rel=0.01)


def test_few_images_for_many_cells_mean_one_band_then_an_error():
    cells, confidence = np.arange(300) % 10, confidences(300)
    for n, expected in ((160, 20), (159, 10), (10, 10)):
        assert stratify(cells, confidence, n)[0].max() + 1 == expected
    with pytest.raises(InputError, match="n is 9; expected at least 10: one image of each pseudo-group"):
        stratify(cells, confidence, 9)
    assert stratify(np.arange(3), confidence[:3], 200)[0].tolist() == [0, 1, 2]


sizes_and_doubt = st.lists(st.tuples(st.integers(1, 5000), st.floats(0.01, 0.5)), min_size=1, max_size=40)


@given(sizes_and_doubt, st.integers(1, 2000))
@settings(max_examples=200, deadline=None)
def test_allocation_adds_up_within_its_limits(strata, n):
    sizes = np.array([size for size, _ in strata])
    doubt = sizes * np.array([each for _, each in strata])
    n = max(n, len(sizes))
    drawn = allocate(sizes, doubt, n)
    assert drawn.sum() == min(n, sizes.sum())
    least = 2 if np.minimum(2, sizes).sum() <= n else 1
    assert (drawn >= np.minimum(least, sizes)).all()
    assert (drawn <= sizes).all()


def test_allocation_goes_by_the_root_of_doubt():
    assert allocate(np.array([10_000, 10_000, 10_000]), np.array([100.0, 400.0, 900.0]), 600).tolist() == [
        100,
        200,
        300,
    ]
    assert allocate(np.array([10_000, 10_000, 3]), np.array([100.0, 400.0, 900.0]), 303).tolist() == [100, 200, 3]
    assert allocate(np.array([10_000, 10_000, 5]), np.array([1e4, 1e4, 1e-4]), 100).tolist() == [49, 49, 2]


def test_a_draw_takes_so_many_of_each_stratum_and_none_twice():
    strata = np.random.default_rng(2).choice(5, 400, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    drawn = np.array([20, 15, 5, 2, 2])
    rows = draw(strata, drawn, seed=3)
    assert np.bincount(strata[rows]).tolist() == drawn.tolist()
    assert len(set(rows.tolist())) == len(rows)
    assert rows.tolist() == draw(strata, drawn, seed=3).tolist()
    assert sorted(rows) != sorted(draw(strata, drawn, seed=4))


def test_every_image_of_a_stratum_is_as_likely_and_so_is_every_place():
    strata = np.repeat([0, 1], [12, 30])
    times, first = np.zeros(42), np.zeros(2)
    draws = 3000
    for seed in range(draws):
        rows = draw(strata, np.array([4, 5]), seed)
        times[rows] += 1
        first[strata[rows[0]]] += 1
    expected = draws * np.where(strata == 0, 4 / 12, 5 / 30)
    # The 99.9 % points of chi-squared with 40 and 1 degrees of freedom; drawing without replacement makes it smaller.
    assert ((times - expected) ** 2 / expected).sum() < 73.4
    assert ((first - draws * np.array([4, 5]) / 9) ** 2 / (draws * np.array([4, 5]) / 9)).sum() < 10.8


def test_a_draw_is_what_it_was():
    assert draw(np.repeat([0, 1, 2], [50, 20, 8]), np.array([4, 3, 2]), seed=7).tolist() == [
        44,
        56,
        71,
        28,
        72,
        61,
        6,
        9,
        63,
    ]
