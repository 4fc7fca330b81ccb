"""Finding a known data set's own folder, given that folder or its parent."""

import os
from collections.abc import Sequence
from pathlib import Path

from dbpt.errors import InputError


def find_root(root: Path, folders: Sequence[str], markers: Sequence[str], title: str) -> Path:
    """The first of ``root`` and ``root/folder`` that holds one of ``markers``.

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
    for candidate in (root, *(root / folder for folder in folders)):
        if any((candidate / marker).exists() for marker in markers):
            return candidate
    places = " or ".join(f"{folder}/" for folder in folders)
    raise InputError(f"{root}: no {' or '.join(markers)} here or in {places}, where {title} has it")
