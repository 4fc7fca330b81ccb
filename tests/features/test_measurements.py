"""The measured properties of one image: known values, and files with hostile metadata."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_images import noise

from dbpt.features import UnreadableImage
from dbpt.features import image_properties as measurements
from dbpt.features.images import pillow_warnings, read_image

DATE, EXIF_IFD = 0x9003, 0x8769


def measured(path: Path) -> dict:
    """All properties of a file by name. Measuring changes nothing of the image."""
    found = []

    with pillow_warnings():
        image = read_image(path, look=lambda *both: found.extend(measurements.measure(*both, path.stat().st_size)))
        unmeasured = read_image(path)
    assert image.tobytes() == unmeasured.tobytes() and image.info == unmeasured.info
    return dict(zip((*measurements.NUMBERS, *measurements.TEXTS), (*found[0].tolist(), *found[1]), strict=True))


def of(tmp_path: Path, image: Image.Image | np.ndarray, name: str = "image.png", **options) -> dict:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(tmp_path / name, **options)
    return measured(tmp_path / name)


def photo(width: int, height: int) -> Image.Image:
    """Smooth shapes with some noise, which JPEG keeps."""
    return noise(width // 8, height // 8).resize((width, height), Image.Resampling.BICUBIC)


def test_sizes_are_those_of_the_file(tmp_path):
    found = of(tmp_path, noise(60, 30))
    size = (tmp_path / "image.png").stat().st_size
    names = list(measurements.NUMBERS)[:6]
    assert [found[name] for name in names] == pytest.approx([60, 30, 2, 0.0018, size, 8 * size / 1800])
    assert found["format"] == "PNG" and np.isnan(found["jpeg_quality"]) and np.isnan(found["year"])
    assert found["camera"] == found["orientation"] == found["software"] == ""


@pytest.mark.parametrize("quality", [5, 30, 75, 95, 100])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_quality_of_jpeg_is_recovered(tmp_path, quality, mode):
    found = of(tmp_path, photo(64, 64).convert(mode), "image.jpg", quality=quality)
    assert found["format"] == "JPEG" and found["jpeg_quality"] == pytest.approx(quality, abs=1)


RED, CHEQUERED = np.uint8([[[255, 0, 0]]]), np.uint8([[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]])
KNOWN = {"brightness": (76 / 255, 0.5), "contrast": (0, 0.5), "saturation": (1, 0), "entropy": (0, 1), "border": (1, 0)}


@pytest.mark.parametrize(("levels", "number", "mode"), [(RED, 0, "RGB"), (CHEQUERED, 1, "RGB, grey")])
def test_levels_of_a_red_image_and_a_chequered_one(tmp_path, levels, number, mode):
    found = of(tmp_path, np.tile(levels, (20, 20, 1)))
    for name, values in KNOWN.items():
        assert found[name] == pytest.approx(values[number], abs=1e-6)
    assert found["mode"] == mode


def test_colourfulness_and_sharpness_are_those_of_their_formulas(tmp_path):
    image = noise(50, 40)
    red, green, blue = np.moveaxis(np.asarray(image).astype(float), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    colourfulness = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    grey = np.asarray(image.convert("L")).astype(float)
    ups = [np.roll(grey, step, axis) for axis in (0, 1) for step in (1, -1)]
    laplacian = (sum(ups) - 4 * grey)[1:-1, 1:-1]
    found = of(tmp_path, image)
    assert found["colourfulness"] == pytest.approx(colourfulness, rel=1e-5)
    assert found["sharpness"] == pytest.approx(laplacian.var(), rel=1e-5)


def test_large_images_are_sampled_and_their_centre_is_judged_sharp_or_not(tmp_path):
    levels = np.asarray(noise(1200, 900)).copy()
    full = of(tmp_path, levels)
    assert full["contrast"] == pytest.approx(np.asarray(Image.fromarray(levels).convert("L")).std() / 255, rel=0.02)
    levels[194:706, 344:856] = 128
    assert of(tmp_path, levels)["sharpness"] == 0 < full["sharpness"]


@pytest.mark.parametrize("side", [160, 1000])
@pytest.mark.parametrize(("name", "tolerance"), [("image.png", 0.01), ("image.jpg", 0.03)])
def test_a_drawn_frame_is_found(tmp_path, side, name, tolerance):
    framed = Image.new("RGB", (side, side), (20, 30, 40))
    framed.paste(noise(side * 8 // 10, side * 8 // 10), (side // 10, side // 10))
    assert of(tmp_path, framed, name)["border"] == pytest.approx(0.36, abs=tolerance)
    assert of(tmp_path, noise(side, side), name)["border"] == 0


def test_bars_and_halves_are_borders(tmp_path):
    levels = np.asarray(noise(100, 80)).copy()
    levels[:10], levels[-10:] = 0, 255
    assert of(tmp_path, levels)["border"] == pytest.approx(0.25)
    assert of(tmp_path, np.repeat(np.uint8([[0], [255]]), 40, axis=0))["border"] == 1


@pytest.mark.parametrize(
    ("image", "name", "mode"),
    [
        (noise(2, 90), "a.png", "RGB"),
        (noise(20, 20).convert("L"), "a.png", "greyscale"),
        (noise(20, 20).convert("L").convert("RGB"), "a.jpg", "RGB, grey"),
        (noise(20, 20).convert("P"), "a.png", "palette"),
        (noise(20, 20).convert("L").convert("P"), "a.gif", "palette, grey"),
        (noise(20, 20).convert("RGBA"), "a.png", "RGB with alpha"),
        (noise(20, 20).convert("LA"), "a.png", "greyscale with alpha"),
        (noise(20, 20).convert("1"), "a.tiff", "black and white"),
        (Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 150), "a.png", "16-bit greyscale"),
        (noise(20, 20).convert("CMYK"), "a.jpg", "CMYK"),
    ],
)
def test_modes(tmp_path, image, name, mode):
    found = of(tmp_path, image, name)
    assert found["mode"] == mode
    assert all(np.isfinite(found[key]) for key in ("brightness", "saturation", "entropy", "border"))
    assert np.isnan(found["sharpness"]) == (image.width < 3)


def exif_of(**given) -> Image.Exif:
    tags = {"make": 271, "model": 272, "orientation": 274, "software": 305}
    exif = Image.Exif()
    for name, value in given.items():
        if name == "date":
            exif.get_ifd(EXIF_IFD)[DATE] = value
        else:
            exif[tags[name]] = value
    return exif


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_is_read_in_each_format(tmp_path, name):
    exif = exif_of(make="Nikon", model="D80", orientation=6, software="GIMP 2", date="2019:05:01 10:00:00")
    found = of(tmp_path, photo(40, 30), name, exif=exif)
    assert (found["width"], found["camera"], found["orientation"]) == (40, "Nikon D80", "6")
    assert (found["software"], found["year"]) == ("GIMP 2", 2019)
    assert of(tmp_path, photo(40, 30), "a.tif", exif=exif, compression="tiff_lzw")["camera"] == "Nikon D80"


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"make": "Canon", "model": "Canon EOS"}, "camera", "Canon EOS"),
        ({"model": "X\0\n\x1b[1m  Y"}, "camera", "X [1m Y"),
        ({"model": "=cmd|'/c calc'!A0"}, "camera", "=cmd|'/c calc'!A0"),
        ({"make": "<b>", "model": "x" * 60_000}, "camera", "<b> " + "x" * 60),
        ({"make": "\0" * 60_000}, "camera", ""),
        ({"orientation": 77}, "orientation", ""),
        ({"date": "0000:00:00 00:00:00"}, "year", np.nan),
        ({"date": "9999:01:01"}, "year", np.nan),
        ({"date": "nan"}, "year", np.nan),
        ({"date": "19"}, "year", np.nan),
        ({"date": ""}, "year", np.nan),
    ],
)
def test_absurd_exif_is_text_or_nothing(tmp_path, given, name, value):
    found = of(tmp_path, photo(40, 30), exif=exif_of(**given))
    assert found[name] == pytest.approx(value, nan_ok=True) if name == "year" else found[name] == value
    assert found["width"] == 40


DAMAGED = {
    "noise": bytes(np.random.default_rng(1).integers(0, 256, 60_000, np.uint8)),
    "no header": b"",
    "points outside": b"MM\0*" + struct.pack(">I", 0xFFFFFFF0),
    "points at itself": b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8),
    "65535 entries": b"II*\0" + struct.pack("<IH", 8, 65535) + b"\x0f\x01\x02\0\xff\xff\xff\xff\0\0\0\0" * 4900,
    "of other types": b"II*\0" + struct.pack("<IHHHIIHHI4sI", 8, 2, 305, 4, 1, 7, 274, 2, 2, b"6\0\0\0", 0),
    "of no known order": b"XX*\0\0\0\0\x08",
}


@pytest.mark.parametrize("exif", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_damaged_exif_changes_nothing_else(tmp_path, exif, name):
    found = of(tmp_path, photo(40, 30), name, exif=b"Exif\0\0" + exif)
    whole = of(tmp_path, photo(40, 30), "whole" + name[1:])
    assert np.isnan(found["year"]) and found["orientation"] == found["software"] == ""
    assert [found[key] for key in ("width", "contrast")] == [whole[key] for key in ("width", "contrast")]


def test_an_image_whose_header_lies_fails_as_before(tmp_path):
    noise(20, 20).save(tmp_path / "lying.bmp")
    content = bytearray((tmp_path / "lying.bmp").read_bytes())
    content[18:22] = (600).to_bytes(4, "little")
    (tmp_path / "lying.bmp").write_bytes(content)
    with pytest.raises(UnreadableImage, match="truncated"):
        measured(tmp_path / "lying.bmp")


def test_the_docs_list_all_properties():
    page = (Path(__file__).parents[2] / "docs/how_to/features.md").read_text()
    table = page[page.index("## Measurements") : page.index("A number is NaN")]
    assert [name for name in (*measurements.NUMBERS, *measurements.TEXTS) if f"`{name}`" not in table] == []
