"""Clusters within each class: planted ones are found without the class direction, and doubted where there are none."""

import numpy as np
import pytest

from dbpt import InputError
from dbpt.guesses import GuessedFactors
from dbpt.guesses.clusters import ClassClusters, find_class_clusters

NAMES = ("bird", "fish", "stone")
WIDTH = 12


def class_weights(num_classes: int = 2) -> np.ndarray:
    """Text features whose differences are along the first axes."""
    return np.eye(num_classes, WIDTH, dtype=np.float32)


def planted(sizes, *, hidden: float = 1.0, along_class: float = 0.0, seed: int = 0):
    """Rows of features with a cluster for each entry of ``sizes`` [class][cluster], each along an axis of its own.

    ``along_class`` splits each class in two halves along the direction of the classes.
    """
    draws, rows, labels, clusters = np.random.default_rng(seed), [], [], []
    for label, of_class in enumerate(sizes):
        for cluster, size in enumerate(of_class):
            points = draws.normal(0, 0.05, (size, WIDTH))
            points[:, 4 + (2 * label + cluster) % 6] += hidden
            points[:, :2] += along_class * np.where(draws.random((size, 1)) < 0.5, 1, -1) * [1, -1]
            rows.append(points)
            labels += [label] * size
            clusters += [cluster] * size
    order = draws.permutation(len(labels))
    return (np.concatenate(rows).astype(np.float32)[order], np.array(labels)[order], np.array(clusters)[order])


def find(features, labels, number=0, num_classes=2) -> ClassClusters:
    return find_class_clusters(features, labels, class_weights(num_classes), NAMES[:num_classes], number)


@pytest.mark.parametrize("number", [0, 2])
def test_planted_clusters_are_found_even_if_one_is_rare(number):
    features, labels, clusters = planted([[300, 20], [15, 200]])
    found = find(features, labels, number)
    pseudo = GuessedFactors.of_clusters(found, features, labels)
    assert found.biases.shape == (2, 2)
    largest_first = np.where(labels == 0, clusters, 1 - clusters)
    np.testing.assert_array_equal(pseudo.pseudo_attributes, largest_first)
    assert pseudo.method == "clusters"
    assert pseudo.names == (("1", "2"), ("1", "2"))
    assert (pseudo.confidence > 0.99).all()
    assert found.doubts(NAMES[:2]) == []


def test_what_goes_along_the_class_direction_is_left_out():
    """The halves along it are four times as far apart as the planted clusters."""
    features, labels, clusters = planted([[200, 60], [60, 200]], hidden=0.5, along_class=1.0)
    found = GuessedFactors.of_clusters(find(features, labels, 2), features, labels).pseudo_attributes
    np.testing.assert_array_equal(found, np.where(labels == 0, clusters, 1 - clusters))
    raw = find_class_clusters(features, labels, np.ones((2, WIDTH), np.float32), NAMES[:2], 2)  # no direction
    halves = (features[:, 0] > 0)[labels == 0]
    of_raw = GuessedFactors.of_clusters(raw, features, labels).pseudo_attributes[labels == 0]
    assert max((of_raw == halves).mean(), (of_raw != halves).mean()) == 1


@pytest.mark.parametrize("planted_number", [2, 4])
def test_the_silhouette_finds_the_number(planted_number):
    features, labels, _ = planted([[60] * planted_number] * 2)
    assert find(features, labels).biases.shape == (2, planted_number)
    assert find(features, labels, 5).biases.shape == (2, 5)  # unless it is given


def test_the_label_is_the_nearest_centre_and_the_posterior_that_of_gaussians():
    features, labels, _ = planted([[80, 60, 40], [50, 50, 50]], hidden=0.12)
    found = find(features, labels, 3)
    pseudo = GuessedFactors.of_clusters(found, features, labels)
    for label in range(2):
        rows = labels == label
        points, own = features[rows].astype(np.float64), pseudo.pseudo_attributes[rows]
        direction = (class_weights()[label] - class_weights().mean(axis=0)).astype(np.float64)
        direction /= np.linalg.norm(direction)
        points -= points.mean(axis=0)
        points -= np.outer(points @ direction, direction)
        centres = np.stack([points[own == k].mean(axis=0) for k in range(3)])
        squares = ((points[:, None] - centres) ** 2).sum(axis=2)
        np.testing.assert_array_equal(squares.argmin(axis=1), own)
        axes = np.linalg.svd(centres - centres.mean(axis=0))[2][:2]
        variance = (((points - centres[own]) @ axes.T) ** 2).mean()
        scores = np.exp(-(squares - squares.min(axis=1, keepdims=True)) / (2 * variance))
        np.testing.assert_allclose(pseudo.posterior[rows], scores / scores.sum(axis=1, keepdims=True), atol=1e-4)
        assert (np.diff(np.bincount(own)) <= 0).all()  # the largest is the first
    np.testing.assert_array_equal(pseudo.confidence, pseudo.posterior.max(axis=1))


def test_a_class_without_clusters_is_doubted_and_named():
    features, labels, _ = planted([[150, 50], [200]])
    found = find(features, labels, 2)
    assert found.separation[0] > 0.5 > 0.05 > found.separation[1]
    (doubt,) = found.doubts(NAMES[:2])
    assert doubt.kind == "no clusters" and "class 'fish'" in doubt.sentence


def test_few_images_are_a_doubt():
    features, labels, _ = planted([[30, 10], [60, 40], [15, 10]])
    found = find(features, labels, 2, num_classes=3)
    assert np.isnan(found.separation).tolist() == [True, False, True]
    assert [str(doubt) for doubt in found.doubts(NAMES)] == [
        "too few different images of classes 'bird', 'stone' to tell whether the clusters are distinct (from 50 images)"
    ]


def test_few_different_images_are_a_doubt():
    """One image is different, so that one half of the rows has a single point."""
    features, labels, _ = planted([[60, 40], [60]])
    rows = np.flatnonzero(labels == 1)
    features[rows[1:]] = features[rows[0]] + 1
    found = find(features, labels, 2)
    assert np.isnan(found.separation).tolist() == [False, True]
    assert found.doubts(NAMES[:2])[0].sentence.startswith("too few different images of class 'fish'")


@pytest.mark.parametrize(("rows", "width"), [(40, 512), (60, 64), pytest.param(300, 512, marks=pytest.mark.full)])
def test_noise_is_doubted_however_few_the_images_and_clusters_are_not(rows, width):
    """Eight classes of spherical noise, and as many with two clusters eight to ten standard deviations apart."""
    num_classes, draws = 8, np.random.default_rng(rows + width)
    labels = np.repeat(np.arange(num_classes), rows)
    names, weights = [str(label) for label in range(num_classes)], np.eye(num_classes, width, dtype=np.float32)
    noise = draws.normal(size=(len(labels), width)).astype(np.float32)
    for number in (2, 3):
        separation = find_class_clusters(noise, labels, weights, names, number).separation
        assert not (separation >= 0.05).any()
        assert np.isnan(separation).all() == (rows < 50)
    noise[np.arange(len(labels)) % 3 == 0, -1] += 8 if width == 64 else 10
    found = find_class_clusters(noise, labels, weights, names, 2)
    assert rows < 100 or found.doubts(names) == []


def test_clusters_are_named_by_what_they_have_and_the_rest_of_the_class_has_not():
    features, labels, _ = planted([[100, 50], [90, 60]])
    axes = {"grass": 4, "sea": 5, "sand": 6, "sky": 7}
    texts = np.zeros((5, WIDTH), np.float32)
    for row, axis in enumerate(axes.values()):
        texts[row, axis] = 1
    texts[4, 4:8] = 0.5  # fits all clusters
    named = find(features, labels, 2).named([*axes, "anything"], texts)
    assert [names[0].split(",")[0] for names in named.names] == ["1: grass", "1: sand"]
    assert [names[1].split(",")[0] for names in named.names] == ["2: sea", "2: sky"]


@pytest.mark.parametrize(
    ("sizes", "number", "message"),
    [
        ([[30, 10], [1]], 0, "class 'fish' has 1 different image to fit on, too few for 2 clusters"),
        ([[30, 10], [2]], 3, "class 'fish' has 2 different images to fit on, too few for 3 clusters"),
        ([[30, 10], []], 2, "class 'fish' has 0 different images"),
    ],
)
def test_a_class_with_too_few_rows_is_refused(sizes, number, message):
    features, labels, _ = planted(sizes)
    with pytest.raises(
        InputError, match=f"--attributes clusters: {message}.*; add training or validation images, or name attributes"
    ):
        find(features, labels, number)
    features, labels, _ = planted([[30, 10], [20, 20]])
    features[labels == 1] = features[labels == 1][0]
    with pytest.raises(InputError, match="class 'fish' has 1 different image"):
        find(features, labels)


def test_few_rows_limit_the_number_that_the_silhouette_may_choose():
    features, labels, _ = planted([[20, 20, 20], [2, 1]])
    assert find(features, labels).biases.shape == (2, 2)


def test_as_many_clusters_as_different_rows():
    features, labels, _ = planted([[40, 20], [1, 1]])
    pseudo = GuessedFactors.of_clusters(find(features, labels, 2), features, labels)
    assert sorted(pseudo.pseudo_attributes[labels == 1]) == [0, 1]
    assert np.isfinite(pseudo.posterior).all()


def test_many_classes_leave_something_to_cluster():
    """With more classes than dimensions their weights span everything, but each class leaves out only one direction."""
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    features = draws.normal(0, 0.05, (180, 2)).astype(np.float32)
    features[:, 1] += np.tile([0, 1], 90)
    weights = np.array([[1, 0], [0.8, 0], [-0.5, 0]], np.float32)
    clusters = find_class_clusters(features, labels, weights, NAMES, 2)
    found = GuessedFactors.of_clusters(clusters, features, labels).pseudo_attributes
    for label in range(3):
        own = found[labels == label]
        assert {own[0], own[1]} == {0, 1}
        np.testing.assert_array_equal(own, np.tile(own[:2], 30))
