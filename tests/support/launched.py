"""Processes that are forked from one that has imported torch: commands to kill, and ranks as torchrun starts them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import TextIO

import pytest

from dbpt.cli import main

PATIENCE = 600  # seconds, on a busy machine


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


def forking() -> multiprocessing.context.BaseContext:
    """A context whose processes are forked from one that has imported torch."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warm", "pytest"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # which the server doesn't take over before Python 3.13
        forkserver.ensure_running()
    return context


def exit_code(
    arguments: Sequence[str],
    stderr: Path,
    until: Callable[[], bool] = lambda: False,
    signal_number: int = signal.SIGKILL,
    first: str = "",
    is_left: bool = False,
) -> int:
    """The exit code of ``dbpt ARGUMENTS``, which gets the signal once ``until`` holds, unless it ends before.

    ``first`` is Python code that the process runs before the command. If it ``is_left`` alone no signal is sent.
    """
    process = forking().Process(target=_run, args=(arguments, stderr, first))
    process.start()
    deadline = time.monotonic() + PATIENCE
    while not is_left and not until() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0005)
    if not is_left:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)
    process.join(PATIENCE)
    return process.exitcode


def _run(arguments: Sequence[str], stderr: Path, first: str) -> None:
    _send(sys.stderr, stderr)
    _send(sys.stdout, Path(os.devnull))
    exec(first, {})
    main(arguments)
    sys.exit(0)  # which `first` may have replaced


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
        processes.append(context.Process(target=_begin, args=(variables, folder, work, rank, *arguments)))
        processes[-1].start()
    return Launched(processes, folder)


def command(rank: int, arguments: Sequence[str], of_rank: dict[int, Sequence[str]] | None = None) -> None:
    """The command line with ``arguments``, and those that only one rank gets."""
    main([*arguments, *(of_rank or {}).get(rank, ())])


def _begin(
    variables: dict[str, object], folder: Path, work: Callable[..., object], rank: int, *arguments: object
) -> None:
    os.environ |= {name: str(value) for name, value in variables.items()}
    os.environ["OMP_NUM_THREADS"] = "1"
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        _send(stream, folder / f"{name}{rank}")
    import torch

    torch.set_num_threads(1)
    work(rank, *arguments)


def _send(stream: TextIO, to: Path) -> None:
    with to.open("wb") as file:
        os.dup2(file.fileno(), stream.fileno())
