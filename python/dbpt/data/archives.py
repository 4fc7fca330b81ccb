"""Files inside archives, by the path that they would have if archives were folders. Nothing is unpacked.

Tar archives hold any files. Arrow files, as Hugging Face's datasets writes them, hold the images of a column:
``data-00000-of-00001.arrow/image/17`` is row 17 of the column ``image``. An archive is indexed once; then each file
is read by its offset.
"""

import io
import os
import posixpath
import re
import stat
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from dbpt.data.tables import import_pyarrow
from dbpt.errors import InputError
from dbpt.storage.files import open_regular, reason_of, system_errors

INSIDE = re.compile(r"(\.tar|\.arrow)/", re.IGNORECASE)
MAX_BYTES = 1 << 29  # of one file, which is read at once
IMAGE_NAME = re.compile(r"(.+)/(0|[1-9][0-9]{0,17})", re.DOTALL)  # exactly one name per image, since the cache uses it
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True)
class Member:
    """A file of ``size`` bytes in ``archive``, which had this modification time when it was indexed."""

    archive: Path
    size: int
    mtime_ns: int
    offset: int = 0  # in a tar file
    value: Any = None  # in an Arrow file: a scalar of pyarrow, whose bytes stay in the mapped file until used

    def open(self) -> BinaryIO:
        """Return the content as a file object. Raises `OSError` if the archive has changed or the file is too large."""
        if self.size > MAX_BYTES:
            raise OSError(f"{self.size} bytes, more than {MAX_BYTES} in an archive")
        if self.archive.stat().st_mtime_ns != self.mtime_ns:
            raise OSError(f"{self.archive.name} changed while it was being read")
        if self.value is not None:
            return io.BytesIO(self.value.as_py())
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


def find_member(path: Path) -> Member | None:
    """Return the file of a path such as ``shards/0001.tar/cat.jpg``; None if there is no such file in an archive.

    Raises `InputError` if the archive is damaged, or needs a library that isn't installed.
    """
    text = path.as_posix()  # text is faster, and there may be a million images
    for match in INSIDE.finditer(text):
        archive, name = text[: match.end() - 1], text[match.end() :]
        try:
            found = os.stat(archive)  # noqa: PTH116 (as above)
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(found.st_mode):
            place = archive, found.st_size, found.st_mtime_ns
            return _tar_members(*place).get(name) if match[1].lower() == ".tar" else _arrow_member(*place, name)
    return None


def _place(archive: Path) -> tuple[str, int, int]:
    """Return path, size and modification time, which identify an archive."""
    with system_errors(f"{archive}: cannot be read"):
        found = archive.stat()
    return str(archive), found.st_size, found.st_mtime_ns


def tar_members(archive: Path) -> dict[str, Member]:
    """Return the regular files of an archive by name, in its order. Raises `InputError` if it is damaged."""
    return _tar_members(*_place(archive))


@cache
def _tar_members(path: str, size: int, mtime_ns: int) -> dict[str, Member]:
    archive = Path(path)
    found: dict[str, Member] = {}
    try:
        with open_regular(archive) as opened, tarfile.open(fileobj=opened, mode="r:") as file:
            for entry in file:
                # a negative size would send tarfile backwards
                if entry.size < 0 or entry.offset_data + entry.size > size:
                    raise InputError(f"{archive}: is cut off within {entry.name!r}; copy it again")
                if entry.isreg() and not entry.issparse():
                    name = posixpath.normpath(entry.name)
                    if name.startswith(("/", "../")) or "\0" in name:
                        way_out = "pack it with names below its folder"
                        raise InputError(f"{archive}: {entry.name!r} leaves the archive; {way_out}")
                    if name in found:
                        raise InputError(f"{archive}: {name!r} occurs twice; keep one")
                    found[name] = Member(archive, entry.size, mtime_ns, entry.offset_data)
            # tarfile also stops at damaged headers; only a block of zeros is the end of an archive
            opened.seek(file.offset)
            if opened.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise InputError(f"{archive}: is damaged or cut off at byte {file.offset}; copy it again")
    except InputError:
        raise
    except (OverflowError, MemoryError):  # from an extended header, whose claimed length tarfile trusts
        problem = "is damaged: a header claims more bytes than the file has"
        raise InputError(f"{archive}: {problem}; copy it again") from None
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:  # thousands of extended headers recurse
        raise InputError(f"{archive}: cannot be read as an uncompressed tar file ({reason_of(error)})") from None
    return found


def image_column(archive: Path, column: str) -> Any:
    """Map a column of images as a pyarrow array of bytes, null for rows without one. Raises `InputError`."""
    return _image_column(*_place(archive), column)


def _arrow_member(archive: str, size: int, mtime_ns: int, name: str) -> Member | None:
    """Return the image ``COLUMN/ROW``; None if there is no such row, or no image in it."""
    if not (parts := IMAGE_NAME.fullmatch(name)):
        return None
    images, row = _image_column(archive, size, mtime_ns, parts[1]), int(parts[2])
    if row >= len(images) or not (value := images[row]).is_valid:
        return None
    return Member(Path(archive), value.as_buffer().size, mtime_ns, value=value)


@cache
def _image_column(archive: str, size: int, mtime_ns: int, column: str) -> Any:
    pyarrow = import_pyarrow(Path(archive), "datasets")
    import pyarrow.compute as compute

    try:
        mapped = pyarrow.memory_map(archive).read_buffer()
        table = pyarrow.ipc.open_stream(mapped).read_all()
        found = table.schema.get_all_field_indices(column)
        if len(found) != 1:
            raise InputError(f"{archive}: has {len(found)} columns {column!r}, expected one; save it again")
        images = table.column(found[0])
        images.validate(full=True)  # offsets in a damaged file must not point outside it
        kind = images.type
        index = kind.get_field_index("bytes") if isinstance(kind, pyarrow.StructType) else -1
        if index < 0 or kind.field(index).type not in (pyarrow.binary(), pyarrow.large_binary()):
            shown = " ".join(str(kind).split())[:80]
            raise InputError(f"{archive}: column {column!r} is {shown}, expected images; name their column")
        content = compute.struct_field(images, "bytes")
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = reason_of(error)
        raise InputError(f"{archive}: cannot be read as an Arrow file ({reason}); copy or save it again") from None
    # A reader accepts a file that ends between two batches, so check the end marker.
    if mapped.slice(max(0, size - len(END_OF_STREAM))).to_pybytes() != END_OF_STREAM:
        raise InputError(f"{archive}: is cut off; copy or save it again")
    return content
