"""Labels by k-means and mixtures: names or numbers, how many clusters, posteriors by plain formulas."""

import itertools
import warnings

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from dbpt.pseudo_attributes import label_attributes
from dbpt.pseudo_attributes.contrasts import contrast_matrix
from dbpt.pseudo_attributes.matching import best_assignment

METHODS = ["kmeans", "gmm"]


def blobs(sizes, attributes=2, seed=0, spread=0.4, shift=3.0):
    """Logits around one centre for each size, leaning to attribute 0 by `shift`, and which centre each row is of."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = np.zeros((len(sizes), attributes))
    for cluster in range(len(sizes)):
        centers[cluster, cluster % attributes] = 5 * (1 + cluster // attributes)
    logits = centers[truth] + rng.normal(0, spread, (len(truth), attributes)) + rng.normal(20, 5, (len(truth), 1))
    logits[:, 0] += shift
    return logits.astype(np.float32), truth


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("attributes", [2, 3, 5])
def test_attributes_behind_a_biased_threshold_are_found(method, attributes):
    logits, truth = blobs([700] * (attributes - 1) + [60], attributes, shift=6.0)
    assert (label_attributes(logits).pseudo_attributes == truth).mean() < 0.95
    found = label_attributes(logits, method=method, seed=1)
    assert (found.pseudo_attributes == truth).all()
    (clustering,) = found.clusterings
    assert (found.named, found.num_clusters, found.scores) == (True, attributes, None)
    assert sorted(clustering.cluster_names) == list(range(attributes))
    assert np.array_equal(clustering.counts, np.bincount(truth)[clustering.cluster_names])
    assert clustering.label is None
    assert clustering.converged
    centred = logits - logits.mean(axis=1, keepdims=True)
    for name, center in zip(clustering.cluster_names, clustering.centers, strict=True):
        np.testing.assert_allclose(center, centred[truth == name].mean(axis=0), atol=1e-3)


def contrasts_of(logits):
    return logits.astype(np.float64) @ contrast_matrix(logits.shape[1]).T


@pytest.mark.parametrize("attributes", [2, 3, 6])
def test_contrasts_are_orthonormal_and_lose_the_mean_alone(attributes):
    contrasts = contrast_matrix(attributes)
    np.testing.assert_allclose(contrasts @ contrasts.T, np.eye(attributes - 1), atol=1e-12)
    logits = np.random.default_rng(0).normal(size=(20, attributes))
    centred = logits - logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(contrasts_of(logits) @ contrasts, centred, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_posterior_of_kmeans_is_that_of_spherical_gaussians(dtype):
    logits, _ = blobs([300, 200, 100], 3, spread=2.0)
    logits = logits.astype(dtype)
    found = label_attributes(logits, method="kmeans")
    (clustering,) = found.clusterings
    centred = logits.astype(np.float64) - logits.astype(np.float64).mean(axis=1, keepdims=True)
    distances = ((centred[:, None] - clustering.centers) ** 2).sum(axis=2)
    assert clustering.inertia == pytest.approx(distances.min(axis=1).sum(), rel=1e-5)
    variance = clustering.inertia / (600 * 2)  # two directions
    expected = np.empty_like(distances)
    expected[:, clustering.cluster_names] = reference.softmax(-distances / (2 * variance))
    np.testing.assert_allclose(found.posterior, expected, atol=2e-5)
    assert np.array_equal(found.pseudo_attributes, clustering.cluster_names[distances.argmin(axis=1)])


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_posterior_of_gmm_is_the_responsibilities(covariance):
    logits, _ = blobs([300, 200, 100], 3, spread=2.0)
    found = label_attributes(logits, method="gmm", covariance=covariance)
    (clustering,) = found.clusterings
    points, contrasts = contrasts_of(logits), contrast_matrix(3)
    logs = []
    for weight, center, of_logits in zip(
        clustering.weights, clustering.centers @ contrasts.T, clustering.covariances, strict=True
    ):
        matrix = contrasts @ of_logits @ contrasts.T
        assert covariance == "full" or abs(matrix[0, 1]) < 1e-12
        away = points - center
        square = (away @ np.linalg.inv(matrix) * away).sum(axis=1)
        logs.append(np.log(weight) - 0.5 * (square + np.linalg.slogdet(2 * np.pi * matrix)[1]))
    logs = np.stack(logs, axis=1)
    expected = np.empty_like(logs)
    expected[:, clustering.cluster_names] = reference.softmax(logs)
    np.testing.assert_allclose(found.posterior, expected, atol=2e-5)
    total = np.logaddexp.reduce(logs, axis=1).sum()
    assert clustering.log_likelihood == pytest.approx(total, rel=1e-6)
    assert clustering.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(clustering.covariances.sum(axis=2), 0, atol=1e-9)  # row-centred logits add up to 0


@pytest.mark.parametrize("method", METHODS)
def test_other_numbers_of_clusters_are_numbered_by_size(method):
    logits, truth = blobs([100, 400, 200], 2)
    found = label_attributes(logits, method=method, num_clusters=3)
    assert not found.named
    assert np.bincount(found.pseudo_attributes).tolist() == [400, 200, 100]
    assert np.array_equal(np.array([2, 0, 1])[truth], found.pseudo_attributes)
    assert found.posterior.shape == (700, 3)
    out, posterior = np.zeros(700, np.uint8), np.zeros((700, 3), np.float32)
    label_attributes(logits, method=method, num_clusters=3, out=out, posterior=posterior)
    assert np.array_equal(out, found.pseudo_attributes)
    assert np.array_equal(posterior, found.posterior)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("criterion", ["bic", "silhouette"])
@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_the_number_of_clusters_is_found(method, criterion, clusters):
    logits, truth = blobs([250] * clusters, 3)
    found = label_attributes(logits, method=method, num_clusters=criterion, max_clusters=6)
    assert found.num_clusters == clusters == len(set(found.pseudo_attributes))
    assert found.named == (clusters == 3)
    assert list(found.scores) == list(range(1 if criterion == "bic" else 2, 7))
    best = min if criterion == "bic" else max
    assert best(found.scores, key=found.scores.get) == clusters
    assert len(set(zip(found.pseudo_attributes.tolist(), truth.tolist(), strict=True))) == clusters


@pytest.mark.parametrize("method", METHODS)
def test_bic_of_one_cluster_is_that_of_one_gaussian(method):
    logits = np.random.default_rng(0).normal(20, 3, (500, 2)).astype(np.float32)
    found = label_attributes(logits, method=method, num_clusters="bic", max_clusters=3)
    points = contrasts_of(logits)[:, 0]
    likelihood = -250 * (np.log(2 * np.pi * points.var()) + 1)
    assert found.scores[1] == pytest.approx(-2 * likelihood + 2 * np.log(500), rel=1e-5)
    assert (found.num_clusters, found.pseudo_attributes.max()) == (1, 0)


@pytest.mark.parametrize(
    ("method", "covariance", "parameters"),
    [("kmeans", "full", 2 + 3 * 2 + 1), ("gmm", "full", 2 + 3 * 2 + 3 * 3), ("gmm", "diagonal", 2 + 3 * 2 + 3 * 2)],
)
def test_bic_of_several_clusters_counts_every_parameter(method, covariance, parameters):
    logits, _ = blobs([100, 250, 150], 3)
    found = label_attributes(logits, method=method, covariance=covariance, num_clusters="bic")
    (clustering,) = found.clusterings
    log_likelihood = clustering.log_likelihood
    if method == "kmeans":
        variance = clustering.inertia / (500 * 2)
        weights = (clustering.counts * np.log(clustering.counts / 500)).sum()
        log_likelihood = weights - 500 * (np.log(2 * np.pi * variance) + 1)
    assert found.num_clusters == 3
    assert found.scores[3] == pytest.approx(-2 * log_likelihood + parameters * np.log(500), abs=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_of_one_row_that_ends_the_search_is_named(method):
    logits, _ = blobs([60, 60])
    labels = np.repeat([0, 1], [119, 1])
    with pytest.warns(UserWarning, match="num_clusters is at most 1, for all .* the 1 rows of class 1"):
        found = label_attributes(logits, method=method, labels=labels, within_class=True, num_clusters="bic")
    assert found.num_clusters == 1
    alone = label_attributes(logits[:119], method=method, num_clusters="bic")
    assert alone.num_clusters > 1


@pytest.mark.parametrize("method", METHODS)
def test_bic_of_classes_adds_up(method):
    logits, _ = blobs([250, 250, 250], 3)
    labels = np.arange(750) % 2
    both = label_attributes(logits, method=method, labels=labels, within_class=True, num_clusters="bic")
    alone = [label_attributes(logits[labels == y], method=method, num_clusters="bic") for y in (0, 1)]
    for k, score in both.scores.items():
        assert score == pytest.approx(alone[0].scores[k] + alone[1].scores[k])
    assert both.num_clusters == 3


@pytest.mark.parametrize("method", METHODS)
def test_each_class_is_clustered_for_itself(method):
    first, truth_first = blobs([500, 500], shift=3.0, seed=1)
    second, truth_second = blobs([500, 500], shift=-12.0, seed=2)
    logits, truth = np.concatenate([first, second]), np.concatenate([truth_first, truth_second])
    labels = np.repeat(np.array([0, 3], np.uint8), 1000)
    shuffle = np.random.default_rng(0).permutation(2000)
    logits, truth, labels = logits[shuffle], truth[shuffle], labels[shuffle]
    within = label_attributes(logits, method=method, labels=labels, within_class=True)
    assert (within.pseudo_attributes == truth).all()
    assert [clustering.label for clustering in within.clusterings] == [0, 3]
    for label in (0, 3):
        alone = label_attributes(logits[labels == label], method=method)
        assert np.array_equal(within.posterior[labels == label], alone.posterior)
    assert (label_attributes(logits, method=method).pseudo_attributes == truth).mean() < 0.9


@pytest.mark.parametrize("method", METHODS)
def test_fewer_clusters_than_attributes_warn_and_are_still_matched(method):
    logits = np.array([[5, 1, 0], [5, 1, 0], [0, 1, 5]], np.float32)
    with pytest.warns(UserWarning, match="found 2 clusters, not 3: the 3 rows have too few distinct logits"):
        found = label_attributes(logits, method=method)
    assert found.pseudo_attributes.tolist() == [0, 0, 2]
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1)
    assert (found.posterior[:, 1] == 0).all()
    with pytest.warns(UserWarning, match="found 1 clusters, not 3"):
        label_attributes(logits[:1], method=method)
    with pytest.warns(UserWarning, match="found 2 clusters, not 5"):
        found = label_attributes(logits, method=method, num_clusters=5)
    assert found.posterior.shape == (3, 5)
    with pytest.warns(UserWarning) as caught:
        label_attributes(logits, method=method, labels=[0, 0, 1], within_class=True)
    words = [str(warning.message).partition(": ")[2] for warning in caught]
    assert words == [f"the {n} rows of class {y} have too few distinct logits" for n, y in ((2, 0), (1, 1))]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("criterion", ["bic", "silhouette"])
def test_the_search_ends_where_distinct_rows_do(method, criterion):
    logits = np.repeat(np.array([[5, 1], [0, 5], [2, 2]], np.float32), 20, axis=0)
    found = label_attributes(logits, method=method, num_clusters=criterion)
    assert max(found.scores) == 3
    constant = np.ones((10, 2), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if criterion == "silhouette" else "error")  # 2 clusters at least, but there is 1
        found = label_attributes(constant, method=method, num_clusters=criterion)
    assert (found.pseudo_attributes == 0).all()


@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_assignment_is_the_best_of_all(rows, more_columns, seed):
    scores = np.random.default_rng(seed).integers(-9, 9, (rows, rows + more_columns)).astype(float)
    found = best_assignment(scores)
    assert len(set(found.tolist())) == rows
    orders = itertools.permutations(range(rows + more_columns), rows)
    assert scores[np.arange(rows), found].sum() == max(scores[np.arange(rows), order].sum() for order in orders)
