"""Images that stand in folders which say what is on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from dbpt.errors import InputError

Code = TypeVar("Code")


def list_folders(images: Path, folders: Mapping[str, Code], title: str) -> tuple[list[str], list[Code]]:
    """The ``*.jpg`` of each folder, sorted (a file system's own order differs between machines), and its code.

    Raises:
        InputError: a folder without any.
    """
    paths: list[str] = []
    codes: list[Code] = []
    for folder, code in folders.items():
        names = sorted(file.name for file in (images / folder).glob("*.jpg"))
        if not names:
            raise InputError(f"{images / folder}: no *.jpg there; {title} needs images in all of {', '.join(folders)}")
        paths += [f"{folder}/{name}" for name in names]
        codes += [code] * len(names)
    return paths, codes
