"""The ``dbpt`` command: each verb is a thin wrapper over the public function of the same name."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def _interrupts_leave() -> Iterator[None]:
    """Let Ctrl-C end the process with one line, at once: imports raise no `KeyboardInterrupt` that one can rely on."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            with contextlib.suppress(OSError):
                os.write(2, b"Interrupted\n")
        os._exit(130)

    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


with _interrupts_leave():  # the first half second of a command
    from dbpt.cli.click_group import main

__all__ = ["main"]
