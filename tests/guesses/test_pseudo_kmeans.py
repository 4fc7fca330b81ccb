"""Labels by k-means: which cluster is which attribute, and the posterior by a plain formula."""

import numpy as np
import pytest
import reference

from dbpt.guesses import label_attributes
from dbpt.guesses.clusters import centers_of_points


def blobs(sizes, seed=0, spread=0.4, shift=3.0):
    """Logits around a centre for each attribute, leaning to attribute 0 by `shift`, and the attribute of each row."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    logits = rng.normal(0, spread, (len(truth), len(sizes))) + rng.normal(20, 5, (len(truth), 1))
    logits[np.arange(len(truth)), truth] += 5
    logits[:, 0] += shift
    return logits.astype(np.float32), truth


@pytest.mark.parametrize("attributes", [2, 3, 5])
def test_attributes_behind_a_biased_threshold_are_found(attributes):
    logits, truth = blobs([700] * (attributes - 1) + [60], shift=6.0)
    assert (label_attributes(logits, method="argmax").pseudo_attributes == truth).mean() < 0.95
    found = label_attributes(logits, method="kmeans", seed=1)
    assert (found.pseudo_attributes == truth).all()
    assert found.clusters.counts.tolist() == np.bincount(truth).tolist()
    centred = logits - logits.mean(axis=1, keepdims=True)
    for attribute, center in enumerate(found.clusters.centers):
        np.testing.assert_allclose(center, centred[truth == attribute].mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_posterior_is_that_of_spherical_gaussians(dtype):
    logits = blobs([300, 200, 100], spread=2.0)[0].astype(dtype)
    found = label_attributes(logits, method="kmeans")
    centred = logits.astype(np.float64) - logits.astype(np.float64).mean(axis=1, keepdims=True)
    distances = ((centred[:, None] - found.clusters.centers) ** 2).sum(axis=2)
    assert found.clusters.inertia == pytest.approx(distances.min(axis=1).sum(), rel=1e-5)
    variance = found.clusters.inertia / (600 * 2)  # two directions
    np.testing.assert_allclose(found.posterior, reference.softmax(-distances / (2 * variance)), atol=2e-5)
    assert np.array_equal(found.pseudo_attributes, distances.argmin(axis=1))


def test_centres_that_were_found_in_a_sample_come_to_rest_on_all_rows(monkeypatch):
    logits, _ = blobs([3000, 500], spread=1.0)
    whole = label_attributes(logits, method="kmeans")
    monkeypatch.setattr("dbpt.guesses.base.ROWS_OF_FIT", 100)
    found = label_attributes(logits, method="kmeans")
    assert np.array_equal(found.pseudo_attributes, whole.pseudo_attributes)
    np.testing.assert_allclose(found.clusters.centers, whole.clusters.centers, atol=1e-5)


def test_fewer_clusters_than_attributes_warn_and_are_still_matched():
    logits = np.array([[5, 1, 0], [5, 1, 0], [0, 1, 5]], np.float32)
    with pytest.warns(UserWarning, match="^found 2 clusters for 3 attributes, because too few images") as caught:
        found = label_attributes(logits, method="kmeans")
    assert caught[0].filename == __file__
    assert found.pseudo_attributes.tolist() == [0, 0, 2]
    assert found.clusters.counts.tolist() == [2, 0, 1]
    assert (found.posterior[:, 1] == 0).all()


def test_centres_that_do_not_settle_are_warned_of(monkeypatch):
    for module in ("methods", "clusters"):
        monkeypatch.setattr(f"dbpt.guesses.{module}.MAX_ITER", 1)
    with pytest.warns(UserWarning, match="^the centres still moved after 1 iterations") as caught:
        label_attributes(np.random.default_rng(0).normal(size=(3000, 3)), method="kmeans")
    assert caught[0].filename == __file__


def test_the_start_is_pinned():
    logits = ((np.arange(600, dtype=np.int64) * 7919 % 601) / 64).astype(np.float32).reshape(200, 3)
    found = [label_attributes(logits, method="kmeans", seed=seed).clusters.counts.tolist() for seed in (0, 1)]
    assert found == PINNED


PINNED = [[33, 36, 131]] * 2


@pytest.mark.parametrize(("rows", "width", "number"), [(200, 1, 2), (300, 7, 4), (500, 64, 3)])
def test_centres_of_points_are_the_means_of_their_nearest_rows(rows, width, number):
    points = np.random.default_rng(rows).normal(0, 1, (rows, width))
    found = centers_of_points(points, number, seed=0)
    nearest = ((points[:, None] - found) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(found, [points[nearest == k].mean(axis=0) for k in range(number)], atol=1e-5)
