"""Labels of which each attribute gets its share: the shares, the offsets, and how shares are estimated."""

import warnings

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from dbpt.errors import InputError
from dbpt.guesses import label_attributes
from dbpt.guesses.methods import fit_offsets
from dbpt.guesses.mixture import estimate_shares


def shares_of(found, attributes):
    return np.bincount(found.pseudo_attributes, minlength=attributes) / len(found.pseudo_attributes)


def check_labels(logits, found):
    """The labels have the largest logit plus offset, and the posterior is the softmax of these."""
    scores = logits.astype(np.float64) + found.offsets
    assert np.array_equal(found.pseudo_attributes, scores.argmax(axis=1))
    np.testing.assert_allclose(found.posterior, reference.softmax(scores), rtol=3e-7, atol=1e-37)
    assert abs(found.offsets[np.isfinite(found.offsets)].sum()) <= 1e-9 * max(1.0, float(np.abs(logits).max()))


@st.composite
def problems(draw):
    rows, attributes = draw(st.integers(50, 400)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(20, 3, (rows, attributes)).astype(draw(st.sampled_from([np.float16, np.float32])))
    return logits, draw(st.lists(st.integers(0, 9), min_size=attributes, max_size=attributes).filter(any))


@given(problems())
@settings(max_examples=100)
def test_given_shares_are_met(problem):
    logits, shares = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ties of float16
        found = label_attributes(logits, method="proportional", proportions=shares)
    check_labels(logits, found)
    np.testing.assert_allclose(found.shares, np.array(shares) / sum(shares))
    assert (shares_of(found, len(shares))[np.equal(shares, 0)] == 0).all()
    assert np.abs(shares_of(found, len(shares)) - found.shares).max() <= 5 / len(logits)


def test_two_attributes_are_parted_midway_between_two_rows():
    logits = np.array([[0.0, 4.0], [0.0, 1.0], [0.0, 3.0], [0.0, 0.0]], np.float32)
    found = label_attributes(logits, method="proportional", proportions=[1, 1])
    assert found.pseudo_attributes.tolist() == [1, 0, 1, 0]
    assert found.offsets.tolist() == [1.0, -1.0]  # 1 and 3 are the neighbours of the threshold 2


def test_rows_that_stand_alike_stay_together_and_that_is_told():
    logits = np.repeat(np.array([[9.0, 0.0], [0.0, 9.0]]), [900, 100], axis=0)
    message = r"^the shares \[0\.5, 0\.5\] cannot be met, .*: the labels have \["
    with pytest.warns(UserWarning, match=message) as caught:
        found = label_attributes(logits, method="proportional", proportions=[1, 1])
    assert caught[0].filename == __file__
    assert len(set(found.pseudo_attributes[:900])) == 1
    assert np.abs(np.array([0.9, 0.1]) - shares_of(found, 2)).max() in (0, 0.1)


def test_offsets_of_many_rows_are_fitted_on_a_sample():
    rng = np.random.default_rng(0)
    for attributes in (2, 3):
        logits = np.sort(rng.normal(20, 3, (200_000, attributes)), axis=0).astype(np.float32)  # no even order of rows
        found = label_attributes(logits, method="proportional", proportions=[0.05, 0.8, 0.15][:attributes])
        check_labels(logits, found)
        np.testing.assert_allclose(shares_of(found, attributes), found.shares, atol=0.01)


def rare_attributes(rows, shares, seed=0):
    """Logits with a unit normal around each attribute, 3 apart, and the attribute of each row."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(shares), rows, p=shares)
    logits = rng.normal(0, 1, (rows, len(shares)))
    logits[np.arange(rows), truth] += 3.0
    return logits.astype(np.float32), truth


@pytest.mark.parametrize("shares", [[0.03, 0.97], [0.9, 0.07, 0.03]])
def test_estimated_shares_rescue_the_minority_from_a_threshold_that_is_off(shares):
    logits, truth = rare_attributes(20_000, shares)
    expected = np.bincount(truth) / len(truth)
    for scale in (0.2, 5.0):
        off = logits * np.float32(scale)
        off[:, int(expected.argmax())] += 4 * np.float32(scale)
        swallowed = label_attributes(off, method="argmax")
        found = label_attributes(off)
        np.testing.assert_allclose(found.shares, expected, atol=0.01)
        rare = truth == expected.argmin()
        assert (swallowed.pseudo_attributes[rare] == truth[rare]).mean() < 0.3
        assert (found.pseudo_attributes[rare] == truth[rare]).mean() > 0.75
        check_labels(off, found)


def test_estimated_shares_are_the_weights_of_a_tied_mixture():
    shares = [0.9, 0.07, 0.03]
    logits, _ = rare_attributes(5000, shares)
    points = logits.astype(np.float64)[:, 1:] - logits[:, :1]
    start = np.vstack([np.full((1, len(shares) - 1), -3.0), 3 * np.eye(len(shares) - 1)])
    peer = GaussianMixture(len(shares), covariance_type="tied", means_init=start, tol=1e-12, max_iter=5000).fit(points)
    np.testing.assert_allclose(label_attributes(logits).shares, peer.weights_, atol=2e-4)


def tied_mixture(differences):
    """The labels of scikit-learn's mixture with the largest likelihood, from equal clusters and from both tails."""
    points = differences[:, None]
    starts = np.quantile(differences, [[0.16, 0.84], [0.5, 0.999], [0.001, 0.5]])
    peers = [
        GaussianMixture(2, covariance_type="tied", means_init=start[:, None], tol=1e-5, max_iter=300)
        for start in starts
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a start that is not the best
        best = max((peer.fit(points) for peer in peers), key=lambda peer: peer.lower_bound_)
    return np.argsort(np.argsort(best.means_[:, 0]))[best.predict(points)]


@pytest.mark.parametrize(("share", "rare"), [(0.003, 1), (0.01, 0), (0.03, 1), (0.3, 0)])
def test_a_rare_attribute_is_found_where_a_tied_mixture_finds_it(share, rare):
    """Gaussian logits, six standard deviations apart, with a threshold that is off by 2.5."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        truth = np.where(np.arange(2400) < round(2400 * share), rare, 1 - rare)
        difference = rng.normal(6.0 * truth, 1)
        peer = (tied_mixture(difference) == truth).mean()
        for threshold in (0.5, 5.5):
            logits = np.column_stack([np.full(2400, threshold), difference]).astype(np.float32)
            found = label_attributes(logits)
            assert (found.pseudo_attributes == truth).mean() >= max(0.995, peer - 0.002)
            np.testing.assert_allclose(found.shares[rare], share, atol=0.005)


@pytest.mark.parametrize("shares", [[0.005, 0.4, 0.595], [0.25, 0.25, 0.25, 0.24, 0.01], [0, 0.995, 0, 0.005, 0]])
def test_rare_ones_of_many_attributes_are_found(shares):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        truth = np.repeat(np.arange(len(shares)), np.rint(np.multiply(shares, 2400)).astype(int))
        logits = rng.normal(0, 1, (2400, len(shares)))
        logits[np.arange(2400), truth] += 4.5
        logits[:, int(np.argmax(shares))] += 2.5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names without images
            found = label_attributes(logits.astype(np.float32))
        np.testing.assert_allclose(found.shares, shares, atol=0.006)


def test_a_wide_cluster_that_is_not_rare_keeps_its_rows():
    rng = np.random.default_rng(0)
    truth = np.arange(4000) < 800
    difference = np.where(truth, rng.normal(5, 2, 4000), rng.normal(0, 1, 4000))
    found = label_attributes(np.column_stack([np.full(4000, 2.5), difference]).astype(np.float32))
    assert (found.pseudo_attributes == truth).mean() > 0.93


@pytest.mark.parametrize(("attributes", "law"), [(2, "t"), (3, "normal"), (5, "t")])
def test_one_cluster_with_heavy_tails_is_not_split(attributes, law):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        shape = (1200, attributes)
        logits = rng.normal(size=shape) if law == "normal" else rng.standard_t(3, size=shape)
        assert estimate_shares(logits)[0] is None


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_the_tail_of_a_common_attribute_is_not_counted_to_a_rare_one(share):
    """4 % of the common rows are strewn up to the rare cluster. A tied mixture gives them to it."""
    rng = np.random.default_rng(0)
    rare, strewn = round(4000 * share), 160
    difference = np.concatenate(
        [rng.normal(8, 1, rare), rng.uniform(2, 6, strewn), rng.normal(0, 1, 4000 - rare - strewn)]
    )
    truth = np.arange(4000) < rare
    found = label_attributes(np.column_stack([np.full(4000, 4.0), difference]).astype(np.float32)).pseudo_attributes
    assert (tied_mixture(difference)[~truth]).mean() > 0.02
    assert found[~truth].mean() < 0.01 and found[truth].mean() > 0.9


@pytest.mark.parametrize(("shares", "logit"), [([0.6, 0.4, 0.0, 0.0, 0.0], None), ([0.7, 0.3, 0.0], -50.0)])
def test_an_attribute_that_is_absent_gets_no_row_and_is_named(shares, logit):
    logits, truth = rare_attributes(5000, shares)
    if logit is not None:
        logits[:, -1] = logit
    with pytest.warns(UserWarning) as caught:
        found = label_attributes(logits)
    assert {each.filename for each in caught} == {__file__} and found.warnings == ()
    assert [str(each.message) for each in caught] == [
        f"no image looks like attribute {a}, so its share is 0" for a, share in enumerate(shares) if not share
    ]
    np.testing.assert_allclose(found.shares, np.bincount(truth, minlength=len(shares)) / 5000, atol=0.01)
    assert (found.pseudo_attributes == truth).mean() > 0.95


def test_clusters_are_matched_by_what_parts_them_from_each_other():
    """The last attribute is as likely in the second cluster as the third one is, but more so in the third cluster."""
    centers = np.repeat([[1.0, 6, 4, 3], [0, 2, 2, 2], [6, 2, 4, 6]], (900, 300, 100), axis=0)
    shares, _ = estimate_shares(centers + np.random.default_rng(0).normal(0, 0.3, centers.shape))
    assert shares.round(3).tolist() == [0.077, 0.692, 0.231, 0.0]


@pytest.mark.parametrize("logits", [rare_attributes(3000, [1.0, 0.0])[0], np.full((100, 3), 9.0), np.full((1, 2), 9.0)])
def test_one_attribute_alone_is_labelled_as_argmax_does_and_that_is_told(logits):
    with pytest.warns(UserWarning, match="^the shares of the attributes cannot be estimated, so each") as caught:
        found = label_attributes(logits)
    assert caught[0].filename == __file__
    assert np.array_equal(found.pseudo_attributes, logits.argmax(axis=1))
    assert found.shares is None is found.offsets


def test_too_few_rows_for_the_attributes_are_labelled_as_argmax_does_and_that_is_told():
    logits, truth = rare_attributes(500, np.full(80, 1 / 80))
    with pytest.warns(UserWarning, match="^500 images are too few to estimate the shares of 80 attributes"):
        found = label_attributes(logits)
    assert np.array_equal(found.pseudo_attributes, logits.argmax(axis=1))
    given = label_attributes(logits, proportions=np.bincount(truth, minlength=80))
    assert np.abs(shares_of(given, 80) - given.shares).max() <= 5 / 500


def test_estimates_that_do_not_settle_are_warned_of(monkeypatch):
    for module in ("mixture", "methods"):
        monkeypatch.setattr(f"dbpt.guesses.{module}.TO_FIT", (1, 1e-9))
    logits, _ = rare_attributes(1000, [0.9, 0.1])
    with pytest.warns(UserWarning, match=r"^the shares still moved after 1 steps: \[0\.") as caught:
        label_attributes(logits)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:logits are within")
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_two_distinct_rows_are_two_attributes_at_any_scale(scale):
    logits = np.repeat(np.array([[1.0, 2.0], [3.0, 0.0]]) * scale, [30, 70], axis=0)
    found = label_attributes(logits)
    np.testing.assert_allclose(found.shares, [0.7, 0.3], atol=1e-6)
    assert shares_of(found, 2).tolist() == [0.7, 0.3]


@given(st.integers(2, 5), st.integers(1, 60), st.integers(0, 2**32), st.booleans())
@settings(max_examples=60)
def test_any_logits_have_shares_and_offsets(attributes, rows, seed, are_whole):
    logits = np.random.default_rng(seed).normal(0, 3, (rows, attributes))
    logits = np.round(logits) if are_whole else logits
    shares, _ = estimate_shares(logits)
    if shares is not None:
        assert shares.sum() == pytest.approx(1) and np.count_nonzero(shares) > 1
        assert np.isfinite(fit_offsets(logits, shares)[shares > 0]).all()


@pytest.mark.parametrize(
    ("proportions", "message"),
    [
        ([0.5, 0.3, 0.2], r"^proportions has shape \(3,\) and dtype float64; expected \(2,\) numbers"),
        (["a", "b"], r"^proportions has shape \(2,\) and dtype <U1"),
        ("estimate", r"^proportions is 'estimate'; expected 'estimated' or numbers"),
        ([-0.5, 1.5], r"^proportions\[0\] is -0.5; expected a finite number, 0 or above"),
        ([0.5, np.nan], r"^proportions\[1\] is nan"),
        ([0.0, 0.0], r"^proportions add up to 0.0; expected a finite number above 0"),
        ([1e308, 1e308], r"^proportions add up to inf"),
        ([[1], [1, 2]], r"^proportions is ragged"),
        (None, "^proportions is None, of type NoneType"),
    ],
)
def test_bad_proportions_are_named(proportions, message):
    with pytest.raises(InputError, match=message):
        label_attributes(np.zeros((4, 2)), method="proportional", proportions=proportions)
