"""SIGTERM ends a command as Ctrl-C does: what is computed is kept, and nothing is half-written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dbpt.ranks import launched


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Raise `Terminated` for SIGTERM within ``with``.

    Not in one of several launched processes: Python sees no signal while it waits for another rank, so torchrun, which
    ends all of them by SIGTERM when one fails, would wait too.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL or launched():
        yield
        return

    def stop(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
