"""Folders that have their final name only when they are complete."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yield a folder to fill, which is then renamed to ``final``; if anything fails, it is deleted."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".partial"))
    try:
        folder = temporary / final.name  # a new folder: others can't read a temporary one
        folder.mkdir()
        yield folder
        folder.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
