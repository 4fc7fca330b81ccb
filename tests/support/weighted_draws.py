"""Groups and weights to draw by, for the tests of the samplers."""

import numpy as np

from dbpt.sampling import WeightedSampler

GROUPS = np.random.default_rng(0).choice(4, 1000, p=[0.7, 0.05, 0.02, 0.23])
COUNTS = np.bincount(GROUPS)
WEIGHTS = np.random.default_rng(0).exponential(size=1000) * (np.arange(1000) % 7 > 0)
OTHERS = np.roll(WEIGHTS, 1)


def sampler_of(**keywords):
    """One with 700 draws, of 857 rows that can be drawn."""
    keywords = {"weights": WEIGHTS, "num_samples": 700, "seed": 3} | keywords
    return WeightedSampler(keywords.pop("weights"), keywords.pop("num_samples"), **keywords)
