"""Cramér's V and explained errors against worked examples, a peer, plain permutations and simulated data sets."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, hypergeom
from scipy.stats.contingency import association

from dbpt.errors import InputError
from dbpt.evaluation import cramers_v, explained_errors, simultaneous_intervals
from dbpt.groups.ids import first_of_unit, permutation, random_part

WATERBIRDS = np.array([[3498, 184], [56, 1057]])


def rows_of(table):
    """Return labels and attributes of the rows that a table (C, A) counts."""
    return np.indices(np.shape(table)).reshape(2, -1).repeat(np.ravel(table), axis=1)


def v_of(table):
    return cramers_v(*rows_of(table), num_classes=np.shape(table)[0], num_attributes=np.shape(table)[1])


def explained(counts, errors, **options):
    """Return the explained errors of a classifier with ``errors`` (C, A) in groups of ``counts`` (C, A) rows."""
    counts, errors = np.asarray(counts), np.asarray(errors)
    labels, attributes = np.concatenate([rows_of(counts - errors), rows_of(errors)], axis=1)
    right = np.arange(len(labels)) < (counts - errors).sum()
    sizes = {"num_classes": len(counts), "num_attributes": counts.shape[1]}
    return explained_errors(right, labels, attributes, **sizes, **options)


# --- Cramér's V


@pytest.mark.parametrize("table", [WATERBIRDS, [[30, 10, 5], [10, 30, 8]], [[9, 1, 4], [2, 8, 7], [3, 3, 30]]])
def test_v_is_the_peer_s_after_the_correction_is_taken_back(table):
    table = np.asarray(table)
    n, (r, c) = table.sum(), table.shape
    phi2 = v_of(table) ** 2 * min((k - 1) - (k - 1) ** 2 / (n - 1) for k in (r, c)) + (r - 1) * (c - 1) / (n - 1)
    assert (phi2 / min(r - 1, c - 1)) ** 0.5 == pytest.approx(association(table, method="cramer"), abs=1e-12)


def test_v_of_perfect_association_is_1():
    assert v_of(np.diag([2, 3, 4])) == 1.0


def test_v_leaves_out_unknown_attributes_and_what_does_not_occur():
    labels, attributes = rows_of([[30, 10], [10, 30]])
    more = {"labels": [*labels, 0, 1, 3], "attributes": [*(attributes * 2), -1, -1, -1]}
    assert cramers_v(**more, num_classes=5, num_attributes=4) == v_of([[30, 10], [10, 30]])


@pytest.mark.parametrize("table", [[[5, 5], [0, 0]], [[5, 0], [5, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 1]]])
def test_v_is_missing_where_nothing_can_be_associated(table):
    assert v_of(table) is None
    assert v_of([[1, 0, 1], [1, 1, 1]]) == 0


# --- explained errors


@pytest.mark.parametrize(
    ("counts", "rate", "data_sets"),
    [
        (WATERBIRDS, 0.05, 200),
        pytest.param(np.full((2, 2), 20), 0.1, 500, marks=pytest.mark.full),
        pytest.param(np.full((7, 4), 20), 0.1, 200, marks=pytest.mark.full),
        ([[500, 1, 2], [3, 400, 0]], 0.05, 200),
    ],
)
def test_without_an_effect_p_is_small_as_seldom_as_it_should(counts, rate, data_sets):
    rng = np.random.default_rng(1)
    found = [
        explained(counts, rng.binomial(counts, rate), permutations=99, bootstraps=0, seed=i) for i in range(data_sets)
    ]
    p_values = np.array([1.0 if one.p_value is None else one.p_value for one in found])
    for level in (0.05, 0.2):
        assert (p_values <= level).sum() <= binom.ppf(0.9999, data_sets, level)
    assert (p_values <= 0.5).mean() > 0.3  # the test isn't merely timid
    assert np.mean([one.share or 0.0 for one in found]) < 0.12


def test_a_strong_effect_is_found_with_the_share_that_it_has():
    found = explained([[2255, 2255], [642, 642]], [[11, 560], [190, 32]])
    truth = (560 - 11 + 190 - 32) / 793
    assert found.p_value == 1 / 10_000 and found.share == pytest.approx(truth, abs=0.03)
    assert (found.n, found.errors, found.permutations) == (5794, 793, 9999)
    rates = np.tile(np.repeat([0.05, 0.5], [25, 5]), (8, 1))
    many = explained(np.full((8, 30), 20), np.random.default_rng(0).binomial(20, rates))
    assert many.p_value == 1 / 10_000 and many.share == pytest.approx(0.6, abs=0.15)
    few = explained([[20, 20], [20, 20]], [[1, 10], [8, 1]])
    assert few.p_value < 0.001 and few.share == pytest.approx(1 - 4 / 20, abs=0.15)


def test_p_is_the_probability_of_all_tables_that_are_at_least_as_extreme():
    """Given the margins, the errors of attribute 0 are hypergeometric in each class, whose statistics add up."""
    counts, errors = np.array([[12, 8], [5, 15]]), np.array([[0, 3], [4, 14]])
    sums, probabilities, observed = np.zeros(1), np.ones(1), 0.0
    for (n0, n1), (e0, e1) in zip(counts, errors, strict=True):
        n, e = n0 + n1, e0 + e1
        chi2_of = lambda k, n0=n0, n1=n1, n=n, e=e: (k - e * n0 / n) ** 2 * n**3 / (e * (n - e) * n0 * n1)  # noqa: E731
        k, observed = np.arange(e + 1), observed + chi2_of(e0)
        sums = np.add.outer(sums, chi2_of(k)).ravel()
        probabilities = np.multiply.outer(probabilities, hypergeom(n, n0, e).pmf(k)).ravel()
    exact = probabilities[sums >= observed - 1e-9].sum()
    assert explained(counts, errors).p_value == pytest.approx(exact, abs=0.015)


def test_tied_statistics_count_as_extreme():
    """Two of four right, one in each group: the most likely table is the observed one, and nothing is less extreme."""
    assert explained([[2, 2]], [[1, 1]]).p_value == 1.0
    # All six choices of two errors: two are as extreme as this one.
    assert explained([[2, 2]], [[2, 0]]).p_value == pytest.approx(1 / 3, abs=0.02)


def simulated(rates, rows, data_sets=150):
    """Return the true share, and the shares and intervals found in data sets with those ``rates`` (C, A) of errors."""
    counts, rates, rng = np.full(np.shape(rates), rows), np.asarray(rates), np.random.default_rng(0)
    found = [explained(counts, rng.binomial(counts, rates), permutations=1, seed=i) for i in range(data_sets)]
    shares, low, high = np.array([(each.share, each.share_low, each.share_high) for each in found]).T
    assert (low <= shares).all() and (shares <= high).all()
    return 1 - rates.min(axis=1).sum() / rates.mean(axis=1).sum(), shares, low, high


@pytest.mark.parametrize(
    ("size", "true", "rows"), [(2, 0.6, 30), pytest.param(10, 3 / 13, 300, marks=pytest.mark.full)]
)
def test_the_share_of_a_known_effect_has_little_bias_and_its_interval_holds(size, true, rows):
    """One group errs in 40 % of its rows, the others in 10 %: the minimum over nine equal groups is low by chance."""
    expected, shares, low, high = simulated([[0.4] + [0.1] * (size - 1)], rows)
    assert expected == pytest.approx(true)
    assert abs(shares.mean() - true) < 0.05 + 2 * shares.std() / len(shares) ** 0.5
    assert ((low <= true) & (true <= high)).sum() >= binom.ppf(0.01, len(shares), 0.93)


@pytest.mark.parametrize(("size", "rows"), [(2, 300), (10, 30)])
def test_without_an_effect_the_share_is_small_and_the_interval_begins_at_0(size, rows):
    _, shares, low, _ = simulated([[0.2] * size], rows)
    assert shares.mean() < (0.12 if rows == 30 else 0.05)
    assert (low == 0).sum() >= binom.ppf(0.01, len(shares), 0.95)


def test_the_interval_holds_over_many_classes_and_becomes_narrow_with_the_rows():
    true, shares, low, high = simulated([[0.4, 0.1, 0.1, 0.1]] * 7, 20, 40)
    assert abs(shares.mean() - true) < 0.05 and ((low <= true) & (true <= high)).mean() > 0.87
    widths = [np.mean(high - low) for _, _, low, high in (simulated([[0.4, 0.1]], n, 8) for n in (30, 300, 3000))]
    assert widths[0] > 0.6 > 0.3 > widths[1] > 2 * widths[2]


@pytest.mark.parametrize(
    ("counts", "errors"), [([[50, 50], [30, 9]], [[0, 0], [0, 0]]), ([[0, 0], [0, 0]], [[0, 0], [0, 0]])]
)
def test_nothing_to_compare_is_missing(counts, errors):
    found = explained(counts, errors)
    assert (found.p_value, found.share, found.n, found.errors) == (None, None, np.sum(counts), np.sum(errors))
    assert (found.share_low, found.share_high) == (None, None)


def test_empty_cells_other_classes_and_unknown_attributes_change_no_p():
    alone = explained([[40, 40]], [[4, 16]])
    assert explained([[40, 0, 40], [0, 0, 7], [9, 9, 9]], [[4, 0, 16], [0, 0, 7], [0, 0, 0]]).p_value == alone.p_value
    right, labels, attributes = [True] * 24 + [False] * 36, [0] * 60, [0] * 24 + [1] * 16 + [-1] * 20
    found = explained_errors(right, labels, attributes, num_classes=1, num_attributes=2)
    assert (found.n, found.errors, found.p_value) == (40, 16, 1 / 10_000)


def test_a_tiny_group_without_errors_does_not_explain_the_others():
    assert explained([[1000, 2], [1000, 1]], [[200, 0], [200, 0]]).share < 0.05


def test_without_bootstraps_only_the_interval_is_missing():
    found, plain = (explained([[40, 40]], [[4, 16]], bootstraps=n) for n in (400, 0))
    assert found.share_low < found.share < found.share_high
    assert plain == replace(found, share_low=None, share_high=None)


def test_the_seed_decides_the_permutations():
    counts, errors = np.full((2, 2), 20), [[3, 6], [2, 1]]
    assert explained(counts, errors, seed=3) == explained(counts, errors, seed=3)
    assert explained(counts, errors, seed=3) != explained(counts, errors, seed=4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"right": [1, 0]}, r"right has shape \(2,\) and dtype int64; expected \(2,\) booleans"),
        ({"right": [True]}, r"right has shape \(1,\)"),
        ({"attributes": [0, 2]}, r"attributes\[1\] is 2; expected an integer in -1..1"),
        ({"labels": [0, -1]}, r"labels\[1\] is -1"),
        ({"permutations": 0}, "permutations is 0; expected an integer, 1 or above"),
        ({"seed": -1}, "seed is -1"),
        ({"num_classes": 2.0}, "num_classes is 2.0; expected an integer, 1 or above"),
        ({"num_attributes": 10**9}, r"is 2 \* 1000000000 = 2000000000 groups; expected up to 1048576"),
    ],
)
def test_wrong_arguments_get_one_line(changed, message):
    good = {"right": [True, False], "labels": [0, 1], "attributes": [0, 1], "num_classes": 2, "num_attributes": 2}
    with pytest.raises(InputError, match=message):
        explained_errors(**good | changed)


# --- simultaneous intervals


@pytest.mark.parametrize("groups", [4, 28])
def test_all_intervals_hold_at_once_in_95_of_100_samples(groups):
    rng = np.random.default_rng(groups)
    counts, truth = rng.integers(5, 400, groups), rng.choice([0.5, 0.9, 0.99], groups)
    samples = 500
    hold = 0
    for correct in rng.binomial(counts, truth, size=(samples, groups)):
        intervals = simultaneous_intervals(correct, counts)
        hold += all(low <= p <= high for (low, high), p in zip(intervals, truth, strict=True))
    assert hold >= binom.ppf(0.0001, samples, 0.95)


def test_groups_without_rows_have_no_interval_and_do_not_widen_the_others():
    one = simultaneous_intervals([9], [10])
    assert simultaneous_intervals([0, 9, 0], [0, 10, 0]) == [None, *one, None]
    assert simultaneous_intervals([9, 9], [10, 10])[0][0] < one[0][0]
    assert simultaneous_intervals([0, 0], [0, 0]) == [None, None]
    assert simultaneous_intervals([10, 0], [10, 10])[0][1] == 1.0 and simultaneous_intervals([0], [9])[0][0] == 0.0


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
    with pytest.raises(InputError, match="^seed is 1180591620717411303424"):
        random_part(strata, lambda n: n // 2, 2**70)


def test_copies_are_rows_of_the_same_unit_and_stratum():
    units, strata = np.array([4, 4, 2, 4, 2, 9]), np.array([0, 0, 1, 1, 1, 0])
    assert first_of_unit(units, strata).tolist() == [0, 0, 2, 3, 2, 5]
