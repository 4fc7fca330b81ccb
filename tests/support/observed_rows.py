"""Rows to observe and rules that observe them, for the tests of the sums of group weights."""

import numpy as np

import dbpt

COUNTS = [500, 40, 0, 90, 17, 210]
RULES = [lambda: dbpt.GroupWeights(COUNTS, 1.5, 0.25), lambda: dbpt.GroupDRO(COUNTS, 0.5)]


def rows(seed, count=60, dtype=np.float32):
    """Groups and values of some samples, some of them without a group."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, len(COUNTS), count)
    groups[rng.random(count) < 0.2] = -1
    return groups, rng.random(count).astype(dtype)


def content(weights):
    """All bits of the state."""
    return {name: values.tobytes() for name, values in weights.state().items()}
