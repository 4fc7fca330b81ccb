"""A file that is a range of bytes of another one."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 1 << 29  # of one file, which is read whole


@dataclass(frozen=True)
class Member:
    """A range of bytes of ``archive``, which had this modification time when it was looked through."""

    archive: Path
    offset: int
    size: int
    mtime_ns: int

    def open(self) -> BinaryIO:
        """Its bytes as a file. Raises `OSError` if the archive has changed or the file is too large."""
        if self.size > MAX_BYTES:
            raise OSError(f"{self.size} bytes, more than {MAX_BYTES} in an archive")
        with self.archive.open("rb") as file:
            if os.fstat(file.fileno()).st_mtime_ns != self.mtime_ns:
                raise OSError(f"{self.archive.name} changed while it was being read")
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))
