"""Listing folders, and finding a known data set's own folder, given that folder or its parent."""

import os
from collections.abc import Sequence
from pathlib import Path

from dbpt.errors import InputError


def list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, by name. Raises `InputError` if it can't be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror or error})") from None


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
    if not os.path.isdir(root):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        problem = "is a file, not a folder" if os.path.exists(root) else "does not exist"  # noqa: PTH110
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
    paths = (os.path.join(folder, name) for name in names)  # noqa: PTH118 (as above)
    return next((Path(path) for path in paths if os.path.exists(path)), None)  # noqa: PTH110
