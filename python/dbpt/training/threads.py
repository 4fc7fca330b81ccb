"""How many torch threads a step is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL_STEP = 200_000_000  # multiply-adds of a forward pass, some 10 ms of one core


@contextmanager
def one_thread_if_small(multiply_adds: int) -> Iterator[None]:
    """Run on one torch thread of the CPU what is too small to be shared out, then restore the number of threads.

    Threads that wait for each other thousands of times a second gain nothing on free cores, and on busy ones cost a
    step of a small text tower twenty times its time.
    """
    before = torch.get_num_threads()
    if multiply_adds < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
