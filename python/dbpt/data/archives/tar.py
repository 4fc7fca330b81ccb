"""The files in a tar archive, from its headers."""

import os
import posixpath
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dbpt.data.archives.member import Member
from dbpt.errors import InputError
from dbpt.files.disk import open_regular, reason_of


@dataclass(frozen=True)
class TarMember(Member):
    """A range of bytes of the archive, which begins at ``offset``."""

    offset: int

    def _read(self) -> bytes:
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def find_file(archive: str, name: str, found: os.stat_result) -> TarMember | None:
    """The file called ``name``, if there is one. Raises `InputError` as `members` does."""
    return _members(archive, found.st_size, found.st_mtime_ns).get(name)


def members(archive: Path) -> dict[str, TarMember]:
    """The regular files of an archive by name, in its order.

    Raises:
        InputError: it can't be read, is no tar file or a compressed one, is cut off, or has a name twice.
    """
    try:
        found = archive.stat()
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({reason_of(error)})") from None
    return _members(str(archive), found.st_size, found.st_mtime_ns)


@cache
def _members(path: str, size: int, mtime_ns: int) -> dict[str, TarMember]:
    archive = Path(path)
    found: dict[str, TarMember] = {}
    try:
        with open_regular(archive) as opened, tarfile.open(fileobj=opened, mode="r:") as file:
            for entry in file:
                # a negative size would lead tarfile back to where it was
                if entry.size < 0 or entry.offset_data + entry.size > size:
                    raise InputError(f"{archive}: is cut off within {entry.name!r}; copy it again")
                if entry.isreg() and not entry.issparse():
                    name = _plain(entry.name, archive)
                    if name in found:
                        raise InputError(f"{archive}: {name!r} occurs twice; keep one")
                    found[name] = TarMember(archive, entry.size, mtime_ns, entry.offset_data)
            _check_end(archive, file.offset)
    except InputError:
        raise
    except (OverflowError, MemoryError):  # of an extended header, which tarfile reads as long as it says it is
        raise InputError(
            f"{archive}: is damaged: a header claims more bytes than the file has; copy it again"
        ) from None
    except (
        tarfile.TarError,
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # RecursionError: thousands of them in a row
        raise InputError(f"{archive}: cannot be read as an uncompressed tar file ({reason_of(error)})") from None
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
