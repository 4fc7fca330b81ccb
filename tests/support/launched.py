"""`dbpt` in processes that are forked from one that has imported torch: as torchrun starts them, or to be killed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbpt.cli import main

PATIENCE = 600  # seconds, on a busy machine
IMPORTED = ["pytest", "dbpt.cli", "dbpt.clip.load", "dbpt.commands.fit.fit", "dbpt.commands.trained_methods"]
IMPORTED += ["dbpt.commands.fit.saved_candidate", "dbpt.runs.run_folder", "matplotlib.figure", "scipy.special"]
IMPORTED += ["scipy.optimize"]


@dataclass
class Launched:
    """Ranks at work; what rank r prints is in ``folder/out{r}`` and ``folder/err{r}``."""

    processes: list
    folder: Path

    def codes(self) -> list[int]:
        """The exit codes, once all have ended; a rank that hangs is killed, and the test fails."""
        for process in self.processes:
            process.join(PATIENCE)
        hanging = [rank for rank, process in enumerate(self.processes) if process.is_alive()]
        self.kill()
        assert hanging == [], self.printed("err")
        return [process.exitcode for process in self.processes]

    def finished(self) -> Launched:
        """Wait until all have ended, which must have worked."""
        assert self.codes() == [0] * len(self.processes), self.printed("err")
        return self

    def kill(self) -> None:
        """kill -9 to all that are left."""
        for process in self.processes:
            process.kill()
            process.join()

    def printed(self, stream: str) -> list[str]:
        """Return what each rank has printed, to ``"out"`` or to ``"err"``."""
        return [(self.folder / f"{stream}{rank}").read_text() for rank in range(len(self.processes))]


def wait_until(holds: Callable[[], object]) -> None:
    """Look again and again until it holds, which must not take longer than `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def forking() -> multiprocessing.context.BaseContext:
    """A context whose processes are forked from one that has imported torch."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def run_command(
    arguments: Sequence[str],
    stderr: Path,
    first: Callable[[], object],
    until: Callable[[], object] | None = None,
    signal_number: int = signal.SIGKILL,
) -> int:
    """Return the exit code of ``dbpt ARGUMENTS`` in a process that calls ``first`` before.

    It gets the signal once ``until`` holds, if it hasn't ended before.
    """
    streams = (Path(os.devnull), stderr)
    process = forking().Process(target=_begin, args=({}, streams, _call_and_command, first, arguments))
    process.start()
    if until is not None:
        wait_until(lambda: until() or not process.is_alive())
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)
    process.join(PATIENCE)
    return process.exitcode


def _call_and_command(first: Callable[[], object], arguments: Sequence[str]) -> None:
    first()
    main([*arguments])


def launch(
    folder: Path,
    count: int,
    work: Callable[..., object],
    *arguments: object,
    of_all: Mapping[str, object] | None = None,
) -> Launched:
    """``count`` processes that call ``work(rank, *arguments)`` and end, with the environment variables ``of_all``."""
    context = forking()
    folder.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(count):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "localhost"}
        variables |= {"MASTER_PORT": port, **(of_all or {})}
        streams = (folder / f"out{rank}", folder / f"err{rank}")
        processes.append(context.Process(target=_begin, args=(variables, streams, work, rank, *arguments)))
        processes[-1].start()
    return Launched(processes, folder)


def command(rank: int, arguments: Sequence[str], of_rank: dict[int, Sequence[str]] | None = None) -> None:
    """The command line with ``arguments``, and those that only one rank gets."""
    main([*arguments, *(of_rank or {}).get(rank, ())])


def _begin(
    variables: dict[str, object], streams: tuple[Path, Path], work: Callable[..., object], *arguments: object
) -> None:
    os.environ |= {name: str(value) for name, value in variables.items()}
    os.environ["OMP_NUM_THREADS"] = "1"
    for stream, path in zip((sys.stdout, sys.stderr), streams, strict=True):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    import torch
    from blank_charts import leave_blank

    gc.freeze()  # else each collection looks at all that torch has imported
    leave_blank()
    torch.set_num_threads(1)
    work(*arguments)
