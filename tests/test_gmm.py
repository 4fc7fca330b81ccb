"""Gaussian mixtures of the Rust core: parity with a plain reference and scikit-learn, laws, pinned values."""

import warnings

import numpy as np
import pytest
from points_to_cluster import blobs, nearest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from dbpt._core import assign_gmm, gmm, kmeans
from dbpt.errors import InputError


def scikit_learn_gmm(points, k, covariance, max_iter=100, tol=1e-3, **start):
    kind = {"full": "full", "diagonal": "diag"}[covariance]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(k, covariance_type=kind, max_iter=max_iter, tol=tol, **start).fit(
            points.astype(np.float64)
        )


GMM_SHAPES = [(4000, 8, 4, 50), (700, 2, 3, 1), (5000, 3, 5, 7)]
GMM_SHAPES += [(900, columns, 2, 5) for columns in (1, 4, 5, 6, 7, 9, 16)]


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize(("rows", "columns", "k", "max_iter"), GMM_SHAPES)
def test_gmm_equals_scikit_learn_from_the_same_start(covariance, rows, columns, k, max_iter):
    points = blobs(rows, columns, clusters=k, spread=1.5)
    rng = np.random.default_rng(3)
    weights = rng.dirichlet(np.full(k, 5.0))
    means = points[:k].astype(np.float64)
    precisions = np.full((k, columns), 0.5)
    if covariance == "full":
        roots = rng.normal(size=(k, columns, columns))
        precisions = roots @ roots.transpose(0, 2, 1) / columns + 0.1 * np.eye(columns)
    found = gmm(
        points, k, covariance=covariance, weights=weights, means=means, precisions=precisions, max_iter=max_iter
    )
    expected = scikit_learn_gmm(
        points, k, covariance, max_iter, weights_init=weights, means_init=means, precisions_init=precisions
    )
    assert found[4:] == (expected.n_iter_, expected.converged_)
    assert found[3] == pytest.approx(expected.lower_bound_, rel=1e-9)
    np.testing.assert_allclose(found[0], expected.weights_, rtol=1e-6)
    np.testing.assert_allclose(found[1], expected.means_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found[2], expected.covariances_, rtol=1e-6, atol=1e-8)
    labels, posterior = np.empty(rows, np.int64), np.empty((rows, k), np.float32)
    confidence = np.empty(rows, np.float32)
    out = {"labels_out": labels, "posterior_out": posterior, "confidence_out": confidence}
    total = assign_gmm(points, *found[:3], **out)
    assert total == pytest.approx(expected.score(points.astype(np.float64)) * rows, rel=1e-9)
    assert np.array_equal(labels, expected.predict(points.astype(np.float64)))
    np.testing.assert_allclose(posterior, expected.predict_proba(points.astype(np.float64)), rtol=1e-4, atol=1e-6)
    assert np.array_equal(confidence, posterior.max(axis=1))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_gmm_from_centers_equals_scikit_learn_from_their_clusters(covariance):
    points = blobs(3000, 4, spread=1.5)
    centers, counts, _, _ = kmeans(points, 3)
    labels = nearest(points, centers)
    members = [points[labels == c].astype(np.float64) for c in range(3)]
    covariances = np.array([np.cov(m.T, bias=True) + 1e-6 * np.eye(4) for m in members])
    precisions = np.linalg.inv(covariances)
    if covariance == "diagonal":
        precisions = 1 / covariances[:, range(4), range(4)]
    found = gmm(points, 3, covariance=covariance, centers=centers)
    start = {"weights_init": counts / 3000, "means_init": np.array([m.mean(axis=0) for m in members])}
    expected = scikit_learn_gmm(points, 3, covariance, precisions_init=precisions, **start)
    assert found[4] == expected.n_iter_
    assert found[3] == pytest.approx(expected.lower_bound_, rel=1e-9)


def test_gmm_bic_is_scikit_learns():
    points = blobs(900, 3)
    for covariance, parameters in (("full", 3 * 3 + 3 * 6 + 2), ("diagonal", 2 * 3 * 3 + 2)):
        start = kmeans(points, 3)[0]
        found = gmm(points, 3, covariance=covariance, centers=start, tol=0, max_iter=30)
        expected = scikit_learn_gmm(points, 3, covariance, 1, means_init=start)
        for name, value in zip(("weights_", "means_", "covariances_"), found[:3], strict=True):
            setattr(expected, name, value)
        inverse = 1 / np.sqrt(found[2]) if covariance == "diagonal" else np.linalg.cholesky(np.linalg.inv(found[2]))
        expected.precisions_cholesky_ = inverse
        total = assign_gmm(points, *found[:3], labels_out=np.empty(900, np.int8))
        assert -2 * total + parameters * np.log(900) == pytest.approx(expected.bic(points.astype(np.float64)), rel=1e-9)


def test_gmm_likelihood_never_falls():
    points = blobs(2000, 3, clusters=4, spread=1.0)
    start = points[:4].astype(np.float64)
    likelihoods = [gmm(points, 4, centers=start, tol=0, max_iter=n)[3] for n in range(1, 20)]
    assert (np.diff(likelihoods) > -1e-12).all()
    assert likelihoods[-1] > likelihoods[0]
    assert gmm(points, 4, centers=start, tol=0, max_iter=5)[5] is False


def test_gmm_drops_components_without_rows():
    points = blobs(300, 2)
    start = np.array([points[0], [1e6, 1e6], points[1]], np.float64)
    weights, means, covariances, *_ = gmm(points, 3, centers=start)
    assert (weights.shape, means.shape, covariances.shape) == ((2,), (2, 2), (2, 2, 2))
    assert weights.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_gmm_of_what_does_not_spread(covariance):
    constant = np.full((20, 2), 3, np.float32)
    start = np.array([[3.0, 3.0]])
    with pytest.raises(InputError, match=r"^the covariance of component 0 is singular \(reg_covar is 0\)"):
        gmm(constant, 1, covariance=covariance, centers=start, reg_covar=0)
    weights, means, covariances, likelihood, *_ = gmm(constant, 1, covariance=covariance, centers=start)
    assert (weights.tolist(), means.tolist()) == ([1], [[3, 3]])
    assert np.isfinite(covariances).all()
    assert np.isfinite(likelihood)
    one = gmm(constant, 1, covariance=covariance, rows=np.array([4]), centers=start)
    assert one[1].tolist() == [[3, 3]]


def test_gmm_of_far_and_large_values_keeps_its_digits():
    points = (blobs(2000, 2).astype(np.float64) * 64).round() + 2.0**22
    start = points[:3].astype(np.float32).astype(np.float64)
    far = gmm(points.astype(np.float32), 3, centers=start, reg_covar=0)
    near = gmm((points - 2.0**22).astype(np.float32), 3, centers=start - 2.0**22, reg_covar=0)
    np.testing.assert_allclose(far[1] - 2.0**22, near[1], rtol=1e-6)
    np.testing.assert_allclose(far[2], near[2], rtol=1e-9)
    huge = gmm(blobs(500, 2) * np.float32(1e13), 2, centers=np.array([[1e13, 0], [-1e13, 0]]))
    assert np.isfinite(huge[3])


def test_gmm_values_are_pinned():
    points = ((np.arange(600, dtype=np.int64) * 7919 % 601) / 64).astype(np.float32).reshape(300, 2)
    found = gmm(points, 2, centers=points[:2].astype(np.float64), max_iter=10)
    assert [value.tolist() for value in found[:3]] + list(found[3:]) == PINNED_GMM


PINNED_GMM = [
    [0.83, 0.17],
    [[3.851656626506024, 5.507906626506024], [8.5625, 0.828125]],
    [
        [[5.0552887927372145, 5.055287792737214], [5.055287792737214, 5.0552887927372145]],
        [[0.22282001041666666, 0.22281901041666666], [0.22281901041666666, 0.22282001041666666]],
    ],
    3.22255658746456,
    7,
    True,
]
