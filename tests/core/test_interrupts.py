"""Ctrl-C gets through within a second of computing while the core indexes, draws, adds up or clusters."""

import json
import subprocess
import sys

import pytest

# Each call takes several seconds when it isn't interrupted. Memory that isn't reached isn't touched.
CALLS = {
    "index": "GroupIndex(np.zeros(10**9, np.uint8), None, {num_threads})",
    "index of many groups": "GroupIndex(many, None, {num_threads})",
    "sampler": "GroupSampler(np.zeros(10**9, np.uint8))",
    "draw": "GroupStream(index, np.array([4 * 10**8]), 0, 0).indices(0, 4 * 10**8, 1, {num_threads})",
    "sums": "group_sums(np.zeros(10**9, np.int64), np.zeros(10**9), 1, argument='v', least=0, most=1, "
    "num_threads={num_threads})",
    "alias": "AliasTable(weights, {num_threads})",
    "weights": "WeightedSampler(weights, 10)",
    "weighted": "WeightedStream(AliasTable(np.ones(9)), 10**9, 0, 0).indices(0, 10**9, 1, {num_threads})",
    "independent": "IndependentStream(index, np.array([1]), 4 * 10**8, 0, 0).indices(0, 4 * 10**8, 1, {num_threads})",
    "batches": "BatchStream(index, np.array([2**30]), 2**20, 0, 0).indices(0, 2**10, 1, {num_threads})",
    "argmax": "assign_argmax(np.zeros((10**9, 2), np.float16), labels_out=np.zeros(10**9, np.uint8), "
    "num_threads={num_threads})",
    "k-means": "kmeans(logits, np.outer(np.arange(200), [1.0, -1.0]), max_iter=10**9, num_threads={num_threads})",
    "nearest": "assign_nearest(np.zeros((10**9, 1), np.float16), np.zeros((99, 1)), 1.0, "
    "labels_out=np.zeros(10**9, np.uint8), num_threads={num_threads})",
}
SCRIPT = """
import json, os, signal, sys, threading, time
import numpy as np
from dbpt._core import (
    AliasTable, BatchStream, GroupIndex, GroupStream, IndependentStream, WeightedStream,
    assign_argmax, assign_nearest, group_sums, kmeans,
)
from dbpt.sampling import GroupSampler, WeightedSampler

index, sent = GroupIndex(np.zeros(10**6, np.uint8)), []
weights = np.zeros(10**9, np.float32)
weights[5] = 1
many = np.arange(5 * 10**7, dtype=np.int32) % 2**24
logits = np.random.default_rng(0).normal(size=(10**6, 2)).astype(np.float32)

def interrupt():
    sent.append(time.process_time())  # of all threads; the clock on the wall depends on what else the machine does
    os.kill(os.getpid(), signal.SIGINT)

for call in json.loads(sys.argv[1]):
    timer = threading.Timer(0.1, interrupt)
    try:
        timer.start()
        eval(compile(call, "call", "eval"))  # eval of a text would make a caught Ctrl-C the exit code
        timer.cancel()
        print("finished", 0, flush=True)
    except KeyboardInterrupt:
        print("interrupted", time.process_time() - sent[-1], flush=True)
assert len(GroupStream(index, np.array([10]), 0, 0).indices(0, 10)) == 10
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C")
def test_long_calls_can_be_interrupted():
    cases = [(name, 1 + number % 2) for number, name in enumerate(CALLS)]
    calls = json.dumps([CALLS[name].format(num_threads=num_threads) for name, num_threads in cases])
    found = subprocess.run([sys.executable, "-c", SCRIPT, calls], capture_output=True, text=True, timeout=600)
    assert found.returncode == 0, found.stderr
    for (name, num_threads), line in zip(cases, found.stdout.splitlines(), strict=True):
        what, seconds = line.split()
        assert what == "interrupted", (name, num_threads)
        assert float(seconds) < num_threads, (name, num_threads)
