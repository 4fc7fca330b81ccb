"""Axes of the report's charts: ticks enclose the values, labels keep their distance."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dbpt.report.charts import linear_ticks, spread


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5))
def test_ticks_enclose_the_values(values):
    places = [place for place, _ in linear_ticks(values)]
    assert places == sorted(set(places))
    assert places[0] <= min(values) * (1 + 1e-9)
    assert places[-1] >= max(values) * (1 - 1e-9)
    assert len(places) <= 10


@given(st.lists(st.floats(0, 200), min_size=1, max_size=12))
def test_spread_labels_keep_order_and_distance(places):
    moved = spread(places, 14.0, 200.0)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 14.0 - 1e-6 for a, b in pairwise(order))
    assert max(moved) <= 200.0 + 1e-6
    apart = [20.0, 60.0, 100.0]
    assert spread(apart, 14.0, 200.0) == apart
