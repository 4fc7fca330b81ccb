"""The images in an Arrow file, as Hugging Face's datasets writes them: ``data-00000-of-00001.arrow/image/17``.

That is row 17 of the column ``image``, a struct of ``bytes`` and ``path``. pyarrow maps the file and gives each row's
bytes as they are stored.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dbpt.data.archives.member import Member
from dbpt.data.safe_pyarrow import import_pyarrow
from dbpt.errors import InputError
from dbpt.files.disk import reason_of

NAME = re.compile(r"(.+)/(0|[1-9][0-9]{0,17})", re.DOTALL)  # one for each image, so that the cache knows it by one
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True)
class ArrowMember(Member):
    """``value``: a scalar of pyarrow, whose bytes stay in the mapped file until they are asked for."""

    value: Any

    def _read(self) -> bytes:
        content: bytes = self.value.as_py()
        return content


def find_image(archive: str, name: str, found: os.stat_result) -> Member | None:
    """Return the image ``COLUMN/ROW``; None if there is no such row, or no image in it.

    Raises:
        InputError: as `image_column`.
    """
    if not (parts := NAME.fullmatch(name)):
        return None
    images, row = _image_column(archive, parts[1], found.st_size, found.st_mtime_ns), int(parts[2])
    if row >= len(images) or not (value := images[row]).is_valid:
        return None
    return ArrowMember(Path(archive), value.as_buffer().size, found.st_mtime_ns, value)


def image_column(archive: Path, column: str) -> Any:
    """Return a column of images as a pyarrow array of bytes, null where there is none; it maps the file.

    Raises:
        InputError: no pyarrow; no Arrow stream, damaged, cut off; no column of this name that holds images.
    """
    try:
        found = archive.stat()
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({reason_of(error)})") from None
    return _image_column(str(archive), column, found.st_size, found.st_mtime_ns)


@cache
def _image_column(archive: str, column: str, size: int, mtime_ns: int) -> Any:
    pyarrow = import_pyarrow(Path(archive), "datasets")
    import pyarrow.compute as compute

    try:
        mapped = pyarrow.memory_map(archive).read_buffer()
        table = pyarrow.ipc.open_stream(mapped).read_all()
        found = table.schema.get_all_field_indices(column)
        if len(found) != 1:
            raise InputError(f"{archive}: has {len(found)} columns {column!r}, expected one; save it again")
        images = table.column(found[0])
        images.validate(full=True)  # what is taken from a damaged file must not lead out of it
        kind = images.type
        index = kind.get_field_index("bytes") if isinstance(kind, pyarrow.StructType) else -1
        if index < 0 or kind.field(index).type not in (pyarrow.binary(), pyarrow.large_binary()):
            shown = " ".join(str(kind).split())[:80]
            raise InputError(f"{archive}: column {column!r} is {shown}, expected images; name their column")
        content = compute.struct_field(images, "bytes")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{archive}: cannot be read as an Arrow file ({reason_of(error)}); copy or save it again"
        ) from None
    # Between two batches a reader takes the end of the file for the end of the stream.
    if mapped.slice(max(0, size - len(END_OF_STREAM))).to_pybytes() != END_OF_STREAM:
        raise InputError(f"{archive}: is cut off; copy or save it again")
    return content
