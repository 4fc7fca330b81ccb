"""What is in a folder, to compare it with another one, or with itself later."""

import json
from pathlib import Path


def files_in(folder: Path) -> dict[str, bytes]:
    """The content of each file below, by its path in the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def change_json(file: Path, **entries: object) -> None:
    """Replace entries of the object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
