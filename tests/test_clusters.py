"""Clustering by the Rust core: parity with plain references and scikit-learn, laws, pinned values, bad input."""

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture

from dbpt._core import assign_centers, assign_gmm, gmm, kmeans, silhouette
from dbpt.errors import InputError


def blobs(rows, columns, clusters=3, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, spread, (clusters, columns))
    return (centers[rng.integers(0, clusters, rows)] + rng.normal(size=(rows, columns))).astype(np.float32)


def centred(logits):
    logits = logits.astype(np.float64)
    return logits - logits.mean(axis=1, keepdims=True)


def nearest(points, centers, **keywords):
    labels = np.full(len(points), 255, np.uint8)
    assign_centers(points, centers, 1.0, labels_out=labels, **keywords)
    return labels


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# --- k-means --------------------------------------------------------------------------------------


# Widths that fill vectors and that don't; and clusters whose numbers just fit into a byte, and no longer do.
KMEANS_SHAPES = [(500, 2, 2), (10_000, 3, 5), (5000, 8, 4), (300, 1, 3)]
KMEANS_SHAPES += [(700, columns, 3) for columns in (4, 5, 6, 7, 9, 16, 20)] + [(900, 2, 255), (900, 2, 256)]


@pytest.mark.parametrize(("rows", "columns", "k"), KMEANS_SHAPES)
def test_kmeans_equals_reference_from_the_same_start(rows, columns, k):
    points = blobs(rows, columns)
    start = reference.kmeans_start(points, k, seed=7)
    expected = reference.lloyd(points, start, 20)
    for keywords in ({"seed": 7}, {"centers": start}):
        centers, counts, inertia, iterations = kmeans(points, k, max_iter=20, **keywords)
        np.testing.assert_allclose(centers, expected[1], rtol=1e-9, atol=1e-12)
        assert counts.tolist() == np.bincount(expected[0]).tolist()
        assert inertia == pytest.approx(expected[2], rel=1e-9)
        assert iterations == expected[3]
        assert np.array_equal(nearest(points, centers), expected[0])


def test_kmeans_equals_scikit_learn_from_the_same_start():
    points = blobs(20_000, 8, clusters=4)
    start = points[:4].astype(np.float64)
    centers, counts, inertia, _ = kmeans(points, 4, centers=start, max_iter=300)
    expected = KMeans(4, init=start, n_init=1, tol=0, max_iter=300).fit(points.astype(np.float64))
    np.testing.assert_allclose(centers, expected.cluster_centers_, rtol=1e-4)
    assert inertia == pytest.approx(expected.inertia_, rel=1e-6)
    assert counts.sum() == 20_000


def test_a_point_that_leaves_a_cluster_leaves_no_rounding_error():
    points = np.array([[0.1], [0.2], [0.3], [2e14]], np.float32)
    centers, counts, *_ = kmeans(points, 2, centers=np.array([[0.0], [1e15]]))
    assert counts.tolist() == [3, 1]
    assert centers[0, 0] == points[:3].astype(np.float64).sum() / 3


def test_kmeans_of_contrasts_is_kmeans_of_centred_logits():
    logits = blobs(3000, 4) + np.random.default_rng(1).normal(20, 9, (3000, 1)).astype(np.float32)
    start = centred(logits[:3])
    helmert = np.array([[1, -1, 0, 0], [1, 1, -2, 0], [1, 1, 1, -3]]) / np.sqrt([[2], [6], [12]])
    centers, counts, inertia, iterations = kmeans(logits, 3, contrasts=True, centers=start @ helmert.T)
    expected = KMeans(3, init=start, n_init=1, tol=0).fit(centred(logits))
    assert centers.shape == (3, 3)
    np.testing.assert_allclose(centers @ helmert, expected.cluster_centers_, atol=1e-4)
    assert inertia == pytest.approx(expected.inertia_, rel=1e-5)
    labels = nearest(logits, centers, contrasts=True)
    assert np.bincount(labels).tolist() == counts.tolist()
    assert (labels == expected.labels_).mean() > 0.999
    assert iterations < 100


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("contrasts", [False, True])
def test_rows_are_clustered_as_if_they_were_alone(dtype, contrasts):
    points = blobs(20_000, 3).astype(dtype)
    rows = np.flatnonzero(np.random.default_rng(0).random(20_000) < 0.4)
    some = {"contrasts": contrasts, "rows": rows}
    alone = np.ascontiguousarray(points[rows])
    found = kmeans(points, 3, seed=5, **some)
    assert equal(found, kmeans(alone, 3, seed=5, contrasts=contrasts))
    fit = gmm(points, 3, centers=found[0], **some)
    assert equal(fit, gmm(alone, 3, centers=found[0], contrasts=contrasts))
    assert silhouette(points, found[0], **some) == silhouette(alone, found[0], contrasts=contrasts)
    labels, posterior = np.full(20_000, -7), np.full((20_000, 3), 9, np.float32)
    assign_gmm(points, *fit[:3], labels_out=labels, posterior_out=posterior, **some)
    expected, expected_posterior = np.empty(len(rows), np.int64), np.empty((len(rows), 3), np.float32)
    assign_gmm(alone, *fit[:3], contrasts=contrasts, labels_out=expected, posterior_out=expected_posterior)
    assert np.array_equal(labels[rows], expected)
    assert np.array_equal(posterior[rows], expected_posterior)
    others = np.delete(np.arange(20_000), rows)
    assert (labels[others] == -7).all()
    assert (posterior[others] == 9).all()


def test_half_and_single_precision_give_the_same_bits():
    half = blobs(9000, 4).astype(np.float16)
    single = half.astype(np.float32)
    found = [kmeans(points, 3, seed=2, contrasts=True) for points in (half, single)]
    assert equal(*found)
    assert equal(*(gmm(points, 3, centers=found[0][0], contrasts=True) for points in (half, single)))


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 4096, 4097, 30_000])
def test_the_result_is_the_same_for_any_number_of_threads(rows):
    points = blobs(rows, 3)
    k = min(rows, 5)

    def everything(num_threads):
        n = {"num_threads": num_threads}
        found = kmeans(points, k, seed=1, n_init=2, max_iter=20, **n)
        full = gmm(points, len(found[0]), centers=found[0], max_iter=5, **n)
        diagonal = gmm(points, len(found[0]), centers=found[0], covariance="diagonal", max_iter=5, **n)
        labels, posterior = np.zeros((3, rows), np.uint8), np.zeros((3, rows, k), np.float32)
        assign_centers(points, found[0], 0.5, labels_out=labels[0], posterior_out=posterior[0], **n)
        totals = [
            assign_gmm(points, *fit[:3], labels_out=labels[i], posterior_out=posterior[i], **n)
            for i, fit in ((1, full), (2, diagonal))
        ]
        score = silhouette(points, found[0], **n) if k > 1 else 0.0
        return [*found, *full, *diagonal, *totals, labels, posterior, score]

    one = everything(1)
    for num_threads in (2, 5):
        assert equal(one, everything(num_threads))


def test_kmeans_keeps_the_best_of_its_runs():
    points = np.random.default_rng(1).random((2000, 2), np.float32)
    inertias = np.array(
        [[kmeans(points, 12, seed=seed, max_iter=50, n_init=n)[2] for n in (1, 4)] for seed in range(5)]
    )
    assert (inertias[:, 1] <= inertias[:, 0]).all()
    assert (inertias[:, 1] < inertias[:, 0]).any()


def test_kmeans_with_fewer_distinct_points_gives_fewer_clusters():
    points = np.repeat(np.array([[0, 1], [5, 5]], np.float32), 10, axis=0)
    centers, counts, inertia, _ = kmeans(points, 4)
    assert sorted(centers.tolist()) == [[0, 1], [5, 5]]
    assert np.array_equal(centers[nearest(points, centers)], points)
    assert (counts.tolist(), inertia) == ([10, 10], 0)
    centers, counts, *_ = kmeans(points, 3, rows=np.arange(10))
    assert (centers.tolist(), counts.tolist()) == ([[0, 1]], [10])
    constant = kmeans(np.full((9, 3), 4, np.float16), 2, contrasts=True)
    assert (constant[0].tolist(), constant[1].tolist()) == ([[0, 0]], [9])


def test_a_cluster_that_loses_its_points_restarts_at_the_farthest():
    points = np.array([[0], [1], [2], [30], [-40]], np.float32)
    centers, counts, _, _ = kmeans(points, 3, centers=np.array([[1.0], [1e6], [-1e6]]))
    assert (centers.ravel().tolist(), counts.tolist()) == ([1, -40, 30], [3, 1, 1])


def test_kmeans_values_are_pinned():
    points = ((np.arange(600, dtype=np.int64) * 7919 % 601) / 64).astype(np.float32).reshape(300, 2)
    centers, counts, inertia, iterations = kmeans(points, 3, seed=42)
    assert (centers.tolist(), counts.tolist(), inertia, iterations) == PINNED_KMEANS


PINNED_KMEANS = (
    [[5.788, 7.44425], [1.8996975806451613, 3.5559475806451615], [8.5625, 0.828125]],
    [125, 124, 51],
    657.9887038810488,
    7,
)


# --- Gaussian mixtures ----------------------------------------------------------------------------


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


# --- assignment -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64])
def test_labels_go_into_any_integer_type(dtype):
    points = blobs(5000, 2)
    centers = kmeans(points, 3)[0]
    expected = nearest(points, centers)
    labels = np.zeros(5000, dtype)
    names = np.array([7, 0, 100])
    assign_centers(points, centers, 1.0, names=names, labels_out=labels)
    assert np.array_equal(labels, names[expected])
    assign_gmm(points, *gmm(points, 3, centers=centers)[:3], names=names, labels_out=labels)
    assert set(labels.tolist()) == set(names.tolist())
    too_large = int(np.iinfo(dtype).max) + 1
    if too_large < 2**63:
        with pytest.raises(InputError, match=rf"^names\[1\] is {too_large}; expected a number that the type"):
            assign_centers(points, centers, 1.0, names=np.array([0, too_large, 1]), labels_out=labels)


def test_the_posterior_is_that_of_spherical_gaussians():
    points = blobs(2000, 3)
    centers = kmeans(points, 3)[0]
    labels, posterior, confidence = np.zeros(2000, int), np.full((2000, 5), 9, np.float32), np.zeros(2000, np.float32)
    names = np.array([4, 0, 2])
    out = {"labels_out": labels, "posterior_out": posterior, "confidence_out": confidence}
    assign_centers(points, centers, 1.7, names=names, **out)
    squared = ((points[:, None].astype(np.float64) - centers) ** 2).sum(axis=2)
    expected = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / 3.4)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posterior[:, names], expected, rtol=1e-4, atol=1e-7)
    assert (posterior[:, [1, 3]] == 0).all()
    assert np.array_equal(confidence, posterior.max(axis=1))
    assert np.array_equal(posterior[np.arange(2000), labels], confidence)
    assign_centers(points, centers, 0.0, names=names, **out)
    assert np.array_equal(posterior, np.eye(5, dtype=np.float32)[labels])


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_label_always_has_the_largest_posterior(rows, columns, k, seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(-3, 4, (rows, columns)).astype(np.float16)
    centers = rng.integers(-3, 4, (k, columns)).astype(np.float64)
    labels, posterior = np.zeros(rows, np.int32), np.zeros((rows, k), np.float32)
    for variance in (0.0, 1e-3, 1.0, 1e6):
        assign_centers(points, centers, variance, labels_out=labels, posterior_out=posterior)
        distances = ((points[:, None].astype(float) - centers) ** 2).sum(axis=2)
        assert np.array_equal(labels, distances.argmin(axis=1))
        assert (posterior[np.arange(rows), labels] == posterior.max(axis=1)).all()
        np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-6)
    weights = rng.dirichlet(np.ones(k)) + 1e-9
    mixture = (weights / weights.sum(), centers, rng.uniform(0.1, 4, (k, columns)))
    total = assign_gmm(points, *mixture, labels_out=labels, posterior_out=posterior)
    assert np.isfinite(total)
    assert (posterior[np.arange(rows), labels] == posterior.max(axis=1)).all()


# --- silhouette -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns", "k"), [(300, 2, 2), (1000, 5, 4), (50, 1, 7)])
def test_silhouette_equals_scikit_learn(rows, columns, k):
    points = blobs(rows, columns, spread=2.0)
    centers = kmeans(points, k)[0]
    # A cluster of one row, one without rows.
    centers = np.concatenate([centers, points[:1].astype(np.float64), np.full((1, columns), 1e6)])
    sample = np.flatnonzero(np.random.default_rng(0).random(rows) < 0.7)
    expected = silhouette_score(points[sample].astype(np.float64), nearest(points, centers)[sample])
    assert silhouette(points, centers, rows=sample) == pytest.approx(expected, rel=1e-9)


def test_silhouette_of_a_sample_is_near_that_of_all():
    points = blobs(4000, 2)
    centers = kmeans(points, 3)[0]
    everything = silhouette(points, centers, sample_size=4000, num_threads=2)
    samples = [silhouette(points, centers, sample_size=400, seed=seed) for seed in range(8)]
    assert len(set(samples)) == 8
    assert np.abs(np.array(samples) - everything).max() < 0.06
    assert samples[3] == silhouette(points, centers, sample_size=400, seed=3)


# --- files, threads, processes, interruption ------------------------------------------------------


def everything(points):
    centers = kmeans(points, 2, contrasts=True, num_threads=2)[0]
    labels, posterior = np.zeros(len(points), np.uint8), np.zeros((len(points), 2), np.float32)
    fit = gmm(points, 2, contrasts=True, centers=centers, max_iter=3, num_threads=2)
    assign_gmm(points, *fit[:3], contrasts=True, labels_out=labels, posterior_out=posterior, num_threads=2)
    return [centers, *fit, labels, posterior, silhouette(points, centers, contrasts=True, num_threads=2)]


def test_mapped_files_give_the_same_as_memory(tmp_path):
    logits = blobs(20_000, 3).astype(np.float16)
    np.save(tmp_path / "logits.npy", logits)
    mapped = np.load(tmp_path / "logits.npy", mmap_mode="r")
    assert equal(everything(mapped), everything(logits))
    labels = np.lib.format.open_memmap(tmp_path / "labels.npy", "w+", np.uint8, (20_000,))
    centers = kmeans(mapped, 2)[0]
    assign_centers(mapped, centers, 1.0, labels_out=labels)
    labels.flush()
    assert np.array_equal(np.load(tmp_path / "labels.npy"), nearest(logits, centers))


MEMORY = """
import numpy as np
from dbpt._core import assign_centers, assign_gmm, gmm, kmeans, silhouette

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def work(points, labels):
    centers = kmeans(points, 4, n_init=2, max_iter=3, num_threads=2)[0]
    fit = gmm(points, len(centers), centers=centers, max_iter=2, num_threads=2)
    assign_centers(points, centers, 1.0, labels_out=labels, num_threads=2)
    assign_gmm(points, *fit[:3], labels_out=labels, num_threads=2)
    silhouette(points, centers, sample_size=100)

rows = 8_000_000
points, labels = np.empty((rows, 2), np.float16), np.zeros(rows, np.uint8)
labels += 1
for part in np.split(points, 800):
    part[:] = np.random.default_rng(0).random((10_000, 2), np.float32)
work(points[:100_000], labels[:100_000])
before = peak()
work(points, labels)
print((peak() - before) / rows)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_grows_by_one_byte_a_row():
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    # The byte is the row's cluster in k-means. One float32 of each row, kept by any of the calls, would be 4.
    assert float(found.stdout) < 1.5


def test_it_works_in_several_python_threads_at_once():
    points, found = blobs(30_000, 3), {}
    expected = everything(points)

    def work(i):
        found[i] = everything(points)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal(found[i], expected) for i in range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_it_works_after_a_fork():
    script = """
import os, sys
import numpy as np
from dbpt._core import kmeans
points = np.random.default_rng(0).random((50_000, 3), np.float32)
expected = kmeans(points, 3, num_threads=2)
child = os.fork()
found = kmeans(points, 3, num_threads=2)
same = all(np.array_equal(a, b) for a, b in zip(found, expected))
if child == 0:
    os._exit(0 if same else 1)
sys.exit(not same or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


def test_outputs_must_not_be_in_use():
    points = np.zeros((10, 2), np.float32)
    centers = np.zeros((1, 2))
    with pytest.raises(InputError, match="^posterior_out is being written to by another call"):
        assign_centers(points, centers, 1.0, labels_out=np.zeros(10, np.uint8), posterior_out=points)


# --- bad input ------------------------------------------------------------------------------------

POINTS = np.arange(12, dtype=np.float32).reshape(6, 2)
CENTERS = np.array([[0.0, 1.0], [8.0, 9.0]])
EYE = np.array([np.eye(2), np.eye(2)])
HALVES = np.array([0.5, 0.5])


def labels_of(rows=6, dtype=np.uint8):
    return np.zeros(rows, dtype)


def changed(array, position, value):
    array = array.copy()
    array[position] = value
    return array


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e15])
@pytest.mark.parametrize("contrasts", [False, True])
def test_bad_values_name_row_and_column(bad, contrasts):
    points = changed(np.tile(POINTS, (2000, 1)), (9001, 1), bad)
    centers = np.zeros((2, 2 - contrasts))
    centers[1] = 5
    some = {"contrasts": contrasts, "rows": np.arange(1, 12_000, 2)}
    fit = (HALVES, centers, np.ones_like(centers))
    calls = [
        lambda: kmeans(points, 2, **some),
        lambda: gmm(points, 2, centers=centers, **some),
        lambda: silhouette(points, centers, sample_size=6000, **some),
        lambda: assign_centers(points, centers, 1.0, labels_out=labels_of(12_000), **some),
        lambda: assign_gmm(points, *fit, labels_out=labels_of(12_000), **some),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"^points\[9001, 1\] is (NaN|-?inf|2e15|2000000000000000)"):
            call()
    some["rows"] -= 1
    for call in calls:
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kmeans(POINTS, 0), "^k is 0; expected at least 1"),
        (lambda: kmeans(POINTS, 7), "^k is 7; expected at most the number of points"),
        (lambda: kmeans(POINTS, 2, rows=np.array([3])), "^k is 2; expected at most the number of points"),
        (lambda: kmeans(POINTS[:0], 1), "^k is 1; expected at most the number of points"),
        (lambda: kmeans(POINTS, 1, rows=np.array([], int)), "^k is 1; expected at most the number of points"),
        (lambda: kmeans(POINTS, 1, max_iter=0), "^max_iter is 0"),
        (lambda: kmeans(POINTS, 1, n_init=0), "^n_init is 0"),
        (lambda: kmeans(POINTS, 2, centers=CENTERS, n_init=2), "^n_init is 2 with centers; expected 1"),
        (lambda: kmeans(POINTS, 3, centers=CENTERS), "^centers has 2 rows; expected k, which is 3"),
        (lambda: kmeans(POINTS, 2, centers=CENTERS, contrasts=True), "^centers has 2 columns; expected 1"),
        (lambda: kmeans(POINTS, 2, centers=changed(CENTERS, (1, 0), np.nan)), r"^centers\[1, 0\] is NaN"),
        (lambda: kmeans(POINTS[:, :1].copy(), 1, contrasts=True), "^points has 1 column with contrasts=True"),
        (lambda: kmeans(np.zeros((3, 0), np.float32), 1), "^columns is 0"),
        (lambda: kmeans(POINTS, 1, rows=np.array([0, 6])), r"^rows\[1\] is 6; expected ascending row numbers below 6"),
        (lambda: kmeans(POINTS, 1, rows=np.array([-1])), r"^rows\[0\] is -1"),
        (lambda: kmeans(POINTS, 1, rows=np.array([2, 2])), r"^rows\[1\] is 2"),
        (lambda: kmeans(POINTS, 1, rows=np.array([2, 1])), r"^rows\[1\] is 1"),
        (lambda: gmm(POINTS, 2), "^the start is not clear; expected centers, or weights, means and precisions"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, weights=HALVES), "^the start is not clear"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, covariance="tied"), "^covariance is \"tied\"; expected 'full'"),
        (lambda: gmm(POINTS, 1, centers=CENTERS), "^centers has 2 rows; expected k, which is 1"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, tol=-1), "^tol is -1"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, reg_covar=np.nan), "^reg_covar is NaN"),
        (lambda: gmm(POINTS, 2, centers=CENTERS, max_iter=0), "^max_iter is 0"),
        (lambda: gmm(POINTS[:1], 2, centers=CENTERS), "^k is 2; expected at most the number of points"),
        (
            lambda: gmm(POINTS, 2, weights=HALVES, means=CENTERS, precisions=EYE[0]),
            r"^precisions has shape \[2, 2\]; expected \[2, 2, 2\]",
        ),
        (
            lambda: gmm(POINTS, 2, weights=HALVES, means=CENTERS, precisions=-EYE),
            r"^precisions\[0\] is no positive definite matrix",
        ),
        (
            lambda: gmm(
                POINTS, 2, weights=HALVES, means=CENTERS, precisions=changed(EYE[0], (1, 1), 0), covariance="diagonal"
            ),
            r"^precisions\[0\] is no positive finite",
        ),
        (
            lambda: gmm(POINTS, 2, weights=np.array([1.5, -0.5]), means=CENTERS, precisions=EYE),
            r"^weights\[0\] is 1.5; expected a share",
        ),
        (lambda: silhouette(POINTS, CENTERS[:1]), "^the number of centers is 1; expected at least 2"),
        (lambda: silhouette(POINTS, CENTERS, sample_size=0), "^sample_size is 0"),
        (lambda: silhouette(POINTS[:0], CENTERS), "^the number of points is 0"),
        (lambda: assign_centers(POINTS, CENTERS[:0], 1.0, labels_out=labels_of()), "^the number of centers is 0"),
        (lambda: assign_centers(POINTS, CENTERS, -1.0, labels_out=labels_of()), "^variance is -1"),
        (lambda: assign_centers(POINTS, CENTERS, np.nan, labels_out=labels_of()), "^variance is NaN"),
        (lambda: assign_centers(POINTS, CENTERS, 1.0, labels_out=labels_of(5)), "^labels_out has length 5; expected 6"),
        (
            lambda: assign_centers(POINTS, CENTERS, 1.0, labels_out=labels_of(), names=np.arange(3)),
            "^names has length 3; expected 2",
        ),
        (
            lambda: assign_centers(POINTS, CENTERS, 1.0, labels_out=labels_of(), names=np.array([0, -1])),
            r"^names\[1\] is -1; expected a number that the type of labels_out holds",
        ),
        (
            lambda: assign_centers(
                POINTS, CENTERS, 1.0, labels_out=labels_of(), posterior_out=np.zeros((6, 1), np.float32)
            ),
            r"^names\[1\] is 1; expected a column of posterior_out",
        ),
        (
            lambda: assign_centers(
                POINTS,
                CENTERS,
                1.0,
                labels_out=labels_of(),
                names=np.array([1, 1]),
                posterior_out=np.zeros((6, 2), np.float32),
            ),
            r"^names\[1\] is 1; expected a column of posterior_out for each cluster",
        ),
        (
            lambda: assign_centers(
                POINTS, CENTERS, 1.0, labels_out=labels_of(), posterior_out=np.zeros((5, 2), np.float32)
            ),
            "^posterior_out has length 5; expected 6",
        ),
        (
            lambda: assign_centers(
                POINTS, CENTERS, 1.0, labels_out=labels_of(), confidence_out=np.zeros(7, np.float32)
            ),
            "^confidence_out has length 7; expected 6",
        ),
        (
            lambda: assign_gmm(POINTS, HALVES, CENTERS, -EYE, labels_out=labels_of()),
            "^the covariance of component 0 is singular",
        ),
        (
            lambda: assign_gmm(POINTS, HALVES, CENTERS, EYE[:1], labels_out=labels_of()),
            r"^covariances has shape \[1, 2, 2\]; expected \[2, 2, 2\]",
        ),
        (
            lambda: assign_gmm(POINTS, HALVES, changed(CENTERS, (0, 0), np.inf), EYE, labels_out=labels_of()),
            r"^means\[0, 0\] is inf",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_arrays_of_other_types_are_refused():
    for points in (POINTS.astype(np.float64), POINTS.astype(int), POINTS[0], POINTS.astype(">f4"), POINTS.tolist()):
        with pytest.raises(TypeError, match="points"):
            kmeans(points, 1)
    with pytest.raises(InputError, match="^points is not C-contiguous"):
        kmeans(POINTS[:, ::-1], 1)
    with pytest.raises(TypeError, match="labels_out"):
        assign_centers(POINTS, CENTERS, 1.0, labels_out=np.zeros(6))
    read_only = labels_of()
    read_only.flags.writeable = False
    with pytest.raises(InputError, match="^labels_out is read-only"):
        assign_centers(POINTS, CENTERS, 1.0, labels_out=read_only)
    with pytest.raises(TypeError, match="covariances"):
        assign_gmm(POINTS, HALVES, CENTERS, EYE.astype(np.float32), labels_out=labels_of())
