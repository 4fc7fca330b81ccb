"""The floor under a group's size and the cap on a sample's weight: no few rows decide a run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbpt
from dbpt.errors import InputError
from dbpt.groups.weights import Bounds
from dbpt.training.model_selection import effective_rows

one_count = st.just(0.0) | st.integers(1, 5000).map(float) | st.floats(1e-9, 1e4)
count_lists = st.lists(one_count, min_size=1, max_size=12).filter(any)


def by_bisection(log_shares, counts, total, floor, cap):
    """w = min(cap, s * share / max(N, floor)) with the s at which N @ w is the total."""
    low, high = -2000.0, 2000.0
    log_weights = np.where(counts > 0, log_shares - np.log(np.maximum(counts, floor)), -np.inf)
    for _ in range(200):
        middle = (low + high) / 2
        weights = np.exp(np.minimum(log_weights + middle, np.log(cap)))
        low, high = (middle, high) if counts @ weights < total else (low, middle)
    return weights


@given(count_lists, st.integers(0, 2**32), st.floats(1e-3, 1000), st.floats(1, 1000), st.sampled_from([0.0, 1.0, 50.0]))
@settings(max_examples=200)
def test_the_laws_hold_for_any_groups(counts, seed, floor, cap, spread):
    counts = np.array(counts)
    log_shares, total = np.random.default_rng(seed).normal(0, spread, len(counts)), counts.sum()
    weights = Bounds(floor, cap).weights(log_shares, counts, total)
    assert counts @ weights == pytest.approx(total, rel=1e-9)
    assert weights.max() <= cap * (1 + 1e-9)
    assert (weights[counts == 0] == 0).all()
    assert effective_rows(weights, counts) >= total / cap * (1 - 1e-9)
    expected = by_bisection(log_shares, counts, total, floor, cap)
    np.testing.assert_allclose(counts * weights, counts * expected, atol=1e-6 * total)


def test_group_dro_caps_a_group_that_has_all_of_q():
    dro = dbpt.GroupDRO([900, 90, 10], step_size=1.0, max_weight=20)
    dro.observe(np.repeat([0, 1, 2], [90, 9, 1]), np.repeat([1.0, 2.0, 5000.0], [90, 9, 1]))
    dro.step()
    assert dro.q.tolist() == [0, 0, 1]
    mass = dro.counts * dro.group_weights
    assert mass[2] == pytest.approx(200)
    assert mass[1] / mass[0] == pytest.approx(np.e)
    assert mass.sum() == pytest.approx(1000)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"min_group_count": -1}, "^min_group_count is -1; expected a finite number, 0 or above"),
        ({"max_weight": 0.99}, "^max_weight is 0.99; expected 1"),
        ({"max_weight": "x"}, "^max_weight is 'x'; expected a number"),
    ],
)
def test_bad_bounds_are_named(bounds, message):
    for rule in (lambda: dbpt.GroupWeights([1], 1, 0.5, **bounds), lambda: dbpt.GroupDRO([1], **bounds)):
        with pytest.raises(InputError, match=message):
            rule()
