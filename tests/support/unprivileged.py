"""Have file permissions count for root too, as they do for everybody else."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VERSION_3 = 0x20080522


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up this thread's effective capabilities, and take them back at the end."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root may read and write everything here")
    libc, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0], sets[3]
    sets[0] = sets[3] = 0
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0], sets[3] = effective
        assert libc.capset(header, sets) == 0
