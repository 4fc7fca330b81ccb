"""Files inside tar archives, by the path that they would have if the archive were a folder. Nothing is unpacked.

An archive's headers are read once; a file is then a range of bytes.
"""

import io
import os
import posixpath
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from dbpt.errors import InputError

MAX_BYTES = 1 << 29  # of one file, which is read whole


@dataclass(frozen=True)
class Member:
    """A range of bytes of ``archive``, which had this modification time when its headers were read."""

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


def find_member(path: Path) -> Member | None:
    """The file that ``path`` means, such as ``shards/0001.tar/cat.jpg``; None if it leads to none in an archive."""
    for archive in path.parents:
        if archive.suffix.lower() == ".tar" and os.path.isfile(archive):  # noqa: PTH113 (a name that is too long)
            return members(archive).get(path.relative_to(archive).as_posix())
    return None


def members(archive: Path) -> dict[str, Member]:
    """The regular files of an archive by name, in its order.

    Raises:
        InputError: it can't be read, is no tar file or a compressed one, is cut off, or has a name twice.
    """
    try:
        found = os.stat(archive)  # noqa: PTH116 (once an image)
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({error.strerror})") from None
    return _members(archive, found.st_size, found.st_mtime_ns)


@cache
def _members(archive: Path, size: int, mtime_ns: int) -> dict[str, Member]:
    found: dict[str, Member] = {}
    try:
        with tarfile.open(archive, "r:") as file:
            for entry in file:
                # a negative size would lead tarfile back to where it was
                if entry.size < 0 or entry.offset_data + entry.size > size:
                    raise InputError(f"{archive}: is cut off within {entry.name!r}; copy it again")
                if entry.isreg() and not entry.issparse():
                    name = _plain(entry.name, archive)
                    if name in found:
                        raise InputError(f"{archive}: {name!r} occurs twice; keep one")
                    found[name] = Member(archive, entry.offset_data, entry.size, mtime_ns)
            _check_end(archive, file.offset)
    except InputError:
        raise
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise InputError(f"{archive}: cannot be read as an uncompressed tar file ({error})") from None
    return found


def _check_end(archive: Path, offset: int) -> None:
    """Where tarfile stops there must be the block of zeros that ends an archive: it stops at damaged headers too."""
    with archive.open("rb") as file:
        file.seek(offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InputError(f"{archive}: is damaged or cut off at byte {offset}; copy it again")


def _plain(name: str, archive: Path) -> str:
    plain = posixpath.normpath(name)
    if plain.startswith(("/", "../")) or "\0" in plain:
        raise InputError(f"{archive}: {name!r} leaves the archive; pack it with names below its folder")
    return plain
