"""Small JPEGs of image files, for self-contained pages."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from dbpt.features.images import UnreadableImage, open_image

QUALITIES = (85, 75, 60, 45, 30)
SIZES = (144, 128, 112, 96, 80, 64, 48, 32)
BYTES_PER_PIXEL = 0.25  # of most photographs at a quality of 60
TRIES = 3  # per picture, until images are given up as unreadable


def thumbnail(path: Path, pixels: int, *, max_bytes: int | None = None) -> bytes:
    """Return the image as a JPEG at most ``pixels`` wide and high. Its quality is lowered to 30 to fit ``max_bytes``.

    Alpha is dropped, as it is for CLIP. Raises `UnreadableImage` with the reason.
    """
    image = open_image(path).convert("RGB")
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if max_bytes is None or buffer.tell() <= max_bytes:
            break
    return buffer.getvalue()


class Thumbnails:
    """Thumbnails of the images ``paths`` in the folder ``root``, so many that ``number`` of them fit into ``budget``.

    The budget is in bytes of JPEG; base64 adds a third. They are as large as most photographs can be, and smaller for
    noisy images.
    """

    def __init__(self, paths: Sequence[str], root: Path, *, number: int, budget: int) -> None:
        self._paths, self._root, self._max_bytes = paths, root, budget // max(number, 1)
        self._sizes = [size for size in SIZES if size**2 * BYTES_PER_PIXEL <= self._max_bytes] or SIZES[-1:]

    def first(self, rows: Sequence[int], number: int) -> Iterator[tuple[int, bytes]]:
        """Yield the first ``number`` of ``rows`` that can be read, each with its thumbnail."""
        found = 0
        for row in rows[: TRIES * number]:
            if found == number:
                return
            try:
                jpeg = self._thumbnail(self._root / self._paths[row])
            except UnreadableImage:  # it has changed since
                continue
            found += 1
            yield row, jpeg

    def _thumbnail(self, path: Path) -> bytes:
        for size in self._sizes:
            jpeg = thumbnail(path, size, max_bytes=self._max_bytes)
            if len(jpeg) <= self._max_bytes:
                break
        return jpeg
