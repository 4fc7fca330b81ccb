"""Labels under proportions: exact counts, the best sum of logits, and what they are when estimated."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from dbpt._core import quotas
from dbpt.errors import InputError
from dbpt.pseudo_attributes import label_attributes
from dbpt.pseudo_attributes.contrasts import contrast_matrix


def check_proportional(logits, found, shares, part=0):
    """Exact counts; and each label has the largest logit plus offset, which proves the sum of logits to be largest."""
    rows, attributes = logits.shape
    counts = quotas(np.asarray(shares, np.float64), np.ones(attributes, np.int64), rows)
    what = found.proportions[part]
    assert np.bincount(found.pseudo_attributes, minlength=attributes).tolist() == counts.tolist()
    assert what.counts.tolist() == counts.tolist()
    np.testing.assert_allclose(what.proportions, np.asarray(shares) / np.sum(shares), rtol=1e-12)
    assert np.array_equal(np.isneginf(what.offsets), counts == 0)
    assert abs(what.offsets[counts > 0].sum()) <= 1e-9 * max(1.0, np.abs(what.offsets[counts > 0]).max())
    scores = logits.astype(np.float64) + what.offsets
    chosen = scores[np.arange(rows), found.pseudo_attributes]
    assert (scores.max(axis=1) - chosen).max() <= 1e-12 * max(1.0, float(np.abs(logits).max()))
    np.testing.assert_allclose(found.posterior, reference.softmax(scores), rtol=3e-7, atol=1e-37)
    np.testing.assert_allclose(found.confidence, found.posterior.max(axis=1), rtol=2e-7)


@st.composite
def problems(draw):
    rows, attributes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(20, 3, (rows, attributes)).astype(draw(st.sampled_from([np.float16, np.float32])))
    if draw(st.booleans()):
        logits = np.round(logits)  # many ties
    shares = draw(st.lists(st.integers(0, 9), min_size=attributes, max_size=attributes).filter(any))
    return logits, shares


@given(problems())
@settings(max_examples=150, deadline=None)
def test_counts_are_exact_and_the_labels_the_best(problem):
    logits, shares = problem
    check_proportional(logits, label_attributes(logits, method="proportional", proportions=shares), shares)


@pytest.mark.parametrize("attributes", [2, 3, 4])
def test_labels_equal_the_reference(attributes):
    logits = np.random.default_rng(attributes).normal(20, 3, (200, attributes)).astype(np.float32)
    shares = np.arange(1, attributes + 1) / (attributes * (attributes + 1) / 2)
    found = label_attributes(logits, method="proportional", proportions=shares)
    counts = quotas(shares, np.ones(attributes, np.int64), len(logits))
    assert np.array_equal(found.pseudo_attributes, reference.proportional(logits.astype(np.float64), counts))


def test_two_attributes_are_parted_midway_between_two_rows():
    logits = np.array([[0.0, 4.0], [0.0, 1.0], [0.0, 3.0], [0.0, 0.0]], np.float32)
    found = label_attributes(logits, method="proportional", proportions=[1, 1])
    assert found.pseudo_attributes.tolist() == [1, 0, 1, 0]
    assert found.proportions[0].offsets.tolist() == [1.0, -1.0]  # 1 and 3 are the neighbours of the threshold 2


@pytest.mark.parametrize("rows", [4096, 4097, 70_000])
def test_samples_that_grow_end_at_the_same_optimum(rows):
    rng = np.random.default_rng(rows)
    for dtype, attributes in ((np.float16, 2), (np.float32, 3)):
        logits = np.sort(rng.normal(20, 3, (rows, attributes)), axis=0).astype(dtype)  # no even order of rows
        shares = [0.003, 0.897, 0.1][:attributes]
        one, many = (label_attributes(logits, method="proportional", proportions=shares, num_threads=n) for n in (1, 3))
        check_proportional(logits, one, shares)
        assert np.array_equal(one.pseudo_attributes, many.pseudo_attributes)
        assert np.array_equal(one.posterior, many.posterior)
        assert np.array_equal(one.proportions[0].offsets, many.proportions[0].offsets)


def test_rows_that_stand_alike_are_parted_by_their_number():
    logits = np.zeros((10_000, 3), np.float16)
    logits[:, 2] = -5
    found = label_attributes(logits + 7, method="proportional", proportions=[1, 3, 0])
    assert np.array_equal(found.pseudo_attributes, np.repeat([0, 1], [2500, 7500]))
    assert np.array_equal(found.posterior[[0, -1]], [[0.5, 0.5, 0], [0.5, 0.5, 0]])


def test_each_class_has_its_own_proportions():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(20, 3, (3000, 2)).astype(np.float32), rng.choice([0, 2], 3000)
    table = [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]
    found = label_attributes(logits, method="proportional", labels=labels, within_class=True, proportions=table)
    assert [what.label for what in found.proportions] == [0, 2]
    for label in (0, 2):
        rows = labels == label
        alone = label_attributes(logits[rows], method="proportional", proportions=table[label])
        assert np.array_equal(found.pseudo_attributes[rows], alone.pseudo_attributes)
        assert np.array_equal(found.posterior[rows], alone.posterior)
    same = label_attributes(logits, method="proportional", labels=labels, within_class=True, proportions=[3, 1])
    assert [what.proportions.tolist() for what in same.proportions] == [[0.75, 0.25]] * 2


def rare_attributes(rows, shares, seed=0):
    """Logits with a unit normal around each attribute, 3 apart, and the attribute of each row."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(shares), rows, p=shares)
    logits = rng.normal(0, 1, (rows, len(shares)))
    logits[np.arange(rows), truth] += 3.0
    return logits.astype(np.float32), truth


@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.03, 0.97], [0.9, 0.07, 0.03], [0.5, 0.3, 0.15, 0.05]])
def test_estimated_proportions_rescue_the_minority_from_a_threshold_that_is_off(shares):
    logits, truth = rare_attributes(20_000, shares)
    expected = np.bincount(truth) / len(truth)
    largest = int(expected.argmax())
    for scale in (0.2, 5.0):
        off = logits * np.float32(scale)
        off[:, largest] += 4 * np.float32(scale)
        swallowed = label_attributes(off)
        found = label_attributes(off, method="proportional")
        np.testing.assert_allclose(found.proportions[0].proportions, expected, atol=0.01)
        rare = truth == expected.argmin()
        assert (swallowed.pseudo_attributes[rare] == truth[rare]).mean() < 0.3
        assert (found.pseudo_attributes[rare] == truth[rare]).mean() > 0.75
        check_proportional(off, found, found.proportions[0].proportions)
    if min(shares) < 0.05:  # k-means cuts the common attribute in two
        of_kmeans = label_attributes(logits, method="kmeans").pseudo_attributes
        assert (of_kmeans == truth).mean() < 0.8


@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.9, 0.07, 0.03]])
def test_estimated_proportions_are_the_weights_of_a_tied_mixture(shares):
    logits, _ = rare_attributes(5000, shares)
    (what,) = label_attributes(logits, method="proportional").proportions
    points = logits.astype(np.float64) @ contrast_matrix(len(shares)).T
    start = 3 * contrast_matrix(len(shares)).T
    peer = GaussianMixture(len(shares), covariance_type="tied", means_init=start, tol=1e-12, max_iter=5000).fit(points)
    np.testing.assert_allclose(what.proportions, peer.weights_, atol=2e-4)


def test_classes_have_estimates_of_their_own():
    first, truth_first = rare_attributes(5000, [0.9, 0.1])
    second, truth_second = rare_attributes(5000, [0.2, 0.8], seed=1)
    logits, labels = np.concatenate([first, second]), np.repeat([0, 1], 5000)
    found = label_attributes(logits, method="proportional", labels=labels, within_class=True)
    for what, truth in zip(found.proportions, (truth_first, truth_second), strict=True):
        np.testing.assert_allclose(what.proportions, np.bincount(truth) / 5000, atol=0.01)


def test_shares_of_many_rows_are_estimated_from_some(monkeypatch):
    logits, truth = rare_attributes(50_000, [0.8, 0.2])
    pattern = np.argsort(np.arange(50_000) % 10, kind="stable")  # every tenth row and the next have attribute 1
    logits, truth = logits[np.argsort(truth, kind="stable")][np.argsort(pattern)], np.sort(truth)[np.argsort(pattern)]
    monkeypatch.setattr("dbpt.pseudo_attributes.shares.MOST_ROWS", 5000)
    one, two = (label_attributes(logits, method="proportional", num_threads=n) for n in (1, 2))
    estimate = one.proportions[0].proportions
    np.testing.assert_allclose(estimate, np.bincount(truth) / len(truth), atol=0.03)
    assert not np.array_equal(estimate, one.proportions[0].counts / len(truth))
    assert estimate.tobytes() == two.proportions[0].proportions.tobytes()
    labels = np.r_[np.zeros(20_000, np.int64), np.ones(30_000, np.int64)]
    logits[:20_000, 0] += 20  # class 0 has no row of attribute 1 to speak of
    logits[:1000, 0] -= 40
    within = label_attributes(logits, method="proportional", labels=labels, within_class=True)
    expected = [[0.95, 0.05], np.bincount(truth[20_000:]) / 30_000]
    np.testing.assert_allclose([what.proportions for what in within.proportions], expected, atol=0.03)
    logits[49_999, 1] = np.nan
    with pytest.raises(InputError, match=r"^logits\[49999, 1\] is NaN"):
        label_attributes(logits, method="proportional")


def test_an_attribute_without_support_gets_no_row():
    logits = np.tile(np.float32([20.0, 10.0]), (100, 1))
    with pytest.warns(
        UserWarning, match="^proportions cannot be estimated: the 100 rows have but one cluster"
    ) as caught:
        found = label_attributes(logits, method="proportional")
    assert caught[0].filename == __file__
    assert (found.pseudo_attributes == 0).all()
    assert found.proportions[0].offsets.tolist() == [0.0, -np.inf]
    assert (found.confidence == 1).all()


def test_estimates_that_do_not_settle_are_warned_of(monkeypatch):
    monkeypatch.setattr("dbpt.pseudo_attributes.shares.MAX_ITER", 2)
    logits, _ = rare_attributes(1000, [0.9, 0.1])
    labels = np.zeros(1000, np.int64)
    with pytest.warns(UserWarning, match=r"^proportions of class 0 still moved after 2 iterations: \[0\.") as caught:
        label_attributes(logits, method="proportional", labels=labels, within_class=True)
    assert caught[0].filename == __file__


def test_attributes_that_no_cluster_speaks_for_get_no_row():
    """Of five, one that is never seen and two that only lower all logits alike; the other two are told apart."""
    logits, truth = rare_attributes(3000, [0.7, 0.3])
    found = label_attributes(np.insert(logits, [1, 2, 2], [-50, 9, -9], axis=1), method="proportional")
    np.testing.assert_allclose(found.proportions[0].proportions[[0, 2]], np.bincount(truth) / 3000, atol=0.01)
    assert (found.pseudo_attributes == 2 * truth).mean() > 0.95
    logits = np.random.default_rng(0).normal(0, 1, (3000, 3))  # far apart, and not round once rows are centred
    logits[:, 2], logits[:900, 1] = -50, logits[:900, 1] + 9
    found = label_attributes(logits, method="proportional")
    assert found.proportions[0].counts.tolist() == [2100, 900, 0]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_two_distinct_rows_are_two_attributes_at_any_scale(scale):
    logits = np.repeat(np.array([[1.0, 2.0], [3.0, 0.0]]) * scale, [30, 70], axis=0)
    found = label_attributes(logits, method="proportional")
    np.testing.assert_allclose(found.proportions[0].proportions, [0.7, 0.3], atol=1e-6)


@pytest.mark.parametrize(
    ("proportions", "message"),
    [
        ([0.5, 0.3, 0.2], r"^proportions has shape \(3,\) and dtype float64; expected \(2,\) numbers, or 'estimated'"),
        ([[0.5, 0.5]], r"^proportions has shape \(1, 2\)"),
        (["a", "b"], r"^proportions has shape \(2,\) and dtype <U1"),
        ("estimate", r"^proportions is 'estimate'; expected 'estimated' or numbers"),
        ([-0.5, 1.5], r"^proportions\[0\] is -0.5; expected a finite number, 0 or above"),
        ([0.5, np.nan], r"^proportions\[1\] is nan"),
        ([np.inf, 1], r"^proportions\[0\] is inf"),
        ([0.0, 0.0], r"^proportions add up to 0.0; expected a number above 0"),
        ([1e308, 1e308], r"^proportions add up to inf"),
        ([[1], [1, 2]], r"^proportions is ragged"),
        (None, r"^proportions has shape \(\) and dtype object"),
    ],
)
def test_bad_proportions_are_named(proportions, message):
    with pytest.raises(InputError, match=message):
        label_attributes(np.zeros((4, 2)), method="proportional", proportions=proportions)


def test_bad_proportions_within_class_are_named():
    keywords = {"method": "proportional", "labels": [0, 0, 1, 1], "within_class": True}
    with pytest.raises(InputError, match=r"^proportions has shape \(3, 2\) .*; expected \(2, 2\) or \(2,\) numbers"):
        label_attributes(np.zeros((4, 2)), proportions=np.ones((3, 2)), **keywords)
    with pytest.raises(InputError, match=r"^proportions\[1, 0\] is -1.0"):
        label_attributes(np.zeros((4, 2)), proportions=[[1, 1], [-1, 1]], **keywords)
    with pytest.raises(InputError, match=r"^proportions of class 1 add up to 0.0"):
        label_attributes(np.zeros((4, 2)), proportions=[[1, 1], [0, 0]], **keywords)


def test_values_are_pinned():
    logits = (np.arange(3000, dtype=np.int64) * 7919 % 3001 / 100).astype(np.float32).reshape(1000, 3)
    found = label_attributes(logits, method="proportional", proportions=[0.2, 0.3, 0.5])
    assert np.flatnonzero(found.pseudo_attributes == 0)[:6].tolist() == PINNED[0]
    np.testing.assert_allclose(found.proportions[0].offsets, PINNED[1], rtol=1e-12)


PINNED = ([1, 2, 15, 24, 25, 26], [-10.839999516805014, -3.1789143820996435e-07, 10.839999834696451])
