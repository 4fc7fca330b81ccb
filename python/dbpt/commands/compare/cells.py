"""The cells of a comparison: each is trained like the `dbpt fit` of the same settings, perhaps on half of the rows.

They are run here or in several processes.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dbpt import training
from dbpt.commands.callbacks import Watch
from dbpt.commands.compare.cell_files import SCHEMA_VERSION, result_path
from dbpt.commands.compare.plan import Cell
from dbpt.commands.compare.resampling import half_of
from dbpt.data import DATASETS
from dbpt.data.stored_features import digest_of
from dbpt.errors import InputError
from dbpt.guesses import PSEUDO_METHODS
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig
from dbpt.storage.tensors import write_tensors
from dbpt.study.stages import add_pseudo_attributes, arrange, load_and_embed
from dbpt.study.study import Embedded, Study


class Stages:
    """The study of each cell. All cells share the embedded images, and all cells of a seed the guesses.

    With few shots each seed has images of its own; ``embedded`` are those of the first seed.
    """

    def __init__(
        self, configs: Sequence[FitConfig], *, need_attributes: bool = False, notes: Sequence[str] = ()
    ) -> None:
        self._configs = configs
        self._load = partial(load_and_embed, need_attributes=need_attributes, notes=notes)
        self._embedded: dict[int | None, Embedded] = {}
        self._digests: dict[int | None, str] = {}
        self._guessed: dict[int, Study] = {}
        self.embedded = self._embedded_for(configs[0])
        # Now, since training may change what the code reads.
        registries = (OBJECTIVES, HEADS, PSEUDO_METHODS)
        self._code = {(each.setting, name): each.code_of(name) for each in registries for name in each.added}
        has_shots = configs[0].shots is not None
        self.data_digest = _digest(self.embedded, configs[0], only_test=has_shots)
        if not has_shots:
            self._digests[None] = self.data_digest

    def _embedded_for(self, config: FitConfig) -> Embedded:
        seed = None if config.shots is None else config.seed
        if seed not in self._embedded:
            configs = [cell_config for cell_config in self._configs if seed in (None, cell_config.seed)]
            backbone = self.embedded.backbone if self._embedded else None
            self._embedded[seed] = self._load(configs, backbone=backbone)
        return self._embedded[seed]

    def guessed(self, cell: Cell) -> Study:
        """Return the labels and splits of the seed of ``cell``, before its rows are drawn.

        All draws have those of the first seed, unless the seed draws the rows that a probe knows.
        """
        # All draws share one seed's guesses, so that their spread is that of the images alone.
        is_drawn = cell.draw is not None and cell.config.probe_rows is None
        seed = self._configs[0].seed if is_drawn else cell.config.seed
        if seed not in self._guessed:
            embedded = self._embedded_for(cell.config)
            self._guessed[seed] = add_pseudo_attributes(embedded, replace(cell.config, seed=seed))
        return self._guessed[seed]

    def study(self, cell: Cell) -> Study:
        """Return the input of ``cell``. Raises `InputError` if its rows and groups don't allow it."""
        study = self.guessed(cell)
        if cell.draw is not None:
            study = half_of(study, cell.draw)
        return arrange(replace(study, embedded=self._embedded_for(cell.config)), cell.config)

    def probe_errors(self, cells: Sequence[Cell]) -> NDArray[np.int64] | None:
        """Return those of the first cell that has groups of ``ppa``; None if none has."""
        return next((self.study(cell).probe_errors for cell in cells if cell.config.group_source == "ppa"), None)

    def fingerprint(self, cell: Cell) -> str:
        """Return a digest of everything that determines the result of ``cell``."""
        embedded = self._embedded_for(cell.config)
        if (seed := None if cell.config.shots is None else cell.config.seed) not in self._digests:
            self._digests[seed] = _digest(embedded, cell.config)
        described = [cell.name, cell.config.identity(), cell.config.alpha, self._digests[seed]]
        described += [code for (setting, name), code in self._code.items() if getattr(cell.config, setting) == name]
        identity = json.dumps(described, sort_keys=True)
        return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()


def _digest(embedded: Embedded, config: FitConfig, *, only_test: bool = False) -> str:
    """Return a digest of the images and their labels; words and encoder determine the zero-shot classifier.

    They determine the pseudo attributes too, unless these come from elsewhere. ``only_test`` leaves out images of other
    splits.
    """
    dataset, backbone = embedded.dataset, embedded.backbone
    described = [asdict(dataset.words), sorted(backbone.encoder_key.items()), backbone.spec["config"]]
    if embedded.context is not None:
        described.append(hashlib.sha256(embedded.context.tobytes()).hexdigest())
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode("utf-8", "surrogateescape"))
    features = embedded.features
    arrays: list[NDArray[Any]] = [dataset.labels, dataset.attributes, dataset.splits]
    if (known := embedded.known) is not None:
        assert known.posterior is not None
        arrays += [known.pseudo_attributes, known.posterior]
    if config.label_model is not None and not config.learns_attributes and embedded.are_guessed(config):
        arrays.append(embedded.logits)
    rows = np.flatnonzero(dataset.in_split("test")) if only_test else slice(None)
    digest.update((digest_of(features.take(rows)) if isinstance(rows, np.ndarray) else features.digest).encode())
    for array in (whole[rows] for whole in arrays):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def run_cell(stages: Stages, cell: Cell, folder: Path, watch: Watch) -> None:
    """Train ``cell``, from its checkpoint if there is one, write its result, and delete the checkpoint."""
    from dbpt.commands import trained_methods as methods  # imports torch
    from dbpt.commands.mixed_prompts import alpha_of, mixed_result

    study = stages.study(cell)
    checkpoint = folder / "checkpoints" / f"{cell.name}.safetensors"
    if cell.head is None:
        result = methods.training_free_result(study, cell.method.name)
    else:
        objective, prompts = cell.config.trained_objective, cell.config.prompts
        how: dict[str, Any] = {"checkpoint_path": checkpoint, "watch": watch, "row_name": cell.name, "quiet": True}
        result = methods.trained_result(study, objective, prompts, **how)
        if cell.method.is_mixed:
            (training,) = result.row.repeats
            result = mixed_result(study, result, alpha_of(study), cell.method.name)
            # In a run the row of the training says how it went; here it may not be among the rows.
            score = result.row.validation_score
            result = replace(result, row=replace(result.row, repeats=[replace(training, validation_score=score)]))
    evaluated, (repeat,) = result.evaluated(study), result.row.repeats
    row = replace(result.row, repeats=[replace(repeat, draw=cell.draw)])
    tensors: dict[str, NDArray[Any]] = {
        "correct": evaluated.correct.astype(np.uint8),
        "groups": evaluated.groups.astype(np.int32),
        "rows": study.rows(study.split),
        **{f"classifier.{name}": tensor for name, tensor in result.classifier.tensors.items()},
    }
    metadata = {"fingerprint": stages.fingerprint(cell), "row": json.dumps(asdict(row))}
    write_tensors(result_path(folder, cell), tensors, metadata, version=SCHEMA_VERSION)
    # Only once the result is on disk, so that a killed process can continue.
    checkpoint.unlink(missing_ok=True)


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
    import torch

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
    import torch

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
        return error.reason if isinstance(error, training.Diverged) else str(error)
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
