"""Labels by the largest of two float16 logits, as uint8 into the caller's buffer, against a copy of the logits.

Run: pytest benches/bench_argmax.py
10⁸ rows are 400 MB of logits and 100 MB of labels; the copy reads and writes 400 MB each. One thread on either side, as
`numpy.copyto` uses one; then two for dbpt alone.
"""

import numpy as np
import pytest

from dbpt import label_attributes

ROWS = 100_000_000


@pytest.fixture(scope="module")
def logits():
    some = np.random.default_rng(0).normal(20, 3, (1_000_000, 2)).astype(np.float16)
    return np.tile(some, (ROWS // len(some), 1))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_dbpt(benchmark, logits, num_threads):
    out = np.zeros(len(logits), np.uint8)
    keywords = {"out": out, "posterior": False, "confidence": False, "num_threads": num_threads}
    benchmark.pedantic(label_attributes, args=(logits,), kwargs=keywords, rounds=7, warmup_rounds=1)
    assert np.array_equal(out[:1000], logits[:1000].argmax(axis=1))


def test_numpy_copy_of_the_logits(benchmark, logits):
    copy = np.zeros_like(logits)
    benchmark.pedantic(np.copyto, args=(copy, logits), rounds=7, warmup_rounds=1)


def test_numpy_argmax(benchmark, logits):
    out = np.zeros(len(logits), np.int64)
    benchmark.pedantic(np.argmax, args=(logits, 1), kwargs={"out": out}, rounds=1)
