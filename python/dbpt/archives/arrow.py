"""The images in an Arrow file, as Hugging Face's datasets writes them: ``data-00000-of-00001.arrow/image/17``.

That is row 17 of the column ``image``, a struct of ``bytes`` and ``path``. pyarrow finds out once where in the file the
bytes of each row are; they are read without it.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbpt.archives.arrow_stream import ArrowStream
from dbpt.archives.member import Member
from dbpt.errors import InputError

NAME = re.compile(r"(.+)/(0|[1-9][0-9]{0,17})", re.DOTALL)  # one for each image, so that the cache knows it by one


@dataclass(frozen=True, eq=False)
class ImageRanges:
    """Where in a file the images of a column are: ``offsets`` and ``sizes`` (N,) int64, size -1 where there is none."""

    archive: Path
    mtime_ns: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]


def find_image(archive: str, name: str, found: os.stat_result) -> Member | None:
    """The image ``COLUMN/ROW``; None if there is no such row, or no image in it.

    Raises:
        InputError: as `image_ranges`.
    """
    if not (parts := NAME.fullmatch(name)):
        return None
    ranges, row = _image_ranges(archive, parts[1], found.st_size, found.st_mtime_ns), int(parts[2])
    if row >= len(ranges.sizes) or ranges.sizes[row] < 0:
        return None
    return Member(ranges.archive, int(ranges.offsets[row]), int(ranges.sizes[row]), ranges.mtime_ns)


def image_ranges(archive: Path, column: str) -> ImageRanges:
    """Where the images of a column are.

    Raises:
        InputError: as `ArrowStream`; a column that holds no images, or is compressed.
    """
    try:
        found = archive.stat()
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({error.strerror})") from None
    return _image_ranges(str(archive), column, found.st_size, found.st_mtime_ns)


@cache
def _image_ranges(name: str, column: str, size: int, mtime_ns: int) -> ImageRanges:
    archive = Path(name)
    stream = ArrowStream(archive)
    offsets, sizes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for batch in stream.batches([column]):
        values = _bytes_of(batch[column], f"{archive}: column {column!r}")
        starts, lengths = _in_buffer(values)
        if lengths.any():
            content = values.buffers()[2]
            first = content.address - stream.address
            if not 0 <= first <= stream.size - content.size:
                raise InputError(f"{archive}: is compressed inside; save it with save_to_disk of datasets")
            starts += first
        present = _bools(batch[column].is_valid()) & _bools(values.is_valid())
        offsets.append(starts)
        sizes.append(np.where(present, lengths, -1))
    return ImageRanges(archive, mtime_ns, np.concatenate(offsets), np.concatenate(sizes))


def _bools(values: Any) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = values.to_numpy(zero_copy_only=False)
    return found


def _bytes_of(images: Any, where: str) -> Any:
    import pyarrow  # in a version that ArrowStream has looked at

    kind = images.type
    index = kind.get_field_index("bytes") if isinstance(kind, pyarrow.StructType) else -1
    if index < 0 or kind.field(index).type != pyarrow.binary():
        raise InputError(f"{where} is {' '.join(str(kind).split())[:80]}, expected images; name their column")
    return images.field(index)


def _in_buffer(values: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each row begins in the buffer of a column of bytes, and how long it is."""
    if not len(values):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    bounds = np.frombuffer(values.buffers()[1], dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    return bounds[:-1].astype(np.int64), np.diff(bounds).astype(np.int64)
