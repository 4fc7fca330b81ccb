"""Rows to observe and rules that observe them, for the tests of the sums of group weights."""

import numpy as np

import dbpt

NUM_CLASSES, NUM_ATTRIBUTES, NUM_GROUPS = 3, 2, 6
COUNTS = [500, 40, 0, 90, 17, 210]
RULES = [lambda: dbpt.GroupWeights(COUNTS, 1.5, 0.25), lambda: dbpt.GroupDRO(COUNTS, 0.5)]
NAN = float("nan")


def rows(seed, count=60, dtype=np.float32):
    """Groups, labels, posteriors and values of some samples, some of them without a group."""
    rng = np.random.default_rng(seed)
    labels, posterior = rng.integers(0, NUM_CLASSES, count), rng.dirichlet(np.ones(NUM_ATTRIBUTES), count)
    groups = labels * NUM_ATTRIBUTES + posterior.argmax(1)
    outside = rng.random(count) < 0.2
    groups[outside], posterior[outside] = -1, NAN
    return groups, labels, posterior.astype(dtype), rng.random(count).astype(dtype)


def content(weights):
    """All bits of the state."""
    return {name: values.tobytes() for name, values in weights.state().items()}


def observe(weights, groups, labels, posterior, values, convert=lambda array: array):
    weights.observe(convert(groups), convert(values))
    weights.observe_soft(convert(posterior), convert(labels), convert(values))
