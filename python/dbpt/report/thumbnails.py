"""Small JPEGs of images, as many as a page has room for, with links to the images themselves."""

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from math import sqrt
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from dbpt.features.images import UnreadableImage, decoding_threads, pillow_warnings, read_image
from dbpt.report.page_size import PICTURE_BYTES

LARGEST, SMALLEST = 320, 32
"""Pixels of a thumbnail's longer side."""
QUALITIES, LOWEST_QUALITY = (85, 70, 55), 40
TRIES = 3
"""Images per picture, until they are given up as unreadable."""


@dataclass(frozen=True)
class Picture:
    """An image of a page; ``image`` is a JPEG thumbnail.

    ``source`` is the address of the image file relative to the page, None for one in an archive or on another drive.
    ``predictions`` are class names, one of each classifier. ``probability`` is that of the guess of a contact sheet, or
    that of the true class; None if it is not known.
    """

    path: str
    image: bytes
    source: str | None = None
    predictions: tuple[str, ...] = ()
    probability: float | None = None


def thumbnail(path: Path, pixels: int = LARGEST, *, max_bytes: int = PICTURE_BYTES) -> bytes:
    """Return the image as a JPEG at most ``pixels`` wide and high, smaller and of less quality to fit ``max_bytes``.

    Alpha is dropped, as it is for CLIP. Raises `UnreadableImage` with the reason. Call it within `pillow_warnings`.
    """
    image = read_image(path, pixels=2 * pixels).convert("RGB")
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    small, pixels = image, max(image.size)
    while len(smallest := _jpeg(small, LOWEST_QUALITY)) > max_bytes and pixels > SMALLEST:
        # The bytes go with the area.
        pixels = max(SMALLEST, int(pixels * min(0.9, sqrt(max_bytes / len(smallest)))))
        small = image.copy()
        small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    return next((jpeg for quality in QUALITIES if len(jpeg := _jpeg(small, quality)) <= max_bytes), smallest)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class ImageFiles:
    """Images that a page may show: ``paths`` relative to ``root``. ``page`` is the folder that the page is for."""

    paths: Sequence[str]
    root: Path
    page: Path | None = None

    def first(self, rows: Sequence[int], number: int, max_bytes: int) -> dict[int, Picture]:
        """Return the pictures of the first ``number`` of ``rows`` whose images can be read, by row.

        Args:
            rows: the rows to try, in order: at most 3 times ``number``.
            number: how many to return.
            max_bytes: of a thumbnail, which is as large as that allows.
        """
        left, pictures = iter(rows[: TRIES * number]), dict[int, Picture]()
        with pillow_warnings(), decoding_threads() as pool:
            while batch := list(islice(left, number - len(pictures))):
                made = pool.map(self._picture, batch, repeat(max_bytes))
                pictures |= {row: picture for row, picture in zip(batch, made, strict=True) if picture}
        return pictures

    def _picture(self, row: int, max_bytes: int) -> Picture | None:
        path = self.root / self.paths[row]
        source = None if self.page is None else address(path, self.page)
        # Base64 makes four bytes of three of a JPEG, and a long path of other letters takes as many as a small picture.
        max_bytes = min(max_bytes, PICTURE_BYTES) - 3 * len(os.fsencode(self.paths[row]) + (source or "").encode()) // 4
        try:
            jpeg = thumbnail(path, max_bytes=max(max_bytes, 0))
        except UnreadableImage:  # it has changed since
            return None
        return Picture(self.paths[row], jpeg, source)


def address(path: Path, page: Path) -> str | None:
    """Return the address of a file relative to a page in the folder ``page``, as a URL.

    It is None for a file in an archive or on another drive.
    """
    if not path.is_file():
        return None
    with suppress(ValueError):  # another drive
        return quote(os.fsencode(Path(os.path.relpath(os.path.realpath(path), os.path.realpath(page))).as_posix()))
    return None
