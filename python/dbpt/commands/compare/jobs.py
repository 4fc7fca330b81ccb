"""Run cells in this process or in several."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dbpt.commands.callbacks import Watch
from dbpt.commands.compare.cells import Stages, run_cell
from dbpt.commands.compare.plan import Cell
from dbpt.data import DATASETS
from dbpt.errors import InputError
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig
from dbpt.training.judging import Diverged

READY = "ready"


def run_in_processes(
    configs: Sequence[FitConfig], cells: Sequence[Cell], folder: Path, jobs: int, watch: Watch
) -> Generator[tuple[Cell, str | None], None, None]:
    """Run cells in several processes, which divide the processor's cores; yield each with the result of `attempt`.

    If a process dies, its cell fails and another process takes its place.

    Args:
        configs: the settings of all cells, whose images must be in the cache.
        cells: those to run.
        folder: the folder of the comparison.
        jobs: the number of processes.
        watch: this process tells it each epoch.

    Raises:
        InputError: if a process dies before any could begin.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    waiting, workers = list(reversed(cells)), dict[Connection, _Worker]()
    one_has_begun = False
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                worker = _Worker(configs, folder, threads)
                workers[worker.connection] = worker
                worker.give(waiting.pop())
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                # A process sends its error if it cannot begin, else READY; then for each cell a tuple at each epoch,
                # and at the end the reason of a failure, or None.
                try:
                    if isinstance(answer := connection.recv(), InputError):
                        raise answer
                    if answer == READY:
                        one_has_begun = True
                        continue
                    if isinstance(answer, tuple):
                        watch.tell("on_epoch_end", *answer)
                        continue
                    outcome = worker.cell, answer
                except (EOFError, OSError):  # it has died, before or while it read what was sent
                    if not one_has_begun:
                        raise InputError(
                            f"--jobs: a process {worker.death()} before it could begin; in a script, call dbpt.compare "
                            "below if __name__ == '__main__':, or leave jobs out"
                        ) from None
                    outcome = worker.cell, f"its process {worker.death()} (out of memory? then fewer --jobs help)"
                    del workers[connection]
                else:
                    if waiting:
                        worker.give(waiting.pop())
                    else:
                        workers.pop(connection).give(None)
                yield outcome
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.join()


class _Worker:
    """A process with a pipe, and the cell that it runs."""

    cell: Cell

    def __init__(self, configs: Sequence[FitConfig], folder: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process that has torch's threads can hang
        self.connection, theirs = context.Pipe()
        modules = [kind.__module__ for registry in (OBJECTIVES, HEADS, DATASETS) for kind in registry.added.values()]
        self.process = context.Process(target=_work, args=(theirs, modules, configs, folder, threads), daemon=True)
        with _interrupts_blocked():
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, cell: Cell | None) -> None:
        """Send a cell to run, or None to let the process end."""
        if cell is not None:
            self.cell = cell
        with suppress(OSError):  # it has died; the next recv says so
            self.connection.send(cell)
        if cell is None:
            self.process.join()

    def death(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _work(
    connection: Connection, modules: Sequence[str], configs: Sequence[FitConfig], folder: Path, threads: int
) -> None:
    """Prepare, then run cells from the pipe until it sends None.

    ``modules`` register objectives, heads and data sets; the main script has been imported already.
    """
    # A terminal sends Ctrl-C to all its processes; the parent ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that is killed cannot end its processes.
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    logging.getLogger("dbpt").setLevel(logging.CRITICAL)  # the parent logs instead
    tqdm.set_lock(threading.RLock())  # a killed process would leak tqdm's own lock, a semaphore
    try:
        for module in modules:
            with suppress(ImportError):
                import_module(module)
        stages = Stages([replace(config) for config in configs])  # checks the names that it must know here too
    except InputError as error:
        what = f"--jobs: another process cannot begin: {error}"
        connection.send(InputError(f"{what}; register names at the top of a script or module, or leave jobs out"))
        return
    connection.send(READY)
    watch = Watch([_Sender(connection)])
    while (cell := connection.recv()) is not None:
        stages.guessed(cell)  # with all threads, like the parent: another number of them may round otherwise
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        connection.send(attempt(stages, cell, folder, watch))
        torch.set_num_threads(before)


@dataclass
class _Sender:
    """Sends each epoch to the process that calls the callbacks."""

    connection: Connection

    def on_epoch_end(self, *epoch: Any) -> None:
        self.connection.send(epoch)


def attempt(stages: Stages, cell: Cell, folder: Path, watch: Watch) -> str | None:
    """Run ``cell`` in this process; return the reason of a failure, or None."""
    try:
        run_cell(stages, cell, folder, watch)
    except InputError as error:
        if error is watch.error:  # a callback's, which stops the comparison
            raise
        # without how a fit continues; a comparison's settings are for all rows
        return error.reason if isinstance(error, Diverged) else str(error)
    return None


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C while starting processes, so that they never see it; this process handles it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    multiprocessing.resource_tracker.ensure_running()  # else it starts with the process, and unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
