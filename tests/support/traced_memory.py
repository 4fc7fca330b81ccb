"""What a call takes of the memory that Python and NumPy count; the core's blocks are no part of it."""

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def traced(call: Callable[[], T]) -> tuple[T, int, int]:
    """Return the result of a call, the bytes that are held for it then, and the most that were."""
    tracemalloc.start()
    found = call()
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, held, most
