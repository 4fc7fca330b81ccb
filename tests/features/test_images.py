"""Decoding: what open_clip would see, or a reason on one line; no other format, no bomb, no crash."""

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from small_images import noise

from dbpt.features import UnreadableImage, images, open_image, read_crop


@pytest.mark.parametrize(
    ("suffix", "mode", "options"),
    [
        ("jpg", "RGB", {}),
        ("jpg", "CMYK", {}),
        ("png", "RGBA", {}),
        ("png", "P", {"transparency": b"\0\x80\xff"}),
        ("png", "P", {"transparency": 3}),
        ("gif", "P", {"save_all": True, "append_images": [noise(20, 20, 5)]}),
        ("webp", "RGB", {}),
        ("tiff", "RGB", {}),
        ("tiff", "YCbCr", {}),
    ],
)
def test_every_mode_gives_what_open_clip_would_see(tmp_path, suffix, mode, options):
    preprocess = open_clip.image_transform(32, is_train=False)
    picture = noise(40, 30).convert("RGB").convert(mode)
    path = tmp_path / f"picture.{suffix}"
    picture.save(path, **options)
    with warnings.catch_warnings(), Image.open(path) as theirs:
        warnings.simplefilter("ignore")
        expected = preprocess(theirs)
    torch.testing.assert_close(preprocess(open_image(path)), expected, rtol=0, atol=0)


def test_exif_rotation_is_ignored_as_open_clip_ignores_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 30).save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(tmp_path / "turned.jpg").size == (40, 30)


def test_sixteen_bit_grey_keeps_its_contrast(tmp_path):
    grey = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for name in ("grey.png", "grey.tiff"):
        Image.fromarray(grey).save(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(open_image(tmp_path / name)), grey >> 8)


def reason(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        open_image(path)
    return str(caught.value)


def test_pixels_without_a_known_range_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(tmp_path / "wide.tiff")
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tiff")
    for name, mode in [("float", "F"), ("wide", "I"), ("lab", "LAB")]:
        assert f"mode {mode}," in reason(tmp_path / f"{name}.tiff")


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("size", [(10_000, 9_500), (14_000, 14_000), (60_000, 60_000)])
def test_bombs_are_refused_from_the_header(tmp_path, size, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(png_header(*size) + struct.pack(">I", 10) + b"IDAT")
    monkeypatch.setattr(Image.Image, "load", None)
    assert "more than 89 megapixels" in reason(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert f"{size[0]}×{size[1]} is more than 89 megapixels" in reason(tmp_path / "bomb.png")


def test_threads_are_refused(tmp_path):
    noise(1, 300).save(tmp_path / "thread.png")
    assert "1×300 is thinner than 1:200" in reason(tmp_path / "thread.png")
    noise(1, 1).save(tmp_path / "dot.png")
    assert open_image(tmp_path / "dot.png").size == (1, 1)


def test_other_formats_are_out_of_reach(tmp_path):
    noise(8, 8).save(tmp_path / "a.ppm")
    noise(8, 8).save(tmp_path / "a.jpg", format="PCX")
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    for name in ("a.ppm", "a.jpg", "a.eps", "a.svg"):
        assert "not a JPEG" in reason(tmp_path / name)
    (tmp_path / "a.png").write_bytes(png_header(8, 8)[:20])
    assert reason(tmp_path / "a.png") == "Truncated File Read"
    assert "No such file" in reason(tmp_path / "gone.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        assert reason(path) == "not a regular file"
        with pytest.raises(UnreadableImage, match="not a regular file"):
            read_crop(path, None)


def test_pixels_or_whatever_the_reason(tmp_path):
    def crop(image, out):
        return np.copyto(out, np.asarray(image)[:20, :20]) if out is not None else np.asarray(image)[:20, :20]

    path, place = tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8)
    noise(40, 30).save(path)
    now = (path.stat().st_size, path.stat().st_mtime_ns)
    expected = np.asarray(open_image(path))[:20, :20]
    np.testing.assert_array_equal(read_crop(path, crop, size_and_mtime=now), expected)
    read_crop(path, crop, place)
    np.testing.assert_array_equal(place, expected)
    with pytest.raises(UnreadableImage, match="changed while"):
        read_crop(path, crop, size_and_mtime=(now[0], 5))
    for name, why in (("gone.png", "^No such file or directory$"), ("nul\0", "null byte"), ("x" * 5000, "too long")):
        with pytest.raises(UnreadableImage, match=why):
            read_crop(tmp_path / name, crop)


@pytest.mark.parametrize(("processors", "ranks", "expected"), [(8, 1, 8), (8, 4, 2), (2, 4, 1), (64, 2, 16)])
def test_ranks_of_a_machine_share_its_processors(monkeypatch, processors, ranks, expected):
    variables = {"RANK": 0, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "x", "MASTER_PORT": 1}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(images, "available_cpus", lambda: processors)
    with images.decoding_threads() as pool:
        assert pool._max_workers == expected
    with images.decoding_threads(3) as pool:
        assert pool._max_workers == 3


@pytest.mark.parametrize("short", ["open", "fromarray"])
def test_an_image_that_lacks_memory_is_tried_again(tmp_path, monkeypatch, short):
    """Else a moment of other programs' hunger would cost the image for good."""
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(tmp_path / "grey.png")

    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    with pytest.raises(images.UnreachableImage):
        read_crop(tmp_path / "grey.png", no_memory)
    monkeypatch.setattr(Image, short, no_memory)
    with pytest.raises(images.UnreachableImage, match="^not enough memory$"):
        open_image(tmp_path / "grey.png")


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """Each goes over all pixels, in C, where Ctrl-C is not heard."""
    Image.new("RGB", (400, 300), (1, 2, 3)).save(tmp_path / "a.jpg", progressive=True)
    content = (tmp_path / "a.jpg").read_bytes()
    last = content.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(content[:last] + content[last:-2] * 20 + content[-2:])
    assert images.open_image(tmp_path / "a.jpg").size == (400, 300)
    monkeypatch.setattr(images, "MAX_SCANNED", 25 * 400 * 300)
    with pytest.raises(images.UnreadableImage, match="scans of 0 megapixels; save it as a plain JPEG"):
        images.open_image(tmp_path / "a.jpg")


def test_a_file_of_too_many_bytes_is_not_decoded(tmp_path, monkeypatch):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.bmp")
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    with pytest.raises(images.UnreadableImage, match="bytes, more than 10"):
        images.open_image(tmp_path / "a.bmp")
