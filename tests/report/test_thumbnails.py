"""Small JPEGs of whatever CLIP could read, small enough to carry inside a page, and links to the images."""

import io
import zipfile
from pathlib import Path
from urllib.parse import unquote, urljoin

import numpy as np
import pytest
from PIL import Image

from dbpt.features.images import read_image
from dbpt.report import thumbnails as module
from dbpt.report.thumbnails import ImageFiles, address, thumbnail


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


@pytest.mark.parametrize("max_bytes", [18_000, 3_000, 1_200])
def test_size_and_quality_go_down_until_the_bytes_fit(noise, max_bytes):
    assert len(thumbnail(noise / "0.png", 320, max_bytes=60_000)) > 18_000
    jpeg = thumbnail(noise / "0.png", max_bytes=max_bytes)
    assert len(jpeg) <= max_bytes
    assert max(Image.open(io.BytesIO(jpeg)).size) < 320


def test_the_smallest_thumbnail_is_taken_even_if_it_does_not_fit(noise):
    assert Image.open(io.BytesIO(thumbnail(noise / "0.png", max_bytes=1))).size == (32, 24)


def test_a_large_image_is_decoded_once_and_in_part(tmp_path, monkeypatch):
    decoded = []
    image = Image.linear_gradient("L").resize((4000, 3000)).convert("RGB")
    image.save(tmp_path / "large.jpg")
    monkeypatch.setattr(module, "read_image", lambda path, **o: decoded.append(read_image(path, **o)) or decoded[-1])
    shown = Image.open(io.BytesIO(thumbnail(tmp_path / "large.jpg", max_bytes=2000)))
    assert [each.size for each in decoded] == [(1000, 750)]
    expected = np.asarray(image.resize(shown.size), dtype=float)
    assert np.abs(np.asarray(shown, dtype=float) - expected).mean() < 3


@pytest.mark.parametrize(
    "name", ["a b.jpg", "100%#1?.jpg", "javascript:alert(1)", '"><script>.png', "\udcff.jpg", "ü/ü.jpg"]
)
def test_a_link_leads_from_the_page_to_the_image(tmp_path, name):
    image = tmp_path / "data" / name
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"")
    page = tmp_path / "runs" / "one"
    link = address(image, page)
    assert link.startswith("../../data/") and not set(link) & set("\"'<>:?# ")
    joined = urljoin((page / "report.html").as_uri(), link).removeprefix("file://")
    assert unquote(joined, errors="surrogateescape") == str(image)


def test_nothing_leads_into_an_archive_or_to_the_other_end_of_the_disk(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.jpg", b"")
    (tmp_path / "a.jpg").write_bytes(b"")
    assert address(tmp_path / "images.zip" / "a.jpg", tmp_path) is None
    assert address(tmp_path / "a.jpg", Path("/elsewhere")) == f"..{tmp_path.resolve()}/a.jpg"
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")
    assert address(tmp_path / "a.jpg", tmp_path / "link") == "../../a.jpg"  # as from the page's real place
    assert address(tmp_path / "b" / ".." / "a.jpg", tmp_path / "b") is None  # there is no b
    assert address(tmp_path / "a.jpg", tmp_path) == "a.jpg"


def test_a_long_name_leaves_fewer_bytes_for_the_picture(tmp_path, noise):
    """A page's budget holds for paths and addresses, too: a letter of Chinese takes nine bytes in an address."""
    name = "写真" * 40 + ".png"
    for each in ("a.png", name):
        (tmp_path / each).write_bytes((noise / "0.png").read_bytes())
    short, long = ImageFiles(["a.png", name], tmp_path, tmp_path / "audit").first([0, 1], 2, 4000).values()
    size = [len(each.image) * 4 / 3 + len(each.path.encode()) + len(each.source) for each in (short, long)]
    assert len(long.image) < len(short.image) and max(size) <= 4000 * 4 / 3
