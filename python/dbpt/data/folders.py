"""Listing folders, and finding a known data set's own folder, given that folder or its parent."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from dbpt.errors import InputError
from dbpt.files.disk import reason_of


def absolute(path: str | Path) -> Path:
    """Return the path from the root on, without following links, so that messages show what the user wrote.

    Raises:
        InputError: the path is relative, and the working directory is gone.
    """
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps '..')
    except OSError as error:
        raise InputError(f"{path}: the working directory cannot be found ({reason_of(error)}); enter another") from None


def list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, by name. Raises `InputError` if it can't be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({reason_of(error)})") from None


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link that leads in circles is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def find_root(root: Path, folders: Sequence[str], markers: Sequence[str], title: str) -> Path:
    """Return the first of ``root`` and ``root/folder`` that holds one of ``markers``.

    Args:
        root: what the user gave.
        folders: the names that the data set's folder goes by.
        markers: files or folders, one of which shows that this is it.
        title: the data set's name, for messages.

    Raises:
        InputError: the root is missing, or no marker is there; says what is expected, and where.
    """
    if not is_folder(root):
        problem = "is a file, not a folder" if is_there(root) else "does not exist"
        raise InputError(f"--root {root} {problem}; {title} needs the folder that holds {markers[0]}")
    if found := look_for_root(root, folders, markers):
        return found
    places = " or ".join(f"{folder}/" for folder in folders)
    raise InputError(f"{root}: no {' or '.join(markers)} here or in {places}, where {title} has it")


def look_for_root(root: Path, folders: Sequence[str], markers: Sequence[str]) -> Path | None:
    """Search as `find_root` does, but return None where nothing is found: the data may have another layout."""
    for candidate in (root, *(root / folder for folder in folders)):
        if first_of(candidate, markers):
            return candidate
    return None


def first_of(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of ``names`` that is in ``folder``."""
    return next((folder / name for name in names if is_there(folder / name)), None)


def is_there(path: Path) -> bool:
    """Return whether a path leads to something. Raises `InputError` as `is_folder` does."""
    return _mode(path) != 0


def is_folder(path: Path) -> bool:
    """Return whether a path leads to a folder.

    Raises:
        InputError: the system doesn't let us look, or can't follow the path: that is no sign that nothing is there.
    """
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Return whether a path leads to a regular file. Raises `InputError` as `is_folder` does."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (once an image)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):  # noqa: PTH114 (Path.is_link raises where os.path answers False)
            raise InputError(f"{path}: is a link to nothing; mend or delete it") from None
        return 0
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: cannot be looked at ({reason_of(error)})") from None
