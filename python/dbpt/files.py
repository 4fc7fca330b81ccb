"""Writing files so that what stands under its final name is complete."""

import os
import tempfile
from pathlib import Path

from dbpt.errors import InputError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary sibling, flush, fsync, rename.

    Raises `InputError` if the disk refuses; then ``path`` is as it was and the temporary file is gone.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot write: {error.strerror}; free space or choose another folder") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
