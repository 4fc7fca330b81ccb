"""A file that is part of another one."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 1 << 29  # of one file, which is read whole


@dataclass(frozen=True)
class Member:
    """A file of ``size`` bytes in ``archive``, which had this modification time when it was looked through."""

    archive: Path
    size: int
    mtime_ns: int

    def open(self) -> BinaryIO:
        """Return its bytes as a file. Raises `OSError` if the archive has changed or the file is too large."""
        if self.size > MAX_BYTES:
            raise OSError(f"{self.size} bytes, more than {MAX_BYTES} in an archive")
        if self.archive.stat().st_mtime_ns != self.mtime_ns:
            raise OSError(f"{self.archive.name} changed while it was being read")
        return io.BytesIO(self._read())

    def _read(self) -> bytes:
        raise NotImplementedError
