"""Weights to draw by, for the tests of WeightedSampler."""

import numpy as np

from dbpt.sampling import WeightedSampler

WEIGHTS = np.random.default_rng(0).exponential(size=1000) * (np.arange(1000) % 7 > 0)
OTHERS = np.roll(WEIGHTS, 1)


def sampler_of(**keywords):
    """One with 700 draws, of 857 rows that can be drawn."""
    keywords = {"weights": WEIGHTS, "num_samples": 700, "seed": 3} | keywords
    return WeightedSampler(keywords.pop("weights"), keywords.pop("num_samples"), **keywords)
