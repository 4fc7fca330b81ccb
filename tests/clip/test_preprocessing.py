"""Preprocessing: bit for bit open_clip's inference transform, whatever the image; crops for many threads."""

from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from dbpt.clip.preprocessing import Preprocessing, default_preprocess, image_preprocessing


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Black, white and all between: sharp edges, at which cubics overshoot."""
    levels = np.random.default_rng(seed).choice([0, 255, 3, 128, 77], (height, width, 3)).astype(np.uint8)
    return Image.fromarray(levels).convert(mode)


def preprocessing(size: int | tuple[int, int], **changes: object) -> Preprocessing:
    tower = SimpleNamespace(visual=SimpleNamespace(image_size=size))
    return image_preprocessing(tower, default_preprocess() | changes)


def outcome(transform, image):
    try:
        return transform(image)
    except ValueError as error:  # an image so thin that it is resized to nothing
        return str(error)


MODES = ["RGB", "RGB", "RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "YCbCr"]
SIDES = st.integers(1, 60)
SIZES = st.integers(1, 40)


@given(
    image=st.builds(noise, SIDES, SIDES, st.sampled_from(MODES), st.integers(0, 9)),
    size=SIZES | st.tuples(SIZES, SIZES),
    resize_mode=st.sampled_from(["shortest", "squash", "longest"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    fill_color=st.integers(0, 255),
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.1, 2), min_size=3, max_size=3),
)
@example(noise(1, 1), 32, "shortest", "bicubic", 0, [0.5] * 3, [0.5] * 3)
@example(noise(32, 32), 32, "shortest", "bicubic", 0, [0.5] * 3, [0.5] * 3)
@example(noise(33, 32), 32, "shortest", "bilinear", 0, [0.5] * 3, [0.5] * 3)
@example(noise(2000, 10), 16, "shortest", "bicubic", 0, [0.5] * 3, [0.5] * 3)
@example(noise(10, 2000), 16, "shortest", "bicubic", 0, [0.5] * 3, [0.5] * 3)
@example(noise(500, 375), 224, "shortest", "bicubic", 0, [0.48145466, 0.4578275, 0.40821073], [0.26862954] * 3)
@example(noise(375, 500), 224, "squash", "bilinear", 0, [0.48145466, 0.4578275, 0.40821073], [0.26862954] * 3)
@settings(max_examples=300)
def test_the_bytes_are_those_of_open_clip(image, size, resize_mode, interpolation, fill_color, mean, std):
    given = {"resize_mode": resize_mode, "interpolation": interpolation, "fill_color": fill_color}
    given |= {"mean": mean, "std": std}
    expected = outcome(image_transform_v2(PreprocessCfg(size=size, **given), is_train=False), image.copy())
    found = outcome(preprocessing(size, **given), image)
    if isinstance(expected, str):
        assert found == expected
    else:
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_crops_are_written_where_they_belong_and_normalised_together():
    preprocess = preprocessing((24, 24))
    images = [noise(40, 30), noise(30, 41, "L"), noise(24, 24, "P")]
    crops = np.full((4, 24, 24, 3), 7, dtype=np.uint8)
    for image, place in zip(images, crops, strict=False):
        assert preprocess.crop(image, place) is place
        np.testing.assert_array_equal(place, preprocess.crop(image))
    assert (crops[3] == 7).all()
    pixels = preprocess.normalise(crops)
    assert pixels.shape == (4, 3, 24, 24)
    assert pixels.is_contiguous()
    for image, found in zip(images, pixels, strict=False):
        torch.testing.assert_close(found, preprocess(image), rtol=0, atol=0)
    assert preprocess.size == (24, 24)
