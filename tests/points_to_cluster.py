"""Points to cluster, and how their clusters are compared; for the tests of the core's clustering."""

import numpy as np

from dbpt._core import assign_centers


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
