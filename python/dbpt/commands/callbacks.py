"""Callbacks of `fit` and `compare`: history.jsonl, and adapters to trackers (``--report-to``).

history.jsonl grows line by line as training goes. The trackers are TensorBoard, Weights & Biases, MLflow and Trackio.
Each logs the numbers of history.jsonl by row and group, at the end the table and the page. A resumed run continues in
the event files of TensorBoard, and is a new run elsewhere.
"""

import json
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dbpt import training
from dbpt.commands.result import Result
from dbpt.errors import InputError, foreign_error, optional_module
from dbpt.registry import problem_of_call
from dbpt.settings.config import FitConfig
from dbpt.settings.fields import varied_in_words
from dbpt.storage.files import system_errors, write_atomically
from dbpt.study.study import Study

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartedRun:
    """The run or comparison that begins, for `Callback.on_fit_start`.

    Attributes:
        folder: the folder of the run or comparison.
        settings: the settings by name, without those that are None.
        groups: the names of the groups of each row that is trained, by the name of the row. The lists in the metrics
            of an epoch have a value for each.
        val_groups: the names of the groups of model selection, likewise; ``val_accuracy`` has a value for each, up to
            the last with validation images.
    """

    folder: Path
    settings: dict[str, Any]
    groups: dict[str, tuple[str, ...]]
    val_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, config: FitConfig, study: Study, rows: Mapping[str, FitConfig]) -> "StartedRun":
        """Return it for the settings ``config``, and those of each row that is trained."""
        settings = {each.name: value for each in fields(config) if (value := getattr(config, each.name)) is not None}
        groups = {row: study.grouping(own.group_source).names for row, own in rows.items()}
        selecting = {row: study.grouping(own.selecting_groups or "pseudo").names for row, own in rows.items()}
        return cls(folder, settings, groups, selecting)


class Callback:
    """Base of callbacks for ``dbpt.fit(callbacks=[...])`` and `dbpt.compare`. Each method does nothing here.

    Any object with some of these methods serves too. Only rank 0 calls them. An exception stops the run;
    ``resume=True`` continues it.
    """

    def on_fit_start(self, run: StartedRun) -> None:
        """Begin. Called before the first training.

        Args:
            run: the folder, settings, rows and groups.
        """

    def on_epoch_end(self, row: str, epoch: int, metrics: dict[str, Any]) -> None:
        """See an epoch. One that a resumed run has from its checkpoint is not shown again.

        Args:
            row: the method that is trained, such as ``"dbpt"``; in a comparison the name of the training, such as
                ``"dbpt_prompt_seed-0"``.
            epoch: the number, from 1.
            metrics: the other entries of the line in ``history.jsonl``.
        """

    def on_fit_end(self, result: Result) -> None:
        """End. Called once all files are written.

        Args:
            result: what `dbpt.fit` or `dbpt.compare` returns.
        """


HOOKS = {"on_fit_start": ("run",), "on_epoch_end": ("row", "epoch", "metrics"), "on_fit_end": ("result",)}
"""The methods of a callback, and the arguments that each is called with."""


class Watch:
    """Calls ``callbacks`` and ``trackers``, and appends each epoch to the file ``history``, if there is one.

    `error` is the exception of a callback, None if none raised.
    """

    def __init__(
        self, callbacks: Sequence[object] = (), trackers: Sequence["Tracker"] = (), history: Path | None = None
    ) -> None:
        expected = f"expected a list of objects with any of the methods {', '.join(HOOKS)}"
        if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
            raise InputError(f"callbacks: found {callbacks!r:.200}; {expected}")
        for callback in callbacks:
            # a hook of the base class does nothing
            changed = [hook for hook in HOOKS if getattr(type(callback), hook, None) is not getattr(Callback, hook)]
            own = {hook: getattr(callback, hook, None) for hook in changed}
            if isinstance(callback, type):
                raise InputError(f"callbacks: {callback.__name__} is a class; give an object: {callback.__name__}()")
            if not any(map(callable, own.values())):
                raise InputError(f"callbacks: found {callback!r:.200}; {expected}")
            for hook, method in own.items():
                if callable(method) and (problem := problem_of_call(method, HOOKS[hook])):
                    raise InputError(f"callbacks: {problem}")
        self._trackers, self._all, self.history = trackers, (*callbacks, *trackers), history
        self._has_begun = False
        self.error: BaseException | None = None

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        for tracker in self._trackers:
            try:
                tracker.close(failed=error is not None)
            except Exception as failure:  # it must not hide the error of a training, nor leave the others open
                logger.warning(
                    f"--report-to {type(tracker).__name__.lower()}: could not be closed ({foreign_error(failure)})"
                )

    def restored(self, row: str, records: Sequence["training.EpochRecord"]) -> None:
        """Note the epochs that the checkpoint of ``row`` has."""
        self._write([history_line(row, record) for record in records])

    def epoch(self, row: str, record: "training.EpochRecord") -> None:
        """Write a new epoch of ``row`` and tell it the callbacks."""
        self._write([history_line(row, record)])
        metrics = asdict(record)
        self.tell("on_epoch_end", row, metrics.pop("epoch"), metrics)

    def _write(self, lines: list[str]) -> None:
        """Write lines of the history, which begins anew: a killed process can be ahead of its checkpoint."""
        if self.history is None:
            return
        if not self._has_begun:
            write_atomically(self.history, "")
            self._has_begun = True
        # A line that a full disk cuts short does no harm, for the same reason.
        failed = f"{self.history}: cannot write"
        with system_errors(failed, "free space or choose another folder"), self.history.open("ab") as file:
            file.write("".join(lines).encode())

    def tell(self, hook: str, *arguments: Any) -> None:
        """Call the method ``hook`` of each that has it. A tracker that fails in training is left out from then on.

        Raises `InputError` for a tracker that can't begin; anything that a callback raises passes.
        """
        for callback in tuple(self._all):
            try:
                if callable(method := getattr(callback, hook, None)):
                    method(*arguments)
            except BaseException as error:
                if isinstance(callback, Tracker) and isinstance(error, Exception):
                    name, reason = f"--report-to {type(callback).__name__.lower()}", foreign_error(error)
                    if hook == "on_fit_start":
                        self._trackers = [other for other in self._trackers if other is not callback]
                        with suppress(Exception):  # it may be half open
                            callback.close(failed=True)
                        hint = "fix it or leave it out, and continue with --resume"
                        raise InputError(f"{name}: cannot begin ({reason}); {hint}") from error
                    logger.warning(f"{name}: left out from here on ({reason})")
                    self._all = tuple(other for other in self._all if other is not callback)
                    continue
                self.error = error
                raise


UNWATCHED = Watch()


def history_line(row: str, record: "training.EpochRecord", **more: bool) -> str:
    """Return the line of an epoch in ``history.jsonl``."""
    return json.dumps({"row": row, **asdict(record), **more}) + "\n"


PROJECT = "dbpt"
"""The project where the tracker needs one; its environment variables, such as ``WANDB_PROJECT``, replace it."""


class Tracker(Callback, ABC):
    """A callback to be closed; ``_open``, ``_log``, ``_finish`` and ``_close`` are each tracker's own."""

    _is_open = False

    def __init__(self, module: Any) -> None:
        self.module = module

    def on_fit_start(self, run: StartedRun) -> None:
        """Begin a run with the name of the folder."""
        self._groups, self._val_groups = (
            {row: _unique(names) for row, names in groups.items()} for groups in (run.groups, run.val_groups)
        )
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in run.settings.items()}
        self._is_open = True  # also if it fails half-way
        self._open(run.folder, settings)

    def on_epoch_end(self, row: str, epoch: int, metrics: dict[str, Any]) -> None:
        """Log the numbers of an epoch, those of groups under their names."""
        values, prefix = dict[str, float](), _plain(row)
        for name, value in metrics.items():
            groups = self._val_groups.get(row, ())[: len(value)] if name == "val_accuracy" else self._groups[row]
            named = zip(groups, value, strict=True) if isinstance(value, list) else [("", value)]
            values |= {f"{prefix}/{name}/{group}".rstrip("/"): figure for group, figure in named if figure is not None}
        self._log(prefix, epoch, values)

    def on_fit_end(self, result: Result) -> None:
        """Log the numbers of the table as ``final/ROW/FIGURE``, then the table and the page."""
        lines, final = result.lines(), dict[str, float]()
        for row, line in zip(result.rows, lines, strict=True):
            varied = varied_in_words(row.record.varied)
            prefix = "/".join(["final", *(_plain(text) for text in (row.method + varied, row.head) if text)])
            figures = {name: value for name, value in line.items() if isinstance(value, int | float)}
            final |= {f"{prefix}/{_plain(name)}": value for name, value in figures.items()}
        page = next(page for name in ("report.html", "compare.html") if (page := result.folder / name).exists())
        self._finish(final, lines, page, result.table())

    def close(self, *, failed: bool) -> None:
        """End the run."""
        if self._is_open:
            self._close(failed)

    @abstractmethod
    def _open(self, folder: Path, settings: dict[str, Any]) -> None: ...

    @abstractmethod
    def _log(self, row: str, epoch: int, values: dict[str, float]) -> None: ...

    @abstractmethod
    def _finish(self, final: dict[str, float], lines: list[dict[str, Any]], page: Path, table: str) -> None: ...

    @abstractmethod
    def _close(self, failed: bool) -> None: ...


class TensorBoard(Tracker):
    """Event files in the run folder: ``tensorboard --logdir runs`` shows every run below ``runs``.

    After a resume, epochs that were shown but not yet in a checkpoint are shown twice.
    """

    def _open(self, folder: Path, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer, self._settings = SummaryWriter(str(folder), flush_secs=5), settings
        self._writer.add_text("settings", _markdown(f"{name} = {value!r}" for name, value in settings.items()))

    def _log(self, row: str, epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)

    def _finish(self, final: dict[str, float], lines: list[dict[str, Any]], page: Path, table: str) -> None:
        self._log("final", 0, final)
        self._writer.add_text("table", _markdown([table]))
        self._writer.add_text("page", str(page.absolute()))  # TensorBoard keeps no files

    def on_fit_end(self, result: Result) -> None:
        """Log the table as every tracker does, and the settings with the figures of the chosen row as hparams."""
        from torch.utils.tensorboard.summary import hparams

        super().on_fit_end(result)
        names = ("worst_group_accuracy", "average_accuracy", "gap")
        figures = {f"hparam/{name}": value for name in names if (value := getattr(result, name)) is not None}
        simple = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self._settings.items()
        }
        # Not `add_hparams`, which writes them into a run of its own, below this one.
        writer: Any = self._writer.file_writer  # declared as None
        for summary in hparams(simple, figures):  # type: ignore[no-untyped-call]
            writer.add_summary(summary)
        self._log("hparam", 0, figures)

    def _close(self, failed: bool) -> None:
        self._writer.close()


class WandB(Tracker):
    """A run of Weights & Biases; its environment variables choose the project and the mode."""

    def _open(self, folder: Path, settings: dict[str, Any]) -> None:
        named = {"project": os.environ.get("WANDB_PROJECT", PROJECT), "name": folder.absolute().name}
        self._run = self.module.init(**named, config=settings, reinit="create_new")
        for row in map(_plain, self._groups):  # each begins at epoch 1 again
            self._run.define_metric(f"{row}/*", step_metric=f"{row}/epoch")

    def _log(self, row: str, epoch: int, values: dict[str, float]) -> None:
        self._run.log({**values, f"{row}/epoch": epoch})

    def _finish(self, final: dict[str, float], lines: list[dict[str, Any]], page: Path, table: str) -> None:
        columns = list(lines[0])
        self._run.log({"table": self.module.Table(columns, [[line[name] for name in columns] for line in lines])})
        self._run.summary.update(final)
        artifact = self.module.Artifact(f"{page.stem}-{self._run.id}", "report")
        artifact.add_file(str(page))
        self._run.log_artifact(artifact)

    def _close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MLflow(Tracker):
    """A run of MLflow, below the active one if there is one; its environment variables choose the server."""

    def _open(self, folder: Path, settings: dict[str, Any]) -> None:
        self.module.start_run(run_name=folder.absolute().name, nested=True)
        self.module.log_params({name: str(value)[:500] for name, value in settings.items()})

    def _log(self, row: str, epoch: int, values: dict[str, float]) -> None:
        self.module.log_metrics(values, step=epoch)

    def _finish(self, final: dict[str, float], lines: list[dict[str, Any]], page: Path, table: str) -> None:
        self.module.log_metrics(final)
        self.module.log_table({name: [line[name] for line in lines] for name in lines[0]}, "table.json")
        self.module.log_artifact(str(page))

    def _close(self, failed: bool) -> None:
        self.module.end_run("FAILED" if failed else "FINISHED")


class Trackio(Tracker):
    """A run of Trackio; ``trackio show`` opens its dashboard."""

    def _open(self, folder: Path, settings: dict[str, Any]) -> None:
        self._run = self.module.init(
            os.environ.get("TRACKIO_PROJECT", PROJECT), name=folder.absolute().name, config=settings, embed=False
        )

    def _log(self, row: str, epoch: int, values: dict[str, float]) -> None:
        self._run.log(values, step=epoch)

    def _finish(self, final: dict[str, float], lines: list[dict[str, Any]], page: Path, table: str) -> None:
        columns = list(lines[0])
        data = [[line[name] for name in columns] for line in lines]
        self._run.log({**final, "table": self.module.Table(columns, data)})
        self._run.log_artifact(str(page), name=page.stem, type="report")

    def _close(self, failed: bool) -> None:
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {each.__name__.lower(): each for each in (TensorBoard, WandB, MLflow, Trackio)}


def trackers_of(names: Sequence[str] | None) -> list[Tracker]:
    """Return the trackers of these names. Raises `InputError` if a package is missing."""
    return [TRACKERS[name](optional_module(name, f"--report-to {name}")) for name in dict.fromkeys(names or ())]


def _plain(name: str) -> str:
    """Return a name as every tracker takes it."""
    return re.sub(r"[^\w. -]", "-", name)[:100]


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names as every tracker takes them, with a number where two would be the same."""
    unique = list[str]()
    for name in map(_plain, names):
        unique.append(f"{name}-{unique.count(name) + 1}" if name in unique else name)
    return unique


def _markdown(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for text in lines for line in text.splitlines())
