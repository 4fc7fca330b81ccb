"""Paths from users and tables: make them absolute or relative to a root, look them up, and list folders."""

import os
import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path

from dbpt.errors import InputError
from dbpt.storage.files import system_errors

NOT_PUBLISHED = "not-the-published-data.txt"
"""The file in a folder that only has a benchmark's layout; its counts aren't compared with the published ones."""


def absolute(path: str | Path) -> Path:
    """Return the absolute path without following links, so that messages show what the user wrote."""
    with system_errors(f"{path}: the working directory cannot be found", "enter another"):
        return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps '..')


def is_normal(path: str) -> bool:
    """Return whether `relative_path` would change nothing; a quick test, since a list may have millions of paths."""
    return bool(path) and "//" not in path and "./" not in path and path[0] != "/" and path[-1] not in "./"


def relative_path(text: str, root: Path, where: str) -> str:
    """Return the path of an image relative to ``root``, normalised. Raises `InputError` if it leaves the root."""
    path = text
    if posixpath.isabs(path):
        below = _below(Path(posixpath.normpath(path)), root)
        if below is None:
            raise InputError(
                f"{where}: path {text!r} is outside the root {root}; choose a root that holds all images (--root)"
            )
        path = below.as_posix()
    path = posixpath.normpath(path) if path else "."
    if path == ".":
        raise InputError(f"{where}: path {text!r} names no file; expected an image, relative to {root}")
    if path == ".." or path.startswith("../"):
        raise InputError(f"{where}: path {text!r} leaves the root {root}; choose a root that holds all images (--root)")
    return path


def is_below(path: str, root: Path) -> bool:
    """Return whether a path is relative, or absolute and below ``root``."""
    return not posixpath.isabs(path) or _below(Path(posixpath.normpath(path)), root) is not None


def common_root(paths: Sequence[str]) -> Path | None:
    """Return the folder that holds all the paths, if each is absolute; else None."""
    try:
        folders = {os.path.dirname(path) for path in paths}  # noqa: PTH120 (as they are written)
        return Path(os.path.commonpath(folders)) if all(map(os.path.isabs, folders)) else None
    except ValueError:  # no path, or on several drives of Windows
        return None


def _below(absolute: Path, root: Path) -> Path | None:
    """Return ``absolute`` relative to ``root``, also through links; None if it is outside."""
    if absolute.is_relative_to(root):
        return absolute.relative_to(root)
    try:
        resolved = root.resolve()
        if not absolute.is_relative_to(resolved):
            absolute = absolute.parent.resolve() / absolute.name
    except (OSError, RuntimeError):  # a loop of links, a name that is too long
        return None
    return absolute.relative_to(resolved) if absolute.is_relative_to(resolved) else None


def list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, sorted by name. Raises `InputError`."""
    with system_errors(f"{folder}: cannot be listed"), os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; False for a circular link."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def find_root(root: Path, folders: Sequence[str], markers: Sequence[str], title: str) -> Path:
    """Return the first of ``root`` and ``root/folder`` that contains one of ``markers``. Errors name ``title``."""
    if not is_folder(root):
        problem = "is a file, not a folder" if is_there(root) else "does not exist"
        raise InputError(f"--root {root} {problem}; {title} needs the folder that holds {markers[0]}")
    if found := look_for_root(root, folders, markers):
        return found
    places = " or ".join(f"{folder}/" for folder in folders)
    raise InputError(f"{root}: no {' or '.join(markers)} here or in {places}, where {title} has it")


def look_for_root(root: Path, folders: Sequence[str], markers: Sequence[str]) -> Path | None:
    """Search as `find_root` does, but return None if nothing is found, since the data may have another layout."""
    return next((folder for folder in (root, *(root / name for name in folders)) if first_of(folder, markers)), None)


def first_of(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of ``names`` that exists in ``folder``."""
    return next((folder / name for name in names if is_there(folder / name)), None)


def is_there(path: Path) -> bool:
    """Return whether a path exists. Raises `InputError` as `is_folder` does."""
    return _mode(path) != 0


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder or a link to one. Raises `InputError` if the system refuses to tell."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file or a link to one. Raises `InputError` as `is_folder` does."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    with system_errors(f"{path}: cannot be accessed"):
        try:
            return os.stat(path).st_mode  # noqa: PTH116 (once an image)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(path):  # noqa: PTH114 (Path.is_symlink raises where os.path answers False)
                raise InputError(f"{path}: is a broken link; fix or delete it") from None
            return 0
