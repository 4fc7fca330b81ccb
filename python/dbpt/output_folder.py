"""The rules of ``--out``, one for all commands that may be interrupted: what they take, continue, replace and refuse.

Such a folder is known by a JSON file, its marker, and holds ``config.toml``. Each file in it is replaced whole. The
marker says ``complete`` only after all others are there.
"""

import json
import os
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dbpt.config import FitConfig, make_config, read_config
from dbpt.errors import InputError
from dbpt.files import check_can_create, write_atomically, write_json

# Where things lie, and what no checkpoint depends on but by the rows, labels and features found there.
MAY_CHANGE = frozenset(
    {
        "data",
        "root",
        "columns",
        "embeddings",
        "cache",
        "model",
        "pretrained",
        "tokenizer",
        "device",
        "max_failures",
        "baselines",
    }
)


@dataclass(frozen=True)
class OutputFolder:
    """What the folders of one command hold.

    ``marker`` is the name of the JSON file and ``key`` one of its keys, by which it is told from another program's.
    ``files`` are the names of all that may stand in it besides marker, ``config.toml`` and ``subfolders``.
    ``shared_settings``: whether the settings are those of several trainings.
    """

    title: str
    command: str
    marker: str
    key: str
    schema_version: int
    files: frozenset[str]
    subfolders: tuple[str, ...]
    shared_settings: bool = False

    def check(self, folder: Path, *, resume: bool, overwrite: bool) -> None:
        """Check that ``folder`` may become, or go on being, such a folder. Changes nothing.

        Raises:
            InputError: it exists and neither ``resume`` nor ``overwrite`` was said, or it holds something else.
        """
        if resume and overwrite:
            raise InputError("--resume and --overwrite: choose one")
        if not os.path.lexists(folder):  # Path.exists raises on a name that is too long
            check_can_create(folder)
            return
        if not folder.is_dir():
            raise InputError(f"--out {folder}: exists and is not a folder; choose another name")
        if not self._is_one(folder):
            if self._never_started(folder):
                return
            raise InputError(f"--out {folder}: exists and is not a {self.title} folder; choose another name")
        replaces = overwrite or not (folder / "config.toml").is_file()
        if (resume or overwrite) and replaces and (foreign := self._foreign(folder)):
            raise InputError(
                f"--out {folder}: holds {foreign[0].name!r}, which is no {self.title}'s; move it or choose another name"
            )
        if not resume and not overwrite:
            raise InputError(f"--out {folder}: exists; continue it with --resume, replace it with --overwrite")

    def start(self, folder: Path, description: dict[str, Any], config: FitConfig, *, resume: bool) -> None:
        """Create the folder with its marker (status ``training``) and ``config.toml``, or go on with what is there.

        What stands there is dropped unless ``resume``; if it is continued, it keeps its files until `finish`.
        Raises `InputError` if it has other settings, or if the disk refuses; then a new folder is taken away again.
        """
        is_new = not os.path.lexists(folder)
        try:
            if resume and not is_new and (folder / "config.toml").is_file():
                if self._check_same_settings(folder, config):
                    self._write_settings(folder, config)
                self._make_subfolders(folder)
                self.remove_leftovers(folder)
                return
            if not is_new:
                self._clear(folder)
            self._make_subfolders(folder)
            self._mark(folder, "training", description)
            self._write_settings(folder, config)
        except (OSError, InputError) as error:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"--out {folder}: cannot create: {error.strerror}; free space or choose another folder"
            ) from None

    def finish(self, folder: Path, description: dict[str, Any], config: FitConfig) -> None:
        """Say that every file is there."""
        self._write_settings(folder, config)
        self._mark(folder, "complete", description)

    def read_marker(self, folder: Path) -> dict[str, Any]:
        """What the marker holds. Raises `InputError` if there is none, or it is not readable or of another version."""
        path = folder / self.marker
        if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises on a name that is too long)
            raise InputError(
                f"{folder}: not a {self.title} folder (no {self.marker}); give the folder named by --out in "
                f"{self.command}"
            )
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: not readable as JSON ({error})") from None
        if not isinstance(description, dict) or description.get("schema_version") != self.schema_version:
            raise InputError(f"{path}: not of schema version {self.schema_version}, which this version of dbpt reads")
        return description

    def remove_leftovers(self, folder: Path) -> None:
        """Delete what `write_atomically` left where it was killed."""
        for place in (folder, *(folder / name for name in self.subfolders)):
            for entry in place.iterdir():
                if _is_leftover(entry):
                    entry.unlink()

    def _make_subfolders(self, folder: Path) -> None:
        for name in self.subfolders:
            (folder / name).mkdir(parents=True, exist_ok=True)

    def _check_same_settings(self, folder: Path, config: FitConfig) -> bool:
        """Refuse to go on under other settings; other data or weights are told by the checkpoints' fingerprints.

        A lower learning rate may be named as long as a run is not finished, for one that blew up; True if it is. Not
        in a folder of ``shared_settings``, where what is finished had the old one.
        """
        before, asked = self._as_written(make_config(read_config(folder / "config.toml"))), self._as_written(config)
        lr_may_fall = not self.shared_settings and self.read_marker(folder).get("status") == "training"
        lowered = lr_may_fall and config.lr is not None and config.lr < before.peak_lr
        for name in sorted(setting.name for setting in fields(config) if setting.name not in MAY_CHANGE):
            old, new = getattr(before, name), getattr(asked, name)
            if old != new and not (name == "lr" and lowered):
                lower = ", or a lower --lr while it is not finished" if name == "lr" and lr_may_fall else ""
                raise InputError(
                    f"--resume: {folder} was started with {name} = {old!r}, found {new!r}; use the same "
                    f"settings{lower}, or start afresh with --overwrite"
                )
        return lowered

    def _as_written(self, config: FitConfig) -> FitConfig:
        """Resolved, but where several trainings share them: each has its own defaults, such as the learning rate."""
        return config if self.shared_settings else config.resolved()

    def _write_settings(self, folder: Path, config: FitConfig) -> None:
        write_atomically(folder / "config.toml", self._as_written(config).to_toml())

    def _mark(self, folder: Path, status: str, description: dict[str, Any]) -> None:
        write_json(folder / self.marker, {"schema_version": self.schema_version, "status": status, **description})

    def _is_one(self, folder: Path) -> bool:
        try:
            return self.key in self.read_marker(folder)
        except InputError:
            return False

    def _foreign(self, folder: Path) -> list[Path]:
        """What the command has not written: `_clear` must not take it."""
        known = {self.marker, "config.toml", *self.files, *self.subfolders}
        return sorted(entry for entry in folder.iterdir() if entry.name not in known and not _is_leftover(entry))

    def _never_started(self, folder: Path) -> bool:
        """Whether the folder is empty but for what `start` leaves if it is killed."""
        rest = [entry for entry in folder.iterdir() if not _is_leftover(entry)]
        return all(entry.name in self.subfolders and entry.is_dir() and not any(entry.iterdir()) for entry in rest)

    def _clear(self, folder: Path) -> None:
        """Drop what stands in the folder, the marker last, so that after a kill it is still known."""
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == self.marker):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _is_leftover(entry: Path) -> bool:
    """Whether `write_atomically` was killed while it wrote this file."""
    return entry.name.startswith(".") and entry.name.endswith(".tmp")
