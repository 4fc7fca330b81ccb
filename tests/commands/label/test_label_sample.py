"""Which images `dbpt label` draws: strata, how many of each, and the distribution of the draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt import InputError
from dbpt.commands.label.sample import allocate, draw, stratify


def confidences(n: int, seed: int = 0) -> np.ndarray:
    return (1 - np.random.default_rng(seed).beta(1, 8, n)).astype(np.float32)


def test_a_stratum_is_a_band_of_confidence_within_a_cell():
    cells = np.random.default_rng(1).choice([3, 4, 9], 500, p=[0.9, 0.09, 0.01])
    confidence = confidences(500)
    strata, _ = stratify(cells, confidence, 100)
    assert np.unique(strata).tolist() == list(range(5))
    for cell in (3, 4):
        low, high = np.unique(strata[cells == cell])
        assert high == low + 1
        assert confidence[strata == low].max() <= confidence[strata == high].min()
        assert (strata == low).sum() < (strata == high).sum()  # the unsure band has fewer images
    assert len(np.unique(strata[cells == 9])) == 1  # too few of its images will be drawn to learn of two bands


def test_doubt_is_alike_in_the_bands_of_a_cell_and_so_is_the_score():
    confidence = confidences(1200)
    strata, score = stratify(np.repeat([7, 8], [1000, 200]), confidence, 100)
    e = (1 - confidence.astype(float)).clip(0.01, 0.5)
    doubt = np.bincount(strata, np.sqrt(e * (1 - e)))
    assert doubt[0] == pytest.approx(doubt[1], rel=0.01)
    assert score == pytest.approx(np.sqrt(np.repeat([doubt[:2].sum(), doubt[2:].sum()], 2)) / 2)


def test_bands_take_no_images_from_cells_without():
    """Power allocation is between cells: one that is cut in two is not worth more."""
    cells, confidence = np.repeat([0, 1], [2000, 300]), np.full(2300, 0.9, dtype=np.float32)
    drawn = {
        n: allocate(np.bincount(strata), score, n)
        for n in (30, 80)
        for strata, score in [stratify(cells, confidence, n)]
    }
    assert [len(each) for each in drawn.values()] == [3, 4]
    assert [each[:2].sum() / each[2:].sum() for each in drawn.values()] == pytest.approx([2.6, 2.6], rel=0.08)


def test_fewer_images_than_cells_are_refused():
    cells, confidence = np.arange(300) % 10, confidences(300)
    assert stratify(cells, confidence, 10)[0].max() == 9
    with pytest.raises(InputError, match="--n is 9; expected at least 10: one image of each pseudo-group"):
        stratify(cells, confidence, 9)
    assert stratify(np.arange(3), confidence[:3], 200)[0].tolist() == [0, 1, 2]


sizes_and_scores = st.lists(st.tuples(st.integers(1, 5000), st.floats(0.1, 30)), min_size=1, max_size=40)


@given(sizes_and_scores, st.integers(1, 2000))
@settings(max_examples=200)
def test_allocation_adds_up_within_its_limits(strata, n):
    sizes, score = (np.array(column) for column in zip(*strata, strict=True))
    n = max(n, len(sizes))
    drawn = allocate(sizes, score, n)
    assert drawn.sum() == min(n, sizes.sum())
    least = 2 if np.minimum(2, sizes).sum() <= n else 1
    assert (drawn >= np.minimum(least, sizes)).all()
    assert (drawn <= sizes).all()


def test_allocation_goes_by_score():
    assert allocate(np.array([10_000, 10_000, 10_000]), np.array([10.0, 20.0, 30.0]), 600).tolist() == [100, 200, 300]
    assert allocate(np.array([10_000, 10_000, 3]), np.array([10.0, 20.0, 30.0]), 303).tolist() == [100, 200, 3]
    assert allocate(np.array([10_000, 10_000, 5]), np.array([100.0, 100.0, 0.01]), 100).tolist() == [49, 49, 2]


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
    rows = draw(np.repeat([0, 1, 2], [50, 20, 8]), np.array([4, 3, 2]), seed=7)
    assert rows.tolist() == [74, 43, 63, 21, 65, 24, 73, 9, 58]
