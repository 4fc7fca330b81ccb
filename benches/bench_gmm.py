"""Gaussian mixtures on cached logits: dbpt._core.gmm against scikit-learn on float64, from the same start.

Run: pytest benches/bench_gmm.py
Both do as many iterations; their mean log likelihoods must agree to 1e-6.
"""

import os
import warnings

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from dbpt._core import gmm

ITERATIONS = int(os.environ.get("ITERATIONS", "10"))
NUM_THREADS = int(os.environ.get("NUM_THREADS", os.cpu_count() or 1))
K = 4


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1.5, (K, 8))
    return (centers[rng.integers(0, K, 1_000_000)] + rng.normal(size=(1_000_000, 8))).astype(np.float32)


@pytest.fixture(scope="module")
def likelihoods():
    found = {}
    yield found
    for covariance in ("full", "diagonal"):
        if len(found) == 4:
            dbpt, peer = (found[who, covariance] for who in ("dbpt", "scikit-learn"))
            assert dbpt == pytest.approx(peer, rel=1e-6)


def start(points, covariance):
    means = points[:K].astype(np.float64)
    precisions = np.ones((K, 8)) if covariance == "diagonal" else np.tile(np.eye(8), (K, 1, 1))
    return np.full(K, 1 / K), means, precisions


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_dbpt(benchmark, points, likelihoods, covariance):
    weights, means, precisions = start(points, covariance)

    def fit():
        given = {"weights": weights, "means": means, "precisions": precisions, "covariance": covariance}
        return gmm(points, K, **given, tol=0, max_iter=ITERATIONS, num_threads=NUM_THREADS)

    found = benchmark.pedantic(fit, rounds=5, warmup_rounds=1)
    assert found[4] == ITERATIONS
    likelihoods["dbpt", covariance] = found[3]


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_scikit_learn(benchmark, points, likelihoods, covariance):
    weights, means, precisions = start(points, covariance)
    model = GaussianMixture(
        K,
        covariance_type={"full": "full", "diagonal": "diag"}[covariance],
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
        tol=0,
        max_iter=ITERATIONS,
    )
    double = points.astype(np.float64)

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, which is the point
            return model.fit(double)

    with threadpool_limits(NUM_THREADS):
        found = benchmark.pedantic(fit, rounds=3)
    assert found.n_iter_ == ITERATIONS
    likelihoods["scikit-learn", covariance] = found.lower_bound_
