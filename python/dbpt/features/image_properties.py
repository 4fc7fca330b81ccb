"""Measured properties of one image and its file: `NUMBERS` and `TEXTS`. With Pillow and NumPy only; opens no file.

Brightness, contrast, saturation, colourfulness, entropy and border are measured on a sample of the pixels: every k-th
row and column, at most 256 of each. A sample has the distribution of the original's levels, which an average has not.
Alpha is ignored, CMYK and palettes become RGB, and 16-bit grey keeps its upper eight bits, as for CLIP.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NUMBERS = {
    "width": "pixels, as stored, before any EXIF rotation",
    "height": "pixels, as stored",
    "aspect": "width / height",
    "megapixels": "width · height / 10⁶",
    "file_size": "bytes",
    "bits_per_pixel": "8 · file_size / (width · height)",
    "jpeg_quality": "1 to 100, the quality of libjpeg whose luminance table is nearest; only JPEG files",
    "year": "1826 to 2100, of EXIF DateTimeOriginal",
    "brightness": "0 to 1, mean of luma (0.299 R + 0.587 G + 0.114 B, ITU-R BT.601)",
    "contrast": "0 to 0.5, standard deviation of luma (RMS contrast, Peli 1990)",
    "saturation": "0 to 1, mean of (max - min) / max of R, G, B (HSV)",
    "colourfulness": "0 to about 180, M3 of Hasler and Suesstrunk (2003); 109 is extremely colourful",
    "sharpness": "grey levels², variance of the 4-neighbour Laplacian of luma (Pech-Pacheco et al. 2000), in the"
    " central 512 × 512 pixels at original resolution; not for less than 3 × 3",
    "entropy": "0 to 8 bits, of the histogram of luma",
    "border": "0 to 1, share of the area in plain rows and columns at the edges",
}
"""The unit or range, and the formula, of each number; NaN where it doesn't apply."""
TEXTS = {
    "format": "JPEG, MPO (JPEG with several pictures), PNG, WEBP, BMP, GIF or TIFF, by content",
    "mode": 'greyscale, palette, RGB, CMYK, ...; "with alpha"; "grey" if stored in colour with equal channels',
    "camera": "EXIF make and model",
    "orientation": "EXIF orientation, 1 (upright) to 8; Pillow applies and removes that of TIFF",
    "software": "EXIF software",
}
"""The meaning of each text; "" where the file doesn't say it."""

SAMPLE, CROP, BAND = 256, 512, 32  # pixels
MAX_TEXT = 64
MAKE, MODEL, SOFTWARE, ORIENTATION, EXIF_IFD, DATE = 271, 272, 305, 274, 0x8769, 0x9003
FIRST_PHOTOGRAPH, LAST_YEAR = 1826, 2100
GREY_SPREAD = 2  # levels between channels that rounding explains
PLAIN = 12  # levels by which JPEG changes a plain line
MODE_NAMES = {"1": "black and white", "L": "greyscale", "LA": "greyscale", "P": "palette", "PA": "palette"}
MODE_NAMES |= {"RGBA": "RGB", "RGBX": "RGB"}
# Annex K of ITU-T T.81, the luminance table that libjpeg scales by its quality.
ANNEX_K = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""


def _libjpeg_tables() -> NDArray[np.int64]:
    """Return the luminance table (64,) of each quality 1 to 100 (libjpeg, ``jpeg_quality_scaling``)."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((np.array(ANNEX_K.split(), np.int64) * scale + 50) // 100, 1, 255)


LIBJPEG_TABLES = _libjpeg_tables()


def measure(image: Image.Image, pixels: Image.Image, file_size: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the properties of a decoded image.

    Costs about two milliseconds, whatever the size of the image. Neither image is changed.

    Args:
        image: as Pillow opened it, with its metadata. Damaged or absurd metadata count as absent.
        pixels: the same image in a mode that Pillow can resize and convert to RGB; may be the same object.
        file_size: bytes.

    Returns:
        Numbers in the order of `NUMBERS`, float32; and texts in the order of `TEXTS`, of at most 64 printable
        characters.
    """
    width, height = image.size
    area = width * height
    exif: Any = _or(lambda: image.getexif(), {})
    if not exif:  # of a TIFF whose file Pillow has closed
        exif = getattr(image, "tag_v2", {})
    numbers = {
        "width": width,
        "height": height,
        "aspect": width / height,
        "megapixels": area / 1e6,
        "file_size": file_size,
        "bits_per_pixel": 8 * file_size / area,
        "jpeg_quality": _or(lambda: _jpeg_quality(image), np.nan),
        "year": _or(lambda: _year(exif), np.nan),
        "sharpness": _sharpness(pixels),
    }
    rgb = _sample(pixels)
    red, green, blue = rgb
    luma = np.asarray(Image.fromarray(np.stack(rgb, axis=-1)).convert("L"))
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    spread = high - low
    red_green = red.astype(np.float32) - green
    yellow_blue = 0.5 * (red.astype(np.float32) + green) - blue
    shares = np.bincount(luma.ravel(), minlength=256) / luma.size
    shares = shares[shares > 0]
    numbers |= {
        "brightness": luma.mean() / 255,
        "contrast": luma.std() / 255,
        "saturation": (spread / np.maximum(high, 1).astype(np.float32)).mean(),
        "colourfulness": np.hypot(red_green.std(), yellow_blue.std())
        + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()),
        "entropy": abs(shares @ np.log2(shares)),
        "border": _border(rgb),
    }
    texts = {
        "format": image.format or "",
        "mode": _mode(image, is_grey=int(spread.max()) <= GREY_SPREAD),
        "camera": _or(lambda: _camera(exif), ""),
        "orientation": _or(lambda: str(exif[ORIENTATION]) if exif[ORIENTATION] in range(1, 9) else "", ""),
        "software": _or(lambda: _clean(exif[SOFTWARE]), ""),
    }
    return np.array([numbers[name] for name in NUMBERS], np.float32), tuple(texts[name] for name in TEXTS)


def _or(read: Callable[[], Any], default: Any) -> Any:
    """Return what ``read`` returns, or the default: Pillow's parsers raise almost any type for hostile metadata."""
    try:
        return read()
    except MemoryError:  # the image can be measured another time
        raise
    except Exception:
        return default


def _clean(value: Any) -> str:
    """Return the first printable characters of a text, on one line."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    words = "".join(letter if letter.isprintable() else " " for letter in text[: 16 * MAX_TEXT]).split()
    return " ".join(words)[:MAX_TEXT].rstrip()


def _camera(exif: Any) -> str:
    make, model = _clean(exif.get(MAKE)), _clean(exif.get(MODEL))
    return model if model.startswith(make) else _clean(f"{make} {model}")


def _year(exif: Any) -> float:
    year = float(_clean(exif.get_ifd(EXIF_IFD)[DATE])[:4])
    return year if FIRST_PHOTOGRAPH <= year <= LAST_YEAR else np.nan


def _jpeg_quality(image: Image.Image) -> float:
    tables: Any = image.quantization  # type: ignore[attr-defined]  # of JPEG files
    return 1.0 + float(np.abs(LIBJPEG_TABLES - np.array(tables[min(tables)])).sum(axis=1).argmin())


def _mode(image: Image.Image, *, is_grey: bool) -> str:
    name = MODE_NAMES.get(image.mode, "16-bit greyscale" if image.mode.startswith("I") else image.mode)
    has_alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    in_colour = name in ("palette", "RGB", "CMYK", "YCbCr")
    return name + (" with alpha" if has_alpha else "") + (", grey" if in_colour and is_grey else "")


def _sample(pixels: Image.Image) -> list[NDArray[np.uint8]]:
    """Return R, G and B (H, W) of the sampled pixels."""
    step = -(-max(pixels.size) // SAMPLE)
    size = max(1, pixels.width // step), max(1, pixels.height // step)
    sample = pixels.resize(size, Image.Resampling.NEAREST) if step > 1 else pixels
    return [np.asarray(channel) for channel in sample.convert("RGB").split()]


def _sharpness(pixels: Image.Image) -> float:
    left, upper = (max(0, (side - CROP) // 2) for side in pixels.size)
    crop = pixels.crop((left, upper, min(left + CROP, pixels.width), min(upper + CROP, pixels.height)))
    grey = np.asarray((crop if crop.mode in ("RGB", "L") else crop.convert("RGB")).convert("L")).astype(np.int16)
    if min(grey.shape) < 3:
        return np.nan
    total = squares = 0
    for start in range(0, len(grey) - 2, BAND):  # large temporary arrays would take four times as long
        band = grey[start : start + BAND + 2]
        laplacian = band[:-2, 1:-1] + band[2:, 1:-1] + band[1:-1, :-2] + band[1:-1, 2:] - 4 * band[1:-1, 1:-1]
        total += int(laplacian.sum())
        squares += int(np.square(laplacian, dtype=np.int32).sum())
    count = (grey.shape[0] - 2) * (grey.shape[1] - 2)
    return float(squares / count - (total / count) ** 2)


def _border(rgb: list[NDArray[np.uint8]]) -> float:
    """Return the share of the area in plain rows and columns at the edges.

    From each edge, rows count as long as all their pixels are within `PLAIN` levels of the mean colour of the outermost
    row; then, in the rows that are left, columns likewise. The share is 0 without a border, 1 for a plain image. The
    sample can miss a border thinner than 1/256 of the longer side.
    """
    height, width = rgb[0].shape
    top, bottom = _plain_rows(rgb), _plain_rows([channel[::-1] for channel in rgb])
    if top + bottom >= height:
        return 1.0
    inner = [channel[top : height - bottom].T for channel in rgb]
    left, right = _plain_rows(inner), _plain_rows([channel[::-1] for channel in inner])
    return float(1 - (height - top - bottom) * max(0, width - left - right) / (height * width))


def _plain_rows(rgb: list[NDArray[np.uint8]]) -> int:
    """Return the number of rows from the first on that are as plain as the first."""
    # One row alone mostly decides it, at no cost.
    if any(np.ptp(channel[0]) > 2 * PLAIN for channel in rgb):
        return 0
    is_plain = np.ones(len(rgb[0]) + 1, np.bool_)
    is_plain[-1] = False
    for channel in rgb:
        mean = channel[0].mean()
        is_plain[:-1] &= (channel.min(axis=1) >= mean - PLAIN) & (channel.max(axis=1) <= mean + PLAIN)
    return int(is_plain.argmin())
