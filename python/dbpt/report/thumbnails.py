"""Small JPEGs of image files, for self-contained pages."""

import io
from pathlib import Path

from PIL import Image

from dbpt.features.images import open_image

QUALITIES = (85, 75, 60, 45, 30)


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
