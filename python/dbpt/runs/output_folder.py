"""The rules of ``--out`` for commands that may be interrupted: when to create, continue, replace or refuse a folder.

A JSON file, the marker, identifies such a folder, which also has ``config.toml``. Files are replaced atomically. The
marker says ``complete`` only after all other files exist. A lock in the folder admits one process at a time.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from dbpt.data import DATASETS
from dbpt.data.layouts.webdataset import is_pattern_of_shards
from dbpt.data.paths import use_of_folder
from dbpt.errors import InputError
from dbpt.settings.config import PATHS, FitConfig, make_config, read_config
from dbpt.settings.fields import Command
from dbpt.storage.files import (
    check_can_create,
    check_version,
    is_missing,
    nearest_file,
    system_errors,
    write_atomically,
    write_json,
)
from dbpt.storage.locks import OWNER, OwnedLock
from dbpt.storage.typed_json import read_json, typed

LOCK = "dbpt.lock"
LEFTOVER = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp")
"""The name of the file that `write_atomically` leaves if it is killed; it holds the name of the file it was to be."""


@dataclass(frozen=True)
class Marker:
    """The entries of every marker; each command adds its own.

    ``paths`` are those of the settings that name files, relative to the folder.
    """

    schema_version: int
    status: Literal["training", "complete"]
    paths: dict[str, str] = field(default_factory=dict, kw_only=True)


R = TypeVar("R", bound=Marker)
FREE_SPACE = "free space or choose another folder"
EVENTS = "events.out.tfevents."
"""The beginning of the names of TensorBoard's files."""
OF_OPEN_CLIP = ("model", "pretrained", "tokenizer", "label_model", "label_pretrained")
"""The settings that may be a name of open_clip instead of a file; the backbone of a run knows its files."""
FIGURES = "figures"
"""The subfolder of charts as files."""


def figures_named(*names: str) -> Callable[[str], bool]:
    """Return the test of the subfolder FIGURES: whether a file is a chart, as SVG or PNG, of one of the patterns."""
    pattern = re.compile(rf"(?:{'|'.join(names)})\.(?:svg|png)")
    return lambda name: pattern.fullmatch(name) is not None


@dataclass(frozen=True)
class OutputFolder(Generic[R]):
    """The folders of one command, identified by the JSON file ``marker``, which is read into a ``record``.

    Only files whose names pass ``is_file``, or the test of their subfolder, are ever deleted. With
    ``shared_settings``, several trainings resolve their own defaults.
    """

    title: str
    verb: str
    marker: str
    record: type[R]
    schema_version: int
    is_file: Callable[[str], bool]
    subfolders: Mapping[str, Callable[[str], bool]]
    shared_settings: bool = False
    can_resume: bool = True

    @property
    def a_title(self) -> str:
        """The title with its article."""
        return f"{'an' if self.title[0] in 'aeiou' else 'a'} {self.title}"

    @contextlib.contextmanager
    def held(self, folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """Create ``folder`` and keep other processes out of it within ``with``; remove it if it stays empty."""
        self.check(folder, resume=resume, overwrite=overwrite)
        # Noted before they exist, so that only folders made here are removed.
        created = [path for path in (folder, *folder.absolute().parents) if not os.path.lexists(path)]
        lock = OwnedLock(folder / LOCK, "the folder")
        try:
            with system_errors(f"--out {folder}: cannot create", FREE_SPACE):
                folder.mkdir(parents=True, exist_ok=True)
            while not lock.take():
                if os.path.lexists(lock.file):  # else its holder has just ended
                    hint = "wait until it has ended, or choose another name"
                    raise InputError(f"--out {folder}: {lock.owner()} is writing there; {hint}")
            try:
                yield
            finally:
                lock.release()
        finally:
            for path in created:
                with contextlib.suppress(OSError):  # it holds something by now
                    path.rmdir()

    def check(self, folder: Path, *, resume: bool, overwrite: bool) -> None:
        """Refuse an existing ``folder`` without ``resume`` or ``overwrite``, or one with other content."""
        if resume and overwrite:
            raise InputError("--resume and --overwrite: choose one")
        if not os.path.lexists(folder):  # Path.exists raises on a name that is too long
            check_can_create(folder)
            return
        if not folder.is_dir():
            raise InputError(f"--out {folder}: exists and is not a folder; choose another name")
        own, foreign = self._files(folder)
        if not self._is_one(folder, older=overwrite):
            if not foreign and all(LEFTOVER.fullmatch(file.name) for file in own):  # what `start` leaves if killed
                return
            raise InputError(f"--out {folder}: exists and is not {self.a_title} folder; choose another name")
        began = any(file.name != self.marker and not LEFTOVER.fullmatch(file.name) for file in own)
        if resume and began and not (folder / "config.toml").is_file():
            problem = f"{folder / 'config.toml'} is not there or not a file, so the settings of this {self.title} are"
            raise InputError(f"--resume: {problem} unknown; put it back, or start again with --overwrite")
        if overwrite and foreign:
            problem = f"holds {str(foreign[0].relative_to(folder))!r}, which doesn't belong to {self.a_title}"
            raise InputError(f"--out {folder}: {problem}; move it or choose another name")
        if not resume and not overwrite:
            continued = "continue it with --resume, " if self.can_resume else ""
            raise InputError(f"--out {folder}: exists; {continued}replace it with --overwrite")

    def start(
        self, folder: Path, description: dict[str, Any], config: FitConfig, *, resume: bool, overwrite: bool
    ) -> None:
        """Write the marker (status ``training``) and ``config.toml`` into the `held` folder, or continue the run.

        Args:
            folder: the folder of `held`.
            description: the other entries of the marker.
            config: the settings.
            resume: continue the run that is there.
            overwrite: replace it.

        Raises:
            InputError: as `check` does, and for other settings than those in the folder. A new folder is empty again.
        """
        self.check(folder, resume=resume, overwrite=overwrite)
        is_new = not self._is_one(folder, older=overwrite)
        try:
            if resume and self.has_settings(folder):
                if self.check_settings(folder, config):
                    self._write_settings(folder, config)
                if self.shared_settings:  # the plan may have grown; whoever continues it after a kill needs all of it
                    self._mark(folder, "training", description, config)
                self._make_subfolders(folder)
                self.remove_leftovers(folder)
            else:
                self._clear(folder)
                self._make_subfolders(folder)
                self._mark(folder, "training", description, config)
                self._write_settings(folder, config)
        except BaseException:
            if is_new:
                with contextlib.suppress(OSError):
                    self._clear(folder)
            with system_errors(f"--out {folder}: cannot create", FREE_SPACE):
                raise

    def finish(self, folder: Path, description: dict[str, Any], config: FitConfig) -> None:
        """Write the settings again, then the marker with status ``complete``."""
        self._write_settings(folder, config)
        # The marker last: a run that is killed before counts as unfinished.
        self._mark(folder, "complete", description, config)

    def read_marker(self, folder: Path) -> R:
        """Read the marker. Raises `InputError` if it is missing, damaged or of another version."""
        path = folder / self.marker
        if is_missing(path):
            wrong = f"not {self.a_title} folder (no {self.marker})" if os.path.lexists(folder) else "no such folder"
            problem = f"{folder}: {wrong}"
            with contextlib.suppress(OSError):
                if inside := sorted(folder.glob(f"*/{self.marker}")):
                    raise InputError(f"{problem}, but it holds {len(inside)}; give one, such as {inside[0].parent}")
            use = use_of_folder(folder)
            meant = nearest_file(folder) if use is None else f", but that of {use}"
            raise InputError(f"{problem}{meant}; give the folder named by --out in dbpt {self.verb}")
        value = read_json(path, f"record of {self.a_title}", self.schema_version)
        return typed(value, self.record, path, f"dbpt {self.verb} again")

    def remove_leftovers(self, folder: Path) -> None:
        """Delete the temporary files of killed processes."""
        for file in self._files(folder)[0]:
            if LEFTOVER.fullmatch(file.name):
                file.unlink()

    def _make_subfolders(self, folder: Path) -> None:
        for name in self.subfolders:
            (folder / name).mkdir(exist_ok=True)

    def has_settings(self, folder: Path) -> bool:
        """Return whether ``folder`` has what can be continued."""
        return self._is_one(folder) and (folder / "config.toml").is_file()

    def check_settings(self, folder: Path, config: FitConfig) -> bool:
        """Refuse to continue with other settings; return whether the learning rate is lower, which is allowed."""
        before, asked = self.read_settings(folder), config
        if not self.shared_settings:
            before, asked = before.resolved(), asked.resolved()
        # for a run that diverged; in a folder of shared settings, finished trainings had the old rate
        lr_may_fall = not self.shared_settings and self.read_marker(folder).status == "training"
        lowered = lr_may_fall and config.lr is not None and config.lr < before.peak_lr
        for name in sorted(setting.name for setting in fields(config) if setting.metadata["identity"]):
            old, new = getattr(before, name), getattr(asked, name)
            if old != new and not (name == "lr" and lowered):
                lower = ", or a lower --lr while it is not finished" if name == "lr" and lr_may_fall else ""
                way_on = Command(self.verb, arguments={"resume": True, "out": folder})
                hint = f"use the same settings ({way_on} takes them){lower}, or start again with --overwrite"
                raise InputError(f"--resume: {folder} was started with {name} = {old!r}, found {new!r}; {hint}")
        return lowered

    def _write_settings(self, folder: Path, config: FitConfig) -> None:
        written = config if self.shared_settings else config.resolved()
        write_atomically(folder / "config.toml", written.to_toml())

    def _mark(self, folder: Path, status: str, description: dict[str, Any], config: FitConfig) -> None:
        entries = {"schema_version": self.schema_version, "status": status, **description}
        if self.can_resume:  # others are not read again
            named = {name: path for name in PATHS if names_files(name, path := getattr(config, name))}
            entries["paths"] = {
                name: path_from(folder, path)
                for name, path in named.items()
                if name not in OF_OPEN_CLIP or not os.path.isabs(path)  # noqa: PTH117
            }
        write_json(folder / self.marker, entries)

    def _is_one(self, folder: Path, *, older: bool = False) -> bool:
        """Return whether there is a marker of this program, perhaps of an ``older`` version, to be replaced.

        Raises `InputError` if it can't be read.
        """
        path = folder / self.marker
        if is_missing(path):
            return False
        value = read_json(path, f"record of {self.a_title}")
        if (
            "schema_version" not in value
            or not {entry.name for entry in fields(self.record) if entry.default_factory is MISSING} <= value.keys()
        ):
            return False
        version = value["schema_version"]
        if not (older and type(version) is int and 0 < version < self.schema_version):
            check_version(path, version, self.schema_version)
        return True

    def _files(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Return the command's own files, the marker last, and all others except the lock. Doesn't follow links."""
        own, foreign, settings, marker = list[Path](), list[Path](), folder / "config.toml", folder / self.marker
        folders = {folder: lambda name: name in (self.marker, "config.toml") or self.is_file(name)}
        for name, is_ours in self.subfolders.items():
            if not os.path.islink(folder / name):  # noqa: PTH114 (raises nothing)
                folders[folder / name] = is_ours
        for inside, is_ours in folders.items():
            with system_errors(f"--out {folder}: cannot read"):
                entries = sorted(inside.iterdir()) if inside.is_dir() else []
            for entry in entries:
                leftover = LEFTOVER.fullmatch(entry.name)
                if is_ours(leftover[1] if leftover else entry.name) and not entry.is_dir():
                    own.append(entry)
                elif not (entry in folders and entry.is_dir()) and entry.name not in (LOCK, LOCK + OWNER):
                    foreign.append(entry)
        # The order in which `_clear` deletes them: as long as the marker is there, the folder is known as ours.
        return sorted(own, key=lambda file: (file == marker, file == settings)), foreign

    def _clear(self, folder: Path) -> None:
        """Delete the command's files, the marker last, so that an interrupted deletion can be repeated."""
        for file in self._files(folder)[0]:
            file.unlink()
        for name in self.subfolders:
            with contextlib.suppress(OSError):  # it holds what is not ours, or is a link
                (folder / name).rmdir()

    def read_settings(self, folder: Path) -> FitConfig:
        """Return the settings in ``config.toml``. Raises `InputError` as `written_settings` does."""
        return make_config(self.written_settings(folder))

    def written_settings(self, folder: Path) -> dict[str, Any]:
        """Return the entries of ``config.toml``; relative paths lead from the folder, which may move with its data.

        A file of the same name below today's working directory is another one. A cache that is in neither place stays
        where it was, and an absolute path as long as something is there. Raises `InputError` if the file can't be read
        or is incomplete.
        """
        path = folder / "config.toml"
        settings = read_config(path)
        for name in ("data", "baselines"):  # two that are always written, at the beginning and at the end
            if name not in settings:
                raise InputError(f"{path}: lacks {name}; the file was changed, fit again")
        paths = self.read_marker(folder).paths
        for name in paths.keys() & PATHS:
            present = os.path.normpath(folder / paths[name])
            written = settings.get(name) or ""  # somebody may have written another one there
            is_same = os.path.abspath(written) == os.path.abspath(present)  # noqa: PTH100
            is_absolute = os.path.isabs(written)  # noqa: PTH117
            is_kept = is_same or (is_absolute and names_files(name, written))
            is_other = Path(written).name != Path(present).name
            if not is_kept and not is_other and (names_files(name, present) or not (is_absolute or name == "cache")):
                settings[name] = present
        return settings


def names_files(name: str, value: str | None) -> bool:
    """Return whether the setting ``name`` has the path of a file or folder that is there, and not another name."""
    if value is None or (name == "data" and is_known_name(value)):
        return False
    if name == "data" and is_pattern_of_shards(value):
        value = os.path.dirname(value) or "."  # noqa: PTH120
    return os.path.isfile(value) if name in OF_OPEN_CLIP else os.path.exists(value)  # noqa: PTH110, PTH113 (long names)


def path_from(folder: Path, path: str) -> str:
    """Return the path relative to ``folder``; on another drive of Windows the absolute one."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return os.path.abspath(path)  # noqa: PTH100


def refuse_missing_data(data: str, folder: str | Path, option: str = "DATA") -> None:
    """Refuse the path of a run's data if nothing is there; ``option`` names the present one."""
    if is_missing_data(data):
        raise InputError(f"{data}: does not exist; {folder} was made with it, so give its present path as {option}")


def is_missing_data(data: str) -> bool:
    """Return whether ``data`` is a path, and nothing is there."""
    return not (is_known_name(data) or is_pattern_of_shards(data) or os.path.lexists(data))


def is_known_name(data: str) -> bool:
    """Return whether ``data`` is the name of a known data set or of a demo, not a path."""
    return data in DATASETS or re.fullmatch(r"demo(-[a-z]+)?", data) is not None
