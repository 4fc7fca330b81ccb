"""Labels by the largest logit, as uint8 into an existing buffer, against NumPy on the same logits.

Run: pytest benches/bench_argmax.py
The peer is ``x[:, 1] > x[:, 0]`` for two attributes and `numpy.argmax` for more. Both sides use one thread.
"""

import numpy as np
import pytest

from dbpt import label_attributes

CASES = [(20_000_000, 2, np.float16), (20_000_000, 2, np.float32), (5_000_000, 8, np.float16)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}x{case[1]}-{case[2].__name__}")
def logits(request):
    rows, columns, dtype = request.param
    some = np.random.default_rng(0).normal(20, 3, (1_000_000, columns)).astype(dtype)
    return np.tile(some, (rows // len(some), 1))


def test_dbpt(benchmark, logits):
    out = np.zeros(len(logits), np.uint8)
    keywords = {"method": "argmax", "out": out, "posterior": False, "confidence": False, "num_threads": 1}
    benchmark.pedantic(label_attributes, args=(logits,), kwargs=keywords, rounds=7, warmup_rounds=1)
    assert np.array_equal(out[:1000], logits[:1000].argmax(axis=1))


def test_numpy(benchmark, logits):
    if logits.shape[1] == 2:
        larger = np.zeros(len(logits), bool)
        benchmark.pedantic(np.greater, args=(logits[:, 1], logits[:, 0]), kwargs={"out": larger}, rounds=7)
    else:
        labels = np.zeros(len(logits), np.intp)
        benchmark.pedantic(np.argmax, args=(logits, 1), kwargs={"out": labels}, rounds=3)
