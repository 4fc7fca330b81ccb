"""Callbacks of `fit` and `compare`, and history.jsonl, which grows line by line as training goes."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dbpt.commands.result import Result
from dbpt.errors import InputError, foreign_error
from dbpt.settings.config import FitConfig
from dbpt.storage.files import system_errors, write_atomically
from dbpt.training import EpochRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartedRun:
    """The run or comparison that begins, for `Callback.on_fit_start`.

    Attributes:
        folder: that of the run or comparison.
        settings: the settings by name, without those that are None.
        groups: the names of the groups of each row that is trained, by the name of the row. The lists in the metrics
            of an epoch have a value for each.
    """

    folder: Path
    settings: dict[str, Any]
    groups: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, folder: Path, config: FitConfig, groups: Mapping[str, Sequence[str]]) -> "StartedRun":
        """Return it for the settings ``config``."""
        settings = {each.name: value for each in fields(config) if (value := getattr(config, each.name)) is not None}
        return cls(folder, settings, {row: tuple(names) for row, names in groups.items()})


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


class Tracker(Callback):
    """A callback that has something to close."""

    def close(self, *, failed: bool) -> None:
        """Close it, at the end or after an error."""


HOOKS = ("on_fit_start", "on_epoch_end", "on_fit_end")


class Watch:
    """Calls ``callbacks`` and ``trackers``, and appends each epoch to the file ``history``, if there is one.

    `error` is the exception of a callback, None if none raised.
    """

    def __init__(
        self, callbacks: Sequence[object] = (), trackers: Sequence[Tracker] = (), history: Path | None = None
    ) -> None:
        expected = f"expected a list of objects with any of the methods {', '.join(HOOKS)}"
        if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
            raise InputError(f"callbacks: found {callbacks!r:.200}; {expected}")
        for each in callbacks:
            if isinstance(each, type) or not any(callable(getattr(each, hook, None)) for hook in HOOKS):
                raise InputError(f"callbacks: found {each!r:.200}; {expected}")
        self._trackers, self._all, self.history = trackers, (*callbacks, *trackers), history
        self._restored: list[str] | None = []  # lines of epochs from checkpoints, until the file is cut back to them
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

    def restored(self, row: str, records: Sequence[EpochRecord]) -> None:
        """Note the epochs that the checkpoint of ``row`` has."""
        lines = [history_line(row, record) for record in records if self.history is not None]
        if self._restored is not None:
            self._restored += lines
        elif self.history is not None:
            _append(self.history, "".join(lines))

    def epoch(self, row: str, record: EpochRecord) -> None:
        """Write a new epoch of ``row`` and tell it the callbacks."""
        if self.history is not None:
            if self._restored is not None:
                # Only here, so that resuming a finished run leaves its file alone.
                write_atomically(self.history, "".join(self._restored))
                self._restored = None
            _append(self.history, history_line(row, record))
        metrics = asdict(record)
        self.tell("on_epoch_end", row, metrics.pop("epoch"), metrics)

    def tell(self, hook: str, *arguments: Any) -> None:
        """Call the method ``hook`` of each that has it. A tracker that fails in training is left out from then on."""
        for each in tuple(self._all):
            try:
                if callable(method := getattr(each, hook, None)):
                    method(*arguments)
            except BaseException as error:
                if isinstance(each, Tracker) and isinstance(error, Exception) and hook != HOOKS[0]:
                    logger.warning(
                        f"--report-to {type(each).__name__.lower()}: left out from here on ({foreign_error(error)})"
                    )
                    self._all = tuple(other for other in self._all if other is not each)
                    continue
                self.error = error
                raise


def _title(tracker: Tracker) -> str:
    return type(tracker).__name__.lower()


UNWATCHED = Watch()


def _append(path: Path, text: str) -> None:
    """Append to a file that exists. Raises `InputError` if that fails; the file then stays as it was."""
    with system_errors(f"{path}: cannot write", "free space or choose another folder"):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            end, rest = os.fstat(handle).st_size, memoryview(text.encode())
            try:
                while rest:
                    rest = rest[os.write(handle, rest) :]
            except OSError:
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)


def history_line(row: str, record: EpochRecord, **more: bool) -> str:
    """Return the line of an epoch in ``history.jsonl``."""
    return json.dumps({"row": row, **asdict(record), **more}) + "\n"
