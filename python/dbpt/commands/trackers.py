"""``--report-to``: adapters from callbacks to TensorBoard, Weights & Biases, MLflow and Trackio.

Each logs the numbers of history.jsonl by row and group, at the end the table and the page. A resumed run continues in
the event files of TensorBoard, and is a new run elsewhere.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dbpt.commands.callbacks import StartedRun, Tracker
from dbpt.commands.result import Result
from dbpt.errors import optional_module
from dbpt.settings.fields import varied_in_words

PROJECT = "dbpt"
"""The project where the tracker needs one; its environment variables, such as ``WANDB_PROJECT``, replace it."""


class _Adapter(Tracker, ABC):
    """The common part; ``_open``, ``_log``, ``_finish`` and ``_close`` are each tracker's own."""

    _is_open = False

    def __init__(self, module: Any) -> None:
        self.module = module

    def on_fit_start(self, run: StartedRun) -> None:
        """Begin a run with the name of the folder."""
        self._groups = {row: _unique(names) for row, names in run.groups.items()}
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in run.settings.items()}
        self._is_open = True  # also if it fails half-way
        self._open(run.folder, settings)

    def on_epoch_end(self, row: str, epoch: int, metrics: dict[str, Any]) -> None:
        """Log the numbers of an epoch, those of groups under their names."""
        values, place = dict[str, float](), _plain(row)
        for name, value in metrics.items():
            named = zip(self._groups[row], value, strict=True) if isinstance(value, list) else [("", value)]
            values |= {f"{place}/{name}/{group}".rstrip("/"): each for group, each in named if each is not None}
        self._log(place, epoch, values)

    def on_fit_end(self, result: Result) -> None:
        """Log the numbers of the table as ``final/ROW/FIGURE``, then the table and the page."""
        lines, final = result.lines(), dict[str, float]()
        for row, line in zip(result.rows, lines, strict=True):
            varied = varied_in_words(getattr(row.record, "varied", {}))
            place = "/".join(["final", *(_plain(text) for text in (row.method + varied, row.head) if text)])
            figures = {name: value for name, value in line.items() if isinstance(value, int | float)}
            final |= {f"{place}/{_plain(name)}": value for name, value in figures.items()}
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


class TensorBoard(_Adapter):
    """Event files in the run folder: ``tensorboard --logdir runs`` shows every run below ``runs``.

    After a resume, epochs that were shown but not yet in a checkpoint are shown twice.
    """

    def _open(self, folder: Path, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), flush_secs=5)
        self._writer.add_text("settings", _markdown(f"{name} = {value!r}" for name, value in settings.items()))

    def _log(self, row: str, epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)

    def _finish(self, final: dict[str, float], lines: list[dict[str, Any]], page: Path, table: str) -> None:
        self._log("final", 0, final)
        self._writer.add_text("table", _markdown([table]))
        self._writer.add_text("page", str(page.absolute()))  # TensorBoard keeps no files

    def _close(self, failed: bool) -> None:
        self._writer.close()


class WandB(_Adapter):
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


class MLflow(_Adapter):
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


class Trackio(_Adapter):
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


TRACKERS: dict[str, type[_Adapter]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}


def trackers_of(names: Sequence[str] | None) -> list[Tracker]:
    """Return the trackers of these names. Raises `InputError` if a package is missing."""
    return [TRACKERS[name](optional_module(name, f"--report-to {name}", name)) for name in dict.fromkeys(names or ())]


def _plain(name: str) -> str:
    """Return a name as every tracker takes it."""
    return re.sub(r"[^\w. -]", "-", name)[:100]


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names as every tracker takes them, with a number where two would be the same."""
    found = list[str]()
    for name in map(_plain, names):
        found.append(f"{name}-{found.count(name) + 1}" if name in found else name)
    return found


def _markdown(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for text in lines for line in text.splitlines())
