"""Labels, posteriors and silhouettes by the Rust core, against plain formulas and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from points_to_cluster import blobs, nearest
from sklearn.metrics import silhouette_score

from dbpt._core import assign_centers, assign_gmm, gmm, kmeans, silhouette
from dbpt.errors import InputError


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
