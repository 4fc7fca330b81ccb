"""k-means on cached logits: dbpt._core.kmeans against scikit-learn, from the same centres, as many iterations.

Run: pytest benches/bench_kmeans.py
The inertias, both computed again in float64 from the centres found, must agree to 1e-5.
"""

import os
import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dbpt._core import kmeans

ITERATIONS = 50
NUM_THREADS = int(os.environ.get("NUM_THREADS", os.cpu_count() or 1))


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).normal(size=(1_000_000, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def inertias():
    found = {}
    yield found
    if len(found) == 2:
        assert found["dbpt"] == pytest.approx(found["scikit-learn"], rel=1e-5)


def inertia(points, centers):
    squared = [((points.astype(np.float64) - center) ** 2).sum(axis=1) for center in centers]
    return np.minimum.reduce(squared).sum()


def test_dbpt(benchmark, points, inertias):
    def fit():
        centers = points[:4].astype(np.float64)
        return kmeans(points, 4, centers=centers, max_iter=ITERATIONS, num_threads=NUM_THREADS)

    centers, _, _, iterations = benchmark.pedantic(fit, rounds=5, warmup_rounds=1)
    assert iterations == ITERATIONS
    inertias["dbpt"] = inertia(points, centers)


def test_scikit_learn(benchmark, points, inertias):
    model = KMeans(4, init=points[:4], n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, which is the point
            return model.fit(points)

    with threadpool_limits(NUM_THREADS):
        found = benchmark.pedantic(fit, rounds=5, warmup_rounds=1)
    assert found.n_iter_ == ITERATIONS
    inertias["scikit-learn"] = inertia(points, found.cluster_centers_)
