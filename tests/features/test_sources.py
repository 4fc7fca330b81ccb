"""Images as users name or hold them: what `list_images` finds, and what it refuses."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import touch
from PIL import Image
from unprivileged import unprivileged

from dbpt import InputError
from dbpt.features import list_images

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
SIGNED = torch.linspace(-2, 2, 12).view(3, 2, 2)


def test_a_string_is_a_path_and_a_folder_its_images(tmp_path):
    touch(tmp_path, "b.jpg", "a/c.PNG", "notes.txt")
    inside = [tmp_path / "a/c.PNG", tmp_path / "b.jpg"]
    assert list_images("gone.png") == list_images(Path("gone.png")) == [Path("gone.png")]
    assert list_images(str(tmp_path)) == list_images(tmp_path) == inside
    names = [str(tmp_path), "gone.png", tmp_path / "notes.txt"]
    for several in (names, iter(names), np.array(list(map(str, names)))):
        assert list_images(several) == [*inside, Path("gone.png"), tmp_path / "notes.txt"]


def test_pixels_keep_their_values():
    bytes_CHW = torch.from_numpy(PIXELS).permute(2, 0, 1)
    floats = (bytes_CHW / 255).requires_grad_()
    images = [Image.fromarray(PIXELS), PIXELS, PIXELS[:, ::-1][:, ::-1], bytes_CHW, floats]
    for image in (*list_images(images), *(list_images(image)[0] for image in images), *list_images(PIXELS[None])):
        np.testing.assert_array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images is empty; expected a path, a folder, a PIL image, an array (H, W, 3), a tensor (3, H, W), or a "),
        (3, "images is of type int; expected a path, "),
        (b"a.jpg", "images is of type bytes; expected a path, "),
        (["a.jpg", None], "images[1] is of type NoneType; expected a path, "),
        (PIXELS[0], "images is an array of uint8 and shape (3, 3); expected uint8 of (H, W, 3)"),
        (["a.jpg", PIXELS / 255], "images[1] is an array of float64 and shape (2, 3, 3); expected uint8 of (H, W, 3)"),
        (PIXELS.transpose(2, 0, 1)[..., :2], "images is an array of uint8 and shape (3, 2, 2); expected uint8 of"),
        (PIXELS[:0], "images is an array of uint8 and shape (0, 3, 3); expected uint8 of (H, W, 3)"),
        (torch.zeros(5, 4, 3), "images is a tensor of float32 and shape (5, 4, 3); expected uint8 or floats of (3, H,"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "images is a tensor of int64 and shape (3, 4, 4); expected uint8 or"),
        ([torch.full((3, 2, 2), torch.nan)], "images[0] is a tensor of float32 with values from nan to nan; expected"),
        (SIGNED, "images is a tensor of float32 with values from -2 to 2; expected 0 to 1, not normalised"),
    ],
)
def test_anything_else_is_refused_in_one_line(images, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        list_images(images)


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="this folder holds no image file"):
        list_images([tmp_path])


def test_images_are_found_however_deep_and_an_unreadable_folder_is_told(tmp_path):
    touch(tmp_path, "d/d/a.PNG", "b.jpg", ".b.jpg", "._b.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list_images(str(tmp_path)) == [tmp_path / "b.jpg", tmp_path / "d/d/a.PNG"]
    (tmp_path / "closed").mkdir(mode=0)
    with unprivileged(), pytest.raises(InputError, match="closed: cannot be listed: Permission denied"):
        list_images(str(tmp_path))
