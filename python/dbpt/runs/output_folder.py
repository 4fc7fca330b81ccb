"""The rules of ``--out``, one for all commands that may be interrupted: what they take, continue, replace and refuse.

Such a folder is known by a JSON file, its marker, and holds ``config.toml``. Each file in it is replaced whole. The
marker says ``complete`` only after all others are there. One process at a time holds the folder, by a lock in it.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from dbpt.errors import InputError
from dbpt.files.disk import check_can_create, reason_of, write_atomically, write_json
from dbpt.files.lock import OWNER, OwnedLock
from dbpt.files.typed_json import check_version, read_json, typed
from dbpt.settings.config import FitConfig, make_config, read_config

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
        "average",
    }
)
LOCK = "dbpt.lock"
Status = Literal["training", "complete"]
LEFTOVER = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp")
"""The name of what `write_atomically` leaves where it is killed, and in it that of the file."""


@dataclass(frozen=True)
class Marker:
    """What every marker says; those of the commands say more."""

    schema_version: int
    status: Status


R = TypeVar("R", bound=Marker)


@dataclass(frozen=True)
class OutputFolder(Generic[R]):
    """What the folders of one command hold.

    ``marker`` is the name of the JSON file and ``record`` the dataclass that it is read into.
    ``files`` are the names of all that the command writes besides marker and ``config.toml``; ``subfolders`` says of
    each subfolder whether the command writes a file of some name there. Nothing else is ever deleted.
    ``shared_settings``: whether the settings are those of several trainings.
    """

    title: str
    command: str
    marker: str
    record: type[R]
    schema_version: int
    files: frozenset[str]
    subfolders: Mapping[str, Callable[[str], bool]]
    shared_settings: bool = False

    @contextmanager
    def held(self, folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Create ``folder`` and keep every other process out of it within ``with``; take it away if it stays empty.

        Raises:
            InputError: as `check`; another process holds it; or the disk refuses.
        """
        self.check(folder, resume=resume, overwrite=overwrite)
        created = [place for place in (folder, *folder.absolute().parents) if not os.path.lexists(place)]
        lock = OwnedLock(folder / LOCK, "the folder")
        try:
            _make(folder)
            while not lock.take():
                if os.path.lexists(lock.file):  # else its holder has just ended
                    raise InputError(
                        f"--out {folder}: {lock.owner()} is writing there; wait until it has ended, or choose another "
                        "name"
                    )
            try:
                yield
            finally:
                lock.release()
        finally:
            for place in created:
                with contextlib.suppress(OSError):  # it holds something by now
                    place.rmdir()

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
        own, foreign = self._found(folder)
        if not self._is_one(folder):
            if not foreign and all(LEFTOVER.fullmatch(file.name) for file in own):  # what `start` leaves if killed
                return
            raise InputError(f"--out {folder}: exists and is not a {self.title} folder; choose another name")
        began = any(file.name != self.marker and not LEFTOVER.fullmatch(file.name) for file in own)
        if resume and began and not (folder / "config.toml").is_file():
            raise InputError(
                f"--resume: {folder / 'config.toml'} is not there or not a file, so the settings of this "
                f"{self.title} are unknown; put it back, or start afresh with --overwrite"
            )
        if overwrite and foreign:
            raise InputError(
                f"--out {folder}: holds {str(foreign[0].relative_to(folder))!r}, which is no {self.title}'s; move it "
                "or choose another name"
            )
        if not resume and not overwrite:
            raise InputError(f"--out {folder}: exists; continue it with --resume, replace it with --overwrite")

    def start(
        self, folder: Path, description: dict[str, Any], config: FitConfig, *, resume: bool, overwrite: bool
    ) -> None:
        """Write marker (status ``training``) and ``config.toml`` into the `held` folder, or go on with what is there.

        What the command has written there is dropped unless ``resume``; if it is continued, it keeps its files until
        `finish`. Raises `InputError` as `check`, for what has come since; if it has other settings; or if the disk
        refuses: then a new folder is empty again.
        """
        self.check(folder, resume=resume, overwrite=overwrite)
        is_new = not self._is_one(folder)
        try:
            if resume and not is_new and (folder / "config.toml").is_file():
                if self._check_same_settings(folder, config):
                    self._write_settings(folder, config)
                self._make_subfolders(folder)
                self.remove_leftovers(folder)
                return
            self._clear(folder)
            self._make_subfolders(folder)
            self._mark(folder, "training", description)
            self._write_settings(folder, config)
        except (OSError, InputError) as error:
            if is_new:
                with contextlib.suppress(OSError):
                    self._clear(folder)
            if isinstance(error, InputError):
                raise
            raise _cannot_create(folder, error) from None

    def finish(self, folder: Path, description: dict[str, Any], config: FitConfig) -> None:
        """Say that every file is there."""
        self._write_settings(folder, config)
        self._mark(folder, "complete", description)

    def read_marker(self, folder: Path) -> R:
        """What the marker holds. Raises `InputError` if there is none, or it is not readable or of another version."""
        path = folder / self.marker
        try:
            value = read_json(path, f"record of a {self.title}")
        except InputError:
            if _is_missing(path):
                raise InputError(
                    f"{folder}: not a {self.title} folder (no {self.marker}); give the folder named by --out in "
                    f"{self.command}"
                ) from None
            raise
        check_version(path, value.get("schema_version"), self.schema_version)
        return typed(value, self.record, path, f"{self.command} anew")

    def remove_leftovers(self, folder: Path) -> None:
        """Delete what `write_atomically` left where it was killed."""
        for file in self._found(folder)[0]:
            if LEFTOVER.fullmatch(file.name):
                file.unlink()

    def _make_subfolders(self, folder: Path) -> None:
        for name in self.subfolders:
            (folder / name).mkdir(exist_ok=True)

    def _check_same_settings(self, folder: Path, config: FitConfig) -> bool:
        """Refuse to go on under other settings; other data or weights are told by the checkpoints' fingerprints.

        A lower learning rate may be named as long as a run is not finished, for one that blew up; True if it is. Not
        in a folder of ``shared_settings``, where what is finished had the old one.
        """
        before, asked = self._as_written(make_config(read_config(folder / "config.toml"))), self._as_written(config)
        lr_may_fall = not self.shared_settings and self.read_marker(folder).status == "training"
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
        """Whether the marker is there, and not another program's. Raises `InputError` if that can't be known."""
        path = folder / self.marker
        if _is_missing(path):
            return False
        value = read_json(path, f"record of a {self.title}")
        if "schema_version" not in value or not {field.name for field in fields(self.record)} <= value.keys():
            return False
        check_version(path, value["schema_version"], self.schema_version)
        return True

    def _found(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The files with a name of the command's, settings and marker last; and all else in ``folder`` but the lock.

        No link to a folder is followed: what is there is not the command's.
        """
        own: list[Path] = []
        foreign: list[Path] = []
        top = {self.marker, "config.toml", *self.files}
        below = ((folder / name, ours) for name, ours in self.subfolders.items())
        subfolders = {place: ours for place, ours in below if not os.path.islink(place)}  # noqa: PTH114 (raises nothing)
        places = {folder: top.__contains__, **subfolders}
        for place, is_ours in places.items():
            for entry in _entries(folder, place):
                leftover = LEFTOVER.fullmatch(entry.name)
                if is_ours(leftover[1] if leftover else entry.name) and not entry.is_dir():
                    own.append(entry)
                elif not (entry in places and entry.is_dir()) and entry.name not in (LOCK, LOCK + OWNER):
                    foreign.append(entry)
        last = (folder / "config.toml", folder / self.marker)
        return sorted(own, key=lambda file: last.index(file) if file in last else -1), foreign

    def _clear(self, folder: Path) -> None:
        """Delete what the command has written, so that after a kill the folder is still known."""
        for file in self._found(folder)[0]:
            file.unlink()
        for name in self.subfolders:
            with contextlib.suppress(OSError):  # it holds what is not ours, or is a link
                (folder / name).rmdir()


def _entries(folder: Path, place: Path) -> list[Path]:
    """What a folder, or a subfolder of it, holds."""
    try:
        return sorted(place.iterdir()) if place.is_dir() else []
    except OSError as error:
        raise InputError(f"--out {folder}: cannot read: {reason_of(error)}") from None


def _is_missing(path: Path) -> bool:
    """Whether the folder is known to hold no such name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_create(folder, error) from None


def _cannot_create(folder: Path, error: OSError) -> InputError:
    return InputError(f"--out {folder}: cannot create: {error.strerror}; free space or choose another folder")
