"""Small JPEGs of whatever CLIP could read, small enough to carry inside a page."""

import io

import numpy as np
import pytest
from PIL import Image

from dbpt.features import UnreadableImage
from dbpt.report.pictures import thumbnail


@pytest.mark.parametrize(
    ("mode", "ending"), [("RGBA", "png"), ("LA", "png"), ("P", "gif"), ("1", "png"), ("CMYK", "jpg")]
)
def test_all_modes_become_jpegs(tmp_path, mode, ending):
    path = tmp_path / f"image.{ending}"
    Image.new("RGB", (40, 20), (200, 30, 30)).convert(mode).save(path)
    image = Image.open(io.BytesIO(thumbnail(path, 10)))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (10, 5))


def test_no_image_is_enlarged(tmp_path):
    Image.new("RGB", (40, 20)).save(tmp_path / "small.png")
    assert Image.open(io.BytesIO(thumbnail(tmp_path / "small.png", 100))).size == (40, 20)


def test_quality_goes_down_until_the_bytes_fit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (320, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    free = thumbnail(tmp_path / "noise.png", 320)
    assert len(thumbnail(tmp_path / "noise.png", 320, max_bytes=60_000)) <= 60_000 < len(free)
    assert 0 < len(thumbnail(tmp_path / "noise.png", 320, max_bytes=1)) < 60_000  # the least quality, whatever it is


def test_what_is_no_image_says_so(tmp_path):
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(UnreadableImage, match="not a JPEG"):
        thumbnail(tmp_path / "text.jpg", 10)
