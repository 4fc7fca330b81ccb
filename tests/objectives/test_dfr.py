"""What DFR needs in memory to standardise; `test_papers.py` compares its layer with the procedure of the paper."""

import numpy as np
import pytest
from traced_memory import traced

from dbpt.objectives.jtt_afr_dfr import _standard


@pytest.mark.parametrize("width", [1, 64, 65, 512])
def test_some_columns_at_a_time_give_the_same_bits_in_less_memory(width):
    features = np.random.default_rng(0).standard_normal((5_000, width), dtype=np.float32)
    features[:, width // 2] = 3
    (mean, scale), _, peak = traced(lambda: _standard(features))
    whole = features.astype(np.float64)
    deviation = whole.std(axis=0)
    deviation[width // 2] = 1
    np.testing.assert_array_equal(mean, whole.mean(axis=0))
    np.testing.assert_array_equal(scale, deviation)
    assert peak < 5 * 8 * min(width, 64) * len(features)
