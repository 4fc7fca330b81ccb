"""k-means of the Rust core: parity with a plain reference and scikit-learn, laws, pinned values."""

import numpy as np
import pytest
import reference
from points_to_cluster import blobs, centred, equal, nearest
from sklearn.cluster import KMeans

from dbpt._core import assign_centers, assign_gmm, gmm, kmeans, silhouette

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
