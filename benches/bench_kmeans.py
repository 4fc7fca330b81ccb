"""k-means on cached logits: dbpt._core.kmeans against scikit-learn, with the same centres and number of iterations.

Run: pytest benches/bench_kmeans.py
scikit-learn gets row-centred logits; dbpt centres them in each iteration. Both sides use NUM_THREADS. The inertias must
agree to 1e-3, because scikit-learn adds float32 (with float64 it agrees with dbpt to 1e-9).
"""

import os
import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from dbpt._core import kmeans

ITERATIONS = 20
NUM_THREADS = int(os.environ.get("NUM_THREADS", os.cpu_count() or 1))


@pytest.fixture(scope="module", params=[2, 8])
def logits(request):
    logits = np.random.default_rng(0).normal(size=(1_000_000, request.param)).astype(np.float32)
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def inertias():
    return {}


def test_dbpt(benchmark, logits, inertias):
    k = logits.shape[1]

    def fit():
        return kmeans(logits, logits[:k].astype(np.float64), max_iter=ITERATIONS, num_threads=NUM_THREADS)

    _, _, inertias[k], iterations = benchmark.pedantic(fit, rounds=5, warmup_rounds=1)
    assert iterations == ITERATIONS


def test_scikit_learn(benchmark, logits, inertias):
    k = logits.shape[1]
    model = KMeans(k, init=logits[:k], n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, which is the point
            return model.fit(logits)

    with threadpool_limits(NUM_THREADS):
        found = benchmark.pedantic(fit, rounds=5, warmup_rounds=1)
    assert found.n_iter_ == ITERATIONS
    assert found.inertia_ == pytest.approx(inertias[k], rel=1e-3)
