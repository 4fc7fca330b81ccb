"""Errors at the border of the Rust core are exceptions of Python, never a panic or the end of the process."""

import os
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest

from dbpt._core import BatchStream, GroupIndex, GroupStream, assign_argmax, group_sums, quotas
from dbpt.errors import InputError


def test_an_array_that_another_call_writes_to_is_refused():
    """Tried until a call falls into the writing of another thread, which most do."""
    logits, labels = np.tile(np.float32([0, 1]), (10**6, 1)), np.ones(10**6, np.int64)
    values, stop, index = np.zeros(10**6), threading.Event(), GroupIndex(np.zeros(9, np.int8), 1)

    def write():
        while not stop.is_set():
            with suppress(InputError):  # the others are reading
                assign_argmax(logits, labels_out=labels)

    calls = {
        lambda: group_sums(labels, values, 2, argument="values", least=0, most=1): "groups",
        lambda: GroupIndex(labels, 2): "groups",
        lambda: GroupStream(index, labels[:1], 0, 0): "quotas",
        lambda: BatchStream(index, labels[:1], 1, 0, 0): "quotas",
        lambda: quotas(np.ones(1), labels[:1], 5, 0, 0): "counts",
    }
    thread = threading.Thread(target=write)
    thread.start()
    try:
        for call, name in calls.items():
            with pytest.raises(InputError, match=f"^{name} is being written to by another call"):
                for _ in range(10**6):
                    call()
    finally:
        stop.set()
        thread.join()


def in_a_process(script, **environment):
    options = {"capture_output": True, "text": True, "timeout": 600, "env": os.environ | environment}
    found = subprocess.run([sys.executable, "-c", script], **options)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
@pytest.mark.parametrize(
    "call",
    [
        "GroupIndex(many)",
        pytest.param("index.groups()", marks=pytest.mark.full),
        "index.members(0)",
        "group_sums(few, few * 1.0, 2**40, argument='values', least=0, most=1)",
        "group_sums(few, few * 1.0, 2**62, argument='values', least=0, most=1)",
        "kmeans(wide, centers)",
        "assign_nearest(wide, centers, 1.0, labels_out=few[:1])",
        "assign_argmax(wide, labels_out=few[:1])",
    ],
)
def test_want_of_memory_is_a_memory_error(call):
    script = f"""
import resource
import numpy as np
from dbpt._core import GroupIndex, assign_argmax, assign_nearest, group_sums, kmeans

wide, centers = np.zeros((1, 2**27), np.float16), np.zeros((1, 2**27))
few, many = np.array([0, 1]), np.zeros(3 * 10**8, np.uint8)
index = None if "index" not in {call!r} else GroupIndex(np.zeros(10**8, np.uint8))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 10**8, -1))
try:
    {call}
except MemoryError as error:
    print(error)
"""
    assert in_a_process(script).startswith("cannot allocate ")


def test_threads_that_cannot_be_started_are_done_without():
    script = """
import numpy as np
from dbpt._core import GroupIndex

print(GroupIndex(np.arange(10**7) % 7, None, 8).counts.tolist())
"""
    expected = np.bincount(np.arange(10**7) % 7).tolist()
    assert in_a_process(script, RUST_MIN_STACK=str(2**60)) == str(expected)
