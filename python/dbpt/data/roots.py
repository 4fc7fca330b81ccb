"""Finding a known data set's own folder, given that folder or its parent."""

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
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise InputError(f"root {root} {problem}; {title} needs the folder that holds {markers[0]}")
    for candidate in (root, *(root / folder for folder in folders)):
        if any((candidate / marker).exists() for marker in markers):
            return candidate
    raise InputError(f"{root}: no {' or '.join(markers)} here or in {' or '.join(folders)}/, where {title} has it")
