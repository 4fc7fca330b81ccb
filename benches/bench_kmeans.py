"""k-means on cached logits: dbpt._core.kmeans against scikit-learn, same points, k, and number of iterations.

Run: pytest benches/bench_kmeans.py
The starts differ (each has its own k-means++), so the number of iterations is fixed and no inertias are compared; the
tests compare those from equal starts with a plain reference.
"""

import os
import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dbpt._core import kmeans

ITERATIONS = 50
NUM_THREADS = os.cpu_count() or 1


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).normal(size=(1_000_000, 8)).astype(np.float32)


def test_dbpt(benchmark, points):
    _, _, _, iterations = benchmark.pedantic(
        kmeans, args=(points, 4, 0, ITERATIONS, 1, NUM_THREADS), rounds=5, warmup_rounds=1
    )
    assert iterations == ITERATIONS


def test_scikit_learn(benchmark, points):
    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, which is the point
            return KMeans(4, n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd", random_state=0).fit(points)

    with threadpool_limits(NUM_THREADS):
        assert benchmark.pedantic(fit, rounds=5, warmup_rounds=1).n_iter_ == ITERATIONS
